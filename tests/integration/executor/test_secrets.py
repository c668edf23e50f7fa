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


def test_what_a_script_says_in_a_line_that_is_not_understood(worker):
    padding = "x" * 180
    worker.start_run(f"""echo '::fleetlog ["{padding}{SECRET}"]'; echo '::fleetlog {{"type": "{padding}{SECRET}"}}'""")
    entries = worker.journal()

    warnings = [entry["payload"]["warning"]["message"] for entry in entries if entry["type"] == "run.warning"]
    assert len(warnings) == 2
    assert all(padding[:100] in message for message in warnings)
    assert "sk-" not in str(warnings)
    assert "sk-" not in worker.log()
