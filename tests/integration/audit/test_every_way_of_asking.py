"""Each way to tamper with the log is found by each way of asking: the API, the command line, and the offline script."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.audit.conftest import offline, url_of
from tests.support.api_server import running_api
from tests.support.fleetlog_server import REPOSITORY, inherited_environment
from tests.support.tampering import execute, swap_places

Tampering = Callable[[str], None]
SECRET = "a secret of the command line's own"


def one_byte(dsn: str) -> None:
    execute(dsn, "UPDATE events SET payload = set_byte(payload, 5, get_byte(payload, 5) # 1) WHERE position = 100")


def deleted(dsn: str) -> None:
    execute(dsn, "DELETE FROM events WHERE position = 100")


def swapped(dsn: str) -> None:
    swap_places(dsn, 100, 101)


def truncated(dsn: str) -> None:
    execute(dsn, "DELETE FROM events WHERE position > (SELECT max(position) - 3 FROM events)")


@pytest.fixture(params=[one_byte, deleted, swapped])
def tampering(request: pytest.FixtureRequest) -> Tampering:
    tampering: Tampering = request.param
    return tampering


@pytest.fixture
def fleetlog(log: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line on the log's database."""
    environment = inherited_environment() | {
        "DATABASE_URL": url_of(log),
        "FLEETLOG_SECRET": SECRET,
        "FLEETLOG_HOME": str(tmp_path / "home"),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "interfaces.cli.main", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=240, check=False
        )

    return run


def test_the_api_names_the_first_broken_event(log: str, tampering: Tampering) -> None:
    with running_api(log, projecting=False) as server, server.client() as client:
        assert client.get("/api/audit/verify", params={"readModels": "false"}).json()["ok"]
        tampering(log)
        found = client.get("/api/audit/verify", params={"readModels": "false"}).json()

    assert not found["ok"]
    assert found["broken"]["position"] == 100
    assert found["position"] == 99


@pytest.mark.proof
def test_the_command_line_names_the_first_broken_event(
    log: str, tampering: Tampering, fleetlog: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    tampering(log)

    for_people, for_machines = fleetlog("verify", "--chain-only"), fleetlog("verify", "--chain-only", "--json")

    assert (for_people.returncode, for_machines.returncode) == (1, 1), for_people.stderr
    assert "position 100" in for_people.stdout
    assert json.loads(for_machines.stdout)["broken"]["position"] == 100


def test_the_offline_script_names_the_first_broken_event_of_an_export(
    log: str, tampering: Tampering, fleetlog: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    tampering(log)
    export = tmp_path / "log.jsonl"
    assert fleetlog("export", str(export)).returncode == 0

    done = offline(export)

    assert done.returncode == 1
    assert "at position 100" in done.stderr


@pytest.mark.proof
def test_a_truncated_tail_is_found_against_a_checkpoint_by_all_of_them(
    log: str, fleetlog: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    checkpoint, export = tmp_path / "checkpoint.json", tmp_path / "log.jsonl"
    assert fleetlog("checkpoint", str(checkpoint)).returncode == 0
    with running_api(log, projecting=False) as server, server.client() as client:
        kept = client.get("/api/audit/checkpoint").json()
        truncated(log)
        by_api = client.post("/api/audit/verify", json={"checkpoint": kept}, params={"readModels": "false"}).json()
    end = json.loads(kept["statement"])["position"]

    assert (by_api["ok"], by_api["broken"]) == (False, None)
    assert f"{end - 2} is missing" in by_api["checkpoint"]["detail"]

    assert fleetlog("verify", "--chain-only").returncode == 0
    against = fleetlog("verify", "--chain-only", "--checkpoint", str(checkpoint))
    assert against.returncode == 1
    assert f"{end - 2} is missing" in against.stdout

    assert fleetlog("export", str(export)).returncode == 0
    assert offline(export).returncode == 0
    attested = offline(export, checkpoint)
    assert attested.returncode == 1
    assert f"attests {end} events, and not these {end - 3}" in attested.stderr
