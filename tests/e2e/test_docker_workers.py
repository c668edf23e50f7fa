"""The life of a session whose worker is a Docker container: through the gate, over kills, down to no container."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infrastructure.embedded.secret_file import installation_secret
from infrastructure.object_store.location import S3Location
from infrastructure.object_store.s3 import S3ObjectStore
from tests.support import taken_over_worker
from tests.support.docker_containers import LABEL, containers, docker, remove_everything
from tests.support.docker_fleetlog import DockerFleetlog, running_docker_fleetlog
from tests.support.fleetlog_server import new_id
from tests.support.repair_lines import counted, repaired

pytestmark = [pytest.mark.proof, pytest.mark.timeout(400)]


@pytest.fixture
def image_that_dies(worker_image: str) -> Iterator[str]:
    image = f"fleetlog-worker-dies:{secrets.token_hex(4)}"
    container = docker("create", worker_image)
    dying = 'ENTRYPOINT ["sh", "-c", "echo begins; echo the floor is missing >&2; exit 7"]'
    docker("commit", "--change", dying, container, image)
    docker("rm", container)
    yield image
    docker("rmi", image)


@pytest.fixture
def docker_fleetlog(worker_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerFleetlog]:
    with running_docker_fleetlog(tmp_path_factory.mktemp("docker") / "home", worker_image, first="first") as server:
        yield server


def test_a_session_lives_in_a_container_and_leaves_none_behind(docker_fleetlog: DockerFleetlog) -> None:
    server, installation = docker_fleetlog, docker_fleetlog.installation("first")
    assert server.output_of("id -u; mkdir -p deep; echo kept | tee deep/file", "first") == "1000\nkept\n"
    (egress,) = [each for each in server.client.get("/ready").json()["dependencies"] if each["name"] == "egress"]
    assert (egress["ok"], egress["detail"].partition(":")[0]) == (True, "internet" if os.geteuid() == 0 else "open")

    stopped = server.ok("POST", "/api/session-workers/first/stop")["worker"]
    assert (stopped["state"], stopped["lastSyncStatus"]) == ("stopped", "success")
    assert containers(installation, state="running") == []
    assert server.activate("first")["action"] == "started"
    assert server.output_of("cat deep/file", "first") == "kept\n"

    server.removed("first")

    assert containers(installation) == []
    assert server.activate("first")["action"] == "created_and_started"
    assert server.output_of("cat deep/file", "first") == "kept\n"
    server.removed("first")
    assert containers(installation) == []


def test_a_container_that_was_removed_by_hand_while_it_was_stopped_comes_back(docker_fleetlog: DockerFleetlog) -> None:
    server = docker_fleetlog
    server.finished("echo back > file", sessionId="first")
    server.ok("POST", "/api/session-workers/first/stop")
    docker("rm", "-f", server.container("first"))

    assert server.activate("first")["action"] == "created_and_started"

    assert server.output_of("cat file", "first") == "back\n"
    history = server.ok("GET", "/api/streams/session:first/events")["events"]
    assert "session.container_lost" in [event["type"] for event in history]


def test_a_run_in_a_container_survives_a_kill_of_the_server(docker_fleetlog: DockerFleetlog) -> None:
    server, container = docker_fleetlog, docker_fleetlog.container("first")
    counting = "for n in $(seq 1 40); do echo line $n; echo $n >> steps; sleep 0.1; done"
    run_id = server.enqueued(counting, sessionId="first")
    server.until(run_id, "message.delta")
    server.kill()

    server.start()

    history = server.history(run_id)
    assert (history[-1]["event"], history[-1]["data"]["outcome"]) == ("run.finished", "succeeded")
    text = "".join(frame["data"]["text"] for frame in history if frame["event"] == "message.delta")
    assert text.split("\n")[:-1] == [f"line {n}" for n in range(1, 41)]
    assert server.container("first") == container
    assert server.output_of("cat steps", "first").split() == [str(n) for n in range(1, 41)]


def test_ctrl_c_stops_an_idle_container_and_a_run_goes_on_in_its_own_meanwhile(docker_fleetlog: DockerFleetlog) -> None:
    server, container = docker_fleetlog, docker_fleetlog.container("first")
    server.output_of("echo kept > file", "idle")
    idle = server.container("idle")
    run_id = server.enqueued("echo begun; sleep 8; echo end", sessionId="first")
    server.until(run_id, "message.delta")

    assert server.stop() == 0

    assert docker("inspect", "--format", "{{.State.Status}} {{.RestartCount}}", container) == "running 0"
    assert docker("inspect", "--format", "{{.State.Status}}", idle) == "exited"
    server.start()
    assert (server.output_of("cat file", "idle"), server.container("idle")) == ("kept\n", idle)
    history = server.history(run_id)
    assert history[-1]["data"]["outcome"] == "succeeded"
    text = "".join(frame["data"]["text"] for frame in history if frame["event"] == "message.delta")
    assert text == "begun\nend\n"


def test_a_container_that_was_killed_by_hand_is_started_again_with_its_files(docker_fleetlog: DockerFleetlog) -> None:
    server, container = docker_fleetlog, docker_fleetlog.container("first")
    server.finished("echo kept > file", sessionId="first")
    docker("kill", container)

    assert server.activate("first")["action"] == "already_running"

    assert (server.container("first"), server.output_of("cat file", "first")) == (container, "kept\n")
    events = server.ok("GET", "/api/streams/session:first/events", params={"limit": 1000})["events"]
    revivals = [event["payload"] for event in events if event["payload"].get("purpose") == "revival"]
    assert ["executor" in revival["exitLog"] for revival in revivals] == [True], revivals


def test_a_container_that_was_removed_by_hand_while_it_ran_is_on_record_as_lost(
    docker_fleetlog: DockerFleetlog,
) -> None:
    server = docker_fleetlog
    server.finished("echo synced > file", sessionId="first")
    docker("rm", "-f", server.container("first"))

    assert server.activate("first")["action"] == "created_and_started"

    history = server.ok("GET", "/api/streams/session:first/events")["events"]
    (lost,) = [event for event in history if event["type"] == "session.container_lost"]
    assert lost["payload"]["generation"] == 1
    assert server.output_of("cat file", "first") == "synced\n"


def test_root_in_a_taken_over_container_gets_at_nothing_of_another_session(docker_fleetlog: DockerFleetlog) -> None:
    server = docker_fleetlog
    server.activate("second")
    server.finished("echo of the first > own.txt", sessionId="first")
    server.finished("echo of the second > secret.txt", sessionId="second")
    synced = server.ok("POST", "/api/session-workers/second/sync")["sync"]["manifestKey"]
    other = synced.partition("/manifests/")[0]
    location = json.loads((server.home / "s3.credentials").read_text())
    port = int((server.home / "s3.port").read_text())
    store = S3ObjectStore(
        S3Location(
            endpoint=f"http://127.0.0.1:{port}",
            bucket="fleetlog",
            region="us-east-1",
            access_key=location["accessKeyId"],
            secret_key=location["secretAccessKey"],
        )
    )
    with closing(store):
        store.put(f"{other}/secret.txt", b"of the second")
        before = {item.key: item.size for item in store.list_objects(f"{other}/")}
        needles = [location["secretAccessKey"], location["accessKeyId"], installation_secret(server.home)]

        attacked = subprocess.run(
            ["docker", "exec", "-i", "-u", "0", server.container("first"), "python3", "-", other, *needles],
            input=Path(taken_over_worker.__file__).read_bytes(),
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert attacked.returncode == 0, attacked.stderr.decode()
        told = json.loads(attacked.stdout)

        assert told["found"] == [], "the store's own keys and the installation's secret are nowhere in a container"
        results = told["results"]
        assert results.pop("own") == "done: True"
        assert {name: said for name, said in results.items() if "403" not in said} == {}
        assert len(results) > 40
        assert {item.key: item.size for item in store.list_objects(f"{other}/")} == before
        assert not [item.key for item in store.list_objects(told["own"]) if "stolen" in item.key]
    assert server.output_of("cat secret.txt", "second") == "of the second\n"


def test_an_agent_that_fills_its_container_is_ended_by_name_and_its_work_is_kept(
    worker_image: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("full") / "home"
    with running_docker_fleetlog(home, worker_image, first="full", WORKER_DISK_MB="48") as server:
        filling = "echo kept > file; head -c 64M /dev/zero > /tmp/big; sleep 600"
        ended = server.finished(filling, sessionId="full")

        assert ended["snapshot"]["state"] == "failed"
        assert "48 MiB are allowed (WORKER_DISK_MB)" in ended["snapshot"]["error"]["message"]
        stopped = server.until_session("full", "session.stopped")["payload"]
        assert stopped["reason"] == "disk_limit"
        exceeded = server.until_session("full", "session.disk_limit_exceeded")["payload"]
        (line,) = repaired(server, "full_disk", sessionId="full")
        assert (line["level"], line["usedBytes"]) == ("warning", exceeded["usedBytes"])
        assert line["runIds"] == [ended["snapshot"]["runId"]]
        assert counted(server, "full_disk") == 1
        assert exceeded["limitBytes"] == 48 * 1024**2 < exceeded["usedBytes"]
        docker("rm", "-f", server.container("full"))
        assert server.output_of("cat file; ls /tmp", "full") == "kept\n"


def test_what_a_container_said_before_it_died_in_its_activation_is_in_the_event(
    image_that_dies: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    session, home = new_id("dying"), tmp_path_factory.mktemp("dying") / "home"
    with DockerFleetlog(home, WORKER_RUNTIME="docker", WORKER_IMAGE=image_that_dies) as server:
        body = {"appId": "app", "userLoginName": "ada"}
        server.client.post(f"/api/session-workers/{session}/activate", json=body, params={"waitMs": 0})
        container = server.until_session(session, "session.container_created")["payload"]["containerId"]
        installation = docker("inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', container)
        try:
            failed = server.until_session(session, "session.activation_failed")["payload"]

            assert failed["step"] == "start"
            assert "ended with code 7; the end of its log:" in failed["error"]
            assert {"begins", "the floor is missing"} <= set(failed["error"].splitlines())
            server.until_session(session, "session.removed")
            assert containers(installation) == []
            assert server.ok("GET", f"/api/session-workers/{session}")["state"] == "deleted"
        finally:
            remove_everything(installation)
