"""An agent calls back: it finds where and with what in its environment, and what it was given is nowhere else."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from domain.identifiers import worker_token
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.session_history import output

pytestmark = pytest.mark.proof


SECRET = "a secret of the tests, long enough to be one"
KEY = "the key of ada"
CALL = """
import json, os, sys, urllib.request, urllib.error
body = {"eventId": sys.argv[1], "type": "todo.update", "payload": {"todo": {"todoId": "t", "content": "called back"}}}
url, token = os.environ["FLEETLOG_CALLBACK_URL"], os.environ["FLEETLOG_CALLBACK_TOKEN"]
url = url if len(sys.argv) < 3 else sys.argv[2]
headers = {"authorization": "Bearer " + token, "content-type": "application/json"}
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=30)
    print(answer.status, json.load(answer)["action"])
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    home = tmp_path_factory.mktemp("callbacks") / "home"
    keys = f"ada:{hashlib.sha256(KEY.encode()).hexdigest()}"
    settings = {**on_shared_postgres(), "FLEETLOG_SECRET": SECRET, "FLEETLOG_API_KEYS": keys}
    with FleetlogServer(home, **settings) as server:
        server.client.headers["authorization"] = f"Bearer {KEY}"
        yield server


def script(*arguments: str) -> str:
    return f"cat > call.py <<'END'\n{CALL}\nEND\npython3 call.py {' '.join(arguments)}"


def test_an_agent_calls_back_with_what_its_environment_holds(server: FleetlogServer) -> None:
    session, run_id = new_id("session"), new_id("run")

    answer = server.finished(script("e1"), sessionId=session, runId=run_id)

    assert "200 todo_upserted\n" in [event["payload"].get("text") for event in answer["events"]]
    (todo,) = server.ok("GET", f"/api/runs/{run_id}/todos")["items"]
    assert todo["content"] == "called back"
    (recorded,) = [event for event in server.ok("GET", f"/api/streams/run:{run_id}/events")["events"]
                   if event["type"] == "todo.update"]  # fmt: skip
    assert (recorded["eventId"], recorded["metadata"]["actor"]) == ("cb/e1", f"worker/{session}")


def test_an_agent_s_token_opens_nothing_but_its_own_session_s_callbacks(server: FleetlogServer) -> None:
    session, other = new_id("session"), new_id("session")
    run_of_other = new_id("run")
    server.finished("echo", sessionId=other, runId=run_of_other)
    base = str(server.client.base_url).rstrip("/")

    assert output(server, script("e1", f"{base}/api/runs/{run_of_other}/callbacks"), session) == "401\n"
    assert output(server, script("e1", f"{base}/api/runs/queue/drain"), session) == "401\n"


def test_the_token_is_neither_logged_nor_stored_nor_synced(server: FleetlogServer) -> None:
    session = new_id("session")
    assert output(server, f'{script("e1")}; echo "it is $FLEETLOG_CALLBACK_TOKEN"', session) == (
        "200 todo_upserted\nit is [secret]\n"
    )
    server.ok("POST", f"/api/session-workers/{session}/stop")

    assert holding(server, worker_token(SECRET.encode(), session, 1, "callback")) == []
    assert any("workers" in path.parts for path in holding(server, "called back"))


def test_the_executor_s_token_is_in_its_own_configuration_alone(server: FleetlogServer) -> None:
    session = new_id("session")
    token = worker_token(SECRET.encode(), session, 1, "executor")

    output(server, "env > environment; echo started; cat /proc/$$/environ /proc/$PPID/cmdline > processes", session)
    while_it_runs = holding(server, token)
    folder = server.worker_folder(session)
    server.ok("POST", f"/api/session-workers/{session}/stop")

    assert while_it_runs == [folder / "executor.json"]
    assert (folder / "executor.json").stat().st_mode & 0o777 == 0o600
    assert set(holding(server, token)) <= {folder / "executor.json"}
    assert any("workers" not in path.parts for path in holding(server, "FLEETLOG_CALLBACK_URL="))  # its sync


def holding(server: FleetlogServer, text: str) -> list[Path]:
    """Which files hold it: logs, the database's, the object store's, those of the workers' folders."""
    found = []
    for path in server.home.parent.rglob("*"):
        with suppress(FileNotFoundError):  # the database removes some of its own
            if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes():
                found.append(path)
    return found
