"""The command line beside a running server, and without one."""

import json
from pathlib import Path

import pytest

from interfaces.cli.main import main
from tests.support.fleetlog_server import FleetlogServer


@pytest.mark.proof
def test_the_doctor_finds_everything_well_beside_a_running_server(shared_fleetlog: FleetlogServer) -> None:
    findings = json.loads(shared_fleetlog.command("doctor", "--json"))

    statuses = {finding["name"]: finding["status"] for finding in findings}
    for name in ("provider claude-code", "provider codex-cli", "provider opencode"):
        assert statuses.pop(name) == "warning"  # without credentials
    assert statuses == {
        "python": "ok",
        "home": "ok",
        "port": "warning",
        "postgres": "ok",
        "object store": "ok",
        "projections": "ok",
        "process managers": "ok",
        "shell": "ok",
        "egress": "ok",
        "provider scripted": "ok",
    }
    assert "✓" in shared_fleetlog.command("doctor")


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLEETLOG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:x@127.0.0.1:1/none")
    monkeypatch.setenv("FLEETLOG_SECRET", "s" * 40)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)

    assert main(["doctor", "--json"]) == 1

    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["postgres"]["status"] == "error"
    assert "DATABASE_URL" in findings["postgres"]["mend"]
    assert findings["projections"]["detail"] == "not looked at without postgres"
    assert findings["home"]["status"] == "ok"
    assert findings["provider scripted"]["status"] == "ok"
    assert findings["provider claude-code"]["status"] == "warning"
    assert "ANTHROPIC_API_KEY" in findings["provider claude-code"]["mend"]


def test_the_doctor_says_when_no_docker_engine_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLEETLOG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WORKER_RUNTIME", "docker")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")

    assert main(["doctor", "--json"]) == 1

    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["provider codex-cli"]["status"] == "error"
    assert "WORKER_RUNTIME" in findings["provider codex-cli"]["mend"]
    assert findings["egress"]["status"] == "error"
    assert "the Docker daemon is at tcp://127.0.0.1:1" in findings["egress"]["detail"]
    assert "FLEETLOG_WORKER_EGRESS=open" in findings["egress"]["mend"]


def test_projections_are_seen_rebuilt_and_refused(shared_fleetlog: FleetlogServer) -> None:
    before = {
        status["projection"]: status
        for status in json.loads(shared_fleetlog.command("projections", "status", "--json"))
    }

    rebuilt = json.loads(shared_fleetlog.command("projections", "rebuild", "todos", "--reason", "a test", "--json"))

    assert before["runs"]["status"] == "running"
    assert rebuilt["version"] > before["todos"]["version"]
    events = shared_fleetlog.ok("GET", "/api/streams/projection:todos/events")["events"]
    assert "a test" in json.dumps(events)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FLEETLOG_PROT", "1", "FLEETLOG_PORT"),
        ("FLEETLOG_PORT", "abc", "abc"),
        ("FLEETLOG_HOST", "0.0.0.0", "API_KEYS"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_a_clear_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)

    assert main(["up"]) == 2

    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("home", "said"), [("/proc/none/home", "No such file or directory"), ("/etc/passwd", "not a folder")]
)
def test_a_home_that_cannot_be_used_is_refused_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: str, said: str
) -> None:
    monkeypatch.setenv("FLEETLOG_HOME", home)

    assert main(["up"]) == 1

    complaint = capsys.readouterr().err
    assert said in complaint
    assert "FLEETLOG_HOME" in complaint


@pytest.mark.proof
def test_an_address_of_another_machine_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLEETLOG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEETLOG_HOST", "192.0.2.1")
    monkeypatch.setenv("FLEETLOG_API_KEYS", f"ada:{'0' * 64}")

    assert main(["up"]) == 1

    assert "FLEETLOG_HOST" in capsys.readouterr().err


def test_a_second_server_on_one_home_is_refused(
    shared_fleetlog: FleetlogServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLEETLOG_HOME", str(shared_fleetlog.home))
    monkeypatch.setenv("FLEETLOG_PORT", "0")

    assert main(["up"]) == 1

    assert str(shared_fleetlog.home) in capsys.readouterr().err
