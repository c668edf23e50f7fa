"""A model's credential is nowhere but where its CLI needs it, whatever the agent says and does."""

from pathlib import Path

import psycopg
import pytest

from tests.e2e.providers.agents import Agents
from tests.e2e.providers.dialects import SECRET
from tests.support.model_server import HttpError, Reasoning, Text, Turn, refused_key

pytestmark = pytest.mark.proof
TAIL = SECRET[-20:]
"""Long enough to be of use to a thief; some CLIs remember the end of a key."""


def files_with(needle: str, folder: Path) -> list[str]:
    """The files below a folder that hold a text, in their content or their name."""
    found = []
    for path in folder.rglob("*"):
        if needle in path.name or (path.is_file() and not path.is_symlink() and needle.encode() in path.read_bytes()):
            found.append(str(path.relative_to(folder)))
    return found


def test_a_planted_credential_is_in_no_event_log_journal_error_or_workspace(own_agents: Agents) -> None:
    session_id, folder = own_agents.session_with_worker()
    dialect = own_agents.dialect
    run = own_agents.started(
        Turn(Reasoning(f"the key is {SECRET}"), Text(f"I know {SECRET}!", pieces=9)),
        sessionId=session_id,
    ).end()
    assert run.text == "I know [secret]!"

    asked = own_agents.started(
        Turn(dialect.run_command("env | sort; echo done")),
        Text("that was the environment"),
        sessionId=session_id,
        executionProfile=dialect.asking_profile,
    )
    asked.reply(asked.until("human_loop.requested")["questionId"], "allow")
    told = asked.end()
    assert "[secret]" in str(told.of("tool.end"))
    failed = own_agents.finished(*[HttpError(401, "authentication_error", f"{SECRET} is no key")] * 9, sessionId=session_id)
    assert failed.outcome == ("failed", "auth_missing")
    again = own_agents.finished(*[refused_key()] * 9, sessionId=session_id)
    assert again.outcome == ("failed", "auth_missing")
    own_agents.finished(Turn(dialect.write_file(folder, "kept.txt", "kept")), Text("ok"), sessionId=session_id)
    for request in own_agents.models.requests(run.model):
        assert SECRET in str(request.headers)

    server = own_agents.server
    worker = server.worker_folder(session_id)
    server.ok("POST", f"/api/session-workers/{session_id}/stop")

    assert server.ok("GET", "/api/events", params={"limit": 500})["events"]
    for position in range(0, 3000, 500):
        events = server.client.get("/api/events", params={"limit": 500, "after": position}).text
        assert SECRET not in events
        assert TAIL not in events
    for place in (worker / "state", worker / "log", server.home / "s3", server.home.parent / "server.log"):
        for needle in (SECRET, TAIL):
            found = files_with(needle, place) if place.is_dir() else [str(place)] * (needle in place.read_text())
            assert found == [], f"{needle} in {place}"
    model_said = [path for path in files_with(TAIL, worker / "workspace") if not path.startswith(".agent_data")]
    assert model_said == []
