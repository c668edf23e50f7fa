"""What an agent leaves behind when it fails holds no part of a credential, wherever it is cut."""

import os

import pytest

SECRET = "sk-planted-c0ffee-5ec4e7-0123456789"
FLOOD = 'for _ in 1 2 3 4 5 6 7 8 9; do printf "%s " "$KEY" "$KEY" "$KEY" "$KEY" "$KEY" "$KEY" "$KEY" "$KEY" >&2; done'


@pytest.fixture
def worker(make_worker, tmp_path):
    """Its `claude` writes a credential to stderr again and again, and dies."""
    programs = tmp_path / "bin"
    programs.mkdir()
    crashing = programs / "claude"
    crashing.write_text(f"#!/bin/sh\nKEY={SECRET}\n{FLOOD}\nexit 3\n")
    crashing.chmod(0o755)
    worker = make_worker()
    worker.start(ANTHROPIC_API_KEY=SECRET, PATH=f"{programs}:{os.environ['PATH']}")
    worker.restore()
    return worker


@pytest.mark.parametrize("provider", ["claude-code", "scripted"])
def test_the_end_of_the_error_output_of_an_agent_that_died(worker, provider):
    script = f"KEY={SECRET}\n{FLOOD}\nexit 3"
    worker.start_run(script, spec={"provider": provider, "messages": [{"role": "user", "content": script}]})
    entries = worker.journal()

    message = entries[-1]["payload"]["error"]["message"]
    assert "exit code 3" in message
    assert message.count("[secret]") > 50
    assert not any(SECRET[start : start + 14] in str(entries) for start in range(len(SECRET) - 13))
    assert "sk-" not in message


@pytest.fixture
def telling_worker(make_worker, tmp_path):
    """Its `claude` says in which environment and with which arguments it was started, and dies."""
    programs = tmp_path / "bin"
    programs.mkdir()
    telling = programs / "claude"
    telling.write_text(
        '#!/bin/sh\nenv >&2; echo "$@" >&2\n'
        'for each in "$@"; do [ -f "${each#*=}" ] && cat "${each#*=}" >&2; done\nexit 3\n'
    )
    telling.chmod(0o755)
    worker = make_worker()
    worker.start(PATH=f"{programs}:{os.environ['PATH']}", OPENAI_API_KEY="of-the-executor-itself")
    worker.restore()
    return worker


def test_an_agent_is_given_what_its_provider_needs_with_its_run_and_keeps_none_of_it(telling_worker):
    told = {"ANTHROPIC_AUTH_TOKEN": SECRET, "OPENAI_API_KEY": "of-another-provider", "PATH": "/nowhere"}
    servers = {"crm": {"command": "crm", "env": {"CRM_KEY": "5ecret-of-the-server"}}}
    spec = {"provider": "claude-code", "messages": [{"role": "user", "content": "go"}]}
    telling_worker.start_run("", spec={**spec, "providerOptions": {"mcpServers": servers}}, variables=told)
    said = telling_worker.journal()[-1]["payload"]["error"]["message"]

    assert "ANTHROPIC_AUTH_TOKEN=[secret]" in said
    assert "OPENAI_API_KEY" not in said
    arguments, contents = said.partition("--mcp-config=")[2].split("\n", 1)
    assert "5ecret" not in arguments
    assert "5ecret-of-the-server" in contents
    assert not list(telling_worker.home.glob("fleetlog-run-*"))
    telling_worker.start_run("env", spec={"provider": "scripted", "messages": [{"role": "user", "content": "env"}]})
    assert SECRET not in str(telling_worker.journal())
    assert not [
        path
        for path in telling_worker.folder.rglob("*")
        if path.is_file() and SECRET in path.read_text(errors="replace")
    ]


def test_what_a_killed_run_has_left_is_deleted_at_the_next_boot(worker):
    left = worker.home / "fleetlog-run-1"
    left.mkdir()
    (left / "mcp.json").write_text("5ecret")
    worker.kill()
    worker.start()
    assert not left.exists()


def test_what_a_script_says_in_a_line_that_is_not_understood(worker):
    padding = "x" * 180
    worker.start_run(f"""echo '::fleetlog ["{padding}{SECRET}"]'; echo '::fleetlog {{"type": "{padding}{SECRET}"}}'""")
    entries = worker.journal()

    warnings = [entry["payload"]["warning"]["message"] for entry in entries if entry["type"] == "run.warning"]
    assert len(warnings) == 2
    assert all(padding[:100] in message for message in warnings)
    assert "sk-" not in str(warnings)
    assert "sk-" not in worker.log()
