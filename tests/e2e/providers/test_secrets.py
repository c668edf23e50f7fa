"""A model's credential is nowhere but where its CLI needs it, whatever the agent says and does."""

from pathlib import Path

import pytest

from infrastructure.redaction import SHORTEST_PART
from tests.e2e.providers.agent_environments import files_with
from tests.e2e.providers.agents import Agents
from tests.e2e.providers.dialects import SECRET
from tests.support.model_server import Garbage, HttpError, Reasoning, Text, Turn, refused_key

pytestmark = pytest.mark.proof
TAIL = SECRET[-20:]
"""Long enough to be of use to a thief; some CLIs remember the end of a key."""


def test_a_planted_credential_is_in_no_event_log_journal_error_or_workspace(own_agents: Agents) -> None:
    dialect, server = own_agents.dialect, own_agents.server
    session_id, folder = own_agents.session_with_worker()
    asked = own_agents.started(
        Turn(dialect.run_command("env | sort; tr '\\0' '\\n' < /proc/$PPID/environ; echo done")),
        Turn(dialect.write_file(folder, "kept.txt", "kept")),
        Text("that was the environment"),
        sessionId=session_id,
        executionProfile=dialect.asking_profile,
    )
    asked.reply(asked.until("human_loop.requested")["questionId"], "allow")
    told = own_agents.models.wait_for_requests(asked.model, 2)[1].last_message
    assert "done" in told
    assert SECRET not in told
    asked.cancel()
    asked.end()
    refused = own_agents.finished(*[refused_key()] * 9, sessionId=session_id)
    assert refused.outcome == ("failed", "auth_missing")
    assert SECRET in str(own_agents.models.requests(refused.model)[0].headers)

    assert_not_in_worker(own_agents, session_id)
    server.ok("POST", f"/api/session-workers/{session_id}/stop")
    assert_nowhere(own_agents, (server.home, server.home.parent / "server.log"))


def test_a_credential_that_the_model_repeats_is_taken_out_of_every_event(own_agents: Agents) -> None:
    session_id, _ = own_agents.session_with_worker()

    run = own_agents.finished(
        Turn(Reasoning(f"the key is {SECRET}"), Text(f"I know {SECRET}!", pieces=9)), sessionId=session_id
    )
    echoed = HttpError(401, "authentication_error", f"{SECRET} is no key")
    failed = own_agents.finished(*[echoed] * 9, sessionId=session_id)

    assert run.text == "I know [secret]!"
    assert "[secret] is no key" in failed.snapshot["error"]["message"]
    server = own_agents.server
    server.ok("POST", f"/api/session-workers/{session_id}/stop")
    assert_nowhere(own_agents, (server.home / "logs", server.home / "postgres", server.home.parent / "server.log"))


def test_no_part_of_a_credential_is_left_where_a_text_is_cut(own_agents: Agents) -> None:
    dialect, server = own_agents.dialect, own_agents.server
    session_id, folder = own_agents.session_with_worker()
    flood = f"{SECRET} " * 1500
    once = {"sessionId": session_id, "retryPolicy": "never"}

    worked = own_agents.finished(
        Turn(dialect.write_file(folder, "flood.txt", f"{flood}\n")),
        Turn(dialect.run_command(f"cat {folder}/flood.txt {folder}/flood.txt {folder}/flood.txt")),
        Turn(Reasoning(flood[:500], pieces=71), Text(flood[:1800], pieces=250)),
        **once,
    )
    refused = own_agents.finished(*[HttpError(400, "invalid_request_error", flood)] * 9, **once)
    garbled = own_agents.finished(*[Garbage(flood.encode())] * 12, **once)

    assert worked.outcome == ("succeeded", "")
    assert worked.text.strip() == " ".join(["[secret]"] * 50)
    assert len(worked.of("tool.end")) == 2
    assert (refused.outcome[0], garbled.outcome[0]) == ("failed", "failed")
    for start in range(len(SECRET) - SHORTEST_PART + 1):
        part = SECRET[start : start + SHORTEST_PART]
        for run in (worked, refused, garbled):
            assert part not in str(run.events) + str(run.snapshot)
        journals = own_agents.environment.files_with(server, session_id, part)
        assert not [path for path in journals if path.endswith(("journal.ndjson", "executor.log"))]
        assert part not in (server.home.parent / "server.log").read_text()


def test_the_secrets_of_mcp_servers_reach_those_and_nobody_else(agents: Agents) -> None:
    dialect, token = agents.dialect, "mcp-5ecret-0123456789abcdef"
    session_id, folder = agents.session_with_worker()
    server = f'printf %s "$PROBE_TOKEN" > {folder}/probe.txt'
    look = (  # without `cat`, of which opencode asks again when it reads outside of the workspace
        "holding() { tr '\\0' '\\n' | grep -caFf probe.txt; }; "
        "echo argv $(head -qc 99999 /proc/[0-9]*/cmdline 2>/dev/null | holding) "
        "environ $(holding < /proc/$PPID/environ) own $(env | holding), the file has $(cat probe.txt)"
    )
    asked = agents.started(
        Turn(dialect.run_command(look)),
        Text("that is all"),
        sessionId=session_id,
        executionProfile=dialect.asking_profile,
        providerOptions={**dialect.mcp_server(server, {"PROBE_TOKEN": token})},
    )
    asked.reply(asked.until("human_loop.requested")["questionId"], "allow")
    run = asked.end()

    told = agents.models.requests(asked.model)[1].last_message
    assert agents.environment.read(agents.server, session_id, "probe.txt") == token
    assert f"argv 0 environ 0 own 0, the file has {token}" in told
    assert token not in str(run.events)
    assert "[secret]" in str(run.of("tool.end"))
    spec = agents.server.ok("GET", f"/api/streams/run:{run.run_id}/events")["events"][0]["payload"]["spec"]
    assert "[secret " in str(spec["providerOptions"])


def assert_not_in_worker(agents: Agents, session_id: str) -> None:
    for needle in (SECRET, TAIL):
        assert agents.environment.files_with(agents.server, session_id, needle) == []


def assert_nowhere(agents: Agents, places: tuple[Path, ...]) -> None:
    """The credential is neither in the log, as the API tells it, nor in any file of these places."""
    events: list[str] = []
    while not events or len(events[-1]) > 1000:
        after = len(events) * 200
        events.append(agents.server.client.get("/api/events", params={"limit": 200, "after": after}).text)
    assert any("run.agent_finished" in page for page in events)
    for needle in (SECRET, TAIL):
        assert not any(needle in page for page in events)
        for place in places:
            found = files_with(needle, place) if place.is_dir() else [str(place)] * (needle in place.read_text())
            assert found == [], f"{needle} in {place}"
