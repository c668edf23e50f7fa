"""A Docker daemon that restarts, goes away, is another one, or has no room left: the gate holds, the state is true, the
error is on record, and the next attempt succeeds. On a daemon of the test's own, which DOCKER_HOST names."""

from collections.abc import Iterator

import pytest

from infrastructure.runtimes.polling import wait_until
from tests.support.fleetlog_server import FleetlogServer, new_id, not_ready
from tests.support.private_docker import PrivateDocker, required_root
from tests.support.repair_lines import counted, repaired
from tests.support.session_history import checked_history, output, payloads, removed

pytestmark = pytest.mark.timeout(600)

FREE_MIB = 200


@pytest.fixture(scope="module")
def daemon(worker_image: str) -> Iterator[PrivateDocker]:
    required_root()
    with PrivateDocker(worker_image, free_mib=FREE_MIB) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def server(
    daemon: PrivateDocker, worker_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FleetlogServer]:
    home = tmp_path_factory.mktemp("docker") / "home"
    settings = {
        "DOCKER_HOST": daemon.host,
        "WORKER_RUNTIME": "docker",
        "WORKER_IMAGE": worker_image,
        "WORKER_CPUS": "1.5",
        "WORKER_MEMORY_MB": "768",
        "WORKER_PIDS": "300",
        "EXECUTOR_MAX_RETRIES": "1",
        "RUN_QUEUE_RETRY_DELAY_MS": "2000",
    }
    with FleetlogServer(home, **settings) as server:
        yield server


@pytest.fixture
def session(server: FleetlogServer) -> str:
    name = new_id("session")
    output(server, "echo kept > file", name)
    return name


def container(server: FleetlogServer, session: str) -> str:
    return str(server.ok("GET", f"/api/session-workers/{session}")["containerId"])


@pytest.mark.proof
def test_docker_host_names_the_daemon_and_settings_the_limits(
    server: FleetlogServer, daemon: PrivateDocker, session: str
) -> None:
    assert container(server, session) in daemon("ps", "-q", "--no-trunc").split()
    limits = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}"
    assert daemon("inspect", "-f", limits, container(server, session)) == f"1500000000 {768 * 1024**2} 300"


@pytest.mark.proof
def test_a_daemon_that_restarts_brings_its_containers_back(
    server: FleetlogServer, daemon: PrivateDocker, session: str
) -> None:
    before = container(server, session)
    run_id = server.enqueued("echo begun; sleep 600", sessionId=session)
    server.until(run_id, "message.delta")

    daemon.restart()

    last = server.history(run_id)[-1]["data"]
    assert last["outcome"] == "failed"
    assert "executor" in last["error"]["message"]
    assert output(server, "cat file", session) == "kept\n"
    assert container(server, session) == before
    assert server.ok("POST", f"/api/session-workers/{session}/stop")["worker"]["state"] == "stopped"
    assert payloads(checked_history(server, session), "session.container_lost") == []


@pytest.mark.proof
def test_while_a_daemon_is_away_nothing_is_gone_and_afterwards_the_stop_goes_on(
    server: FleetlogServer, daemon: PrivateDocker, session: str
) -> None:
    daemon.stop()
    try:
        since = server.ok("POST", f"/api/session-workers/{session}/stop", params={"waitMs": 0})["position"]
        failure = server.until_session(session, "session.sync_failed", since)
        assert server.ok("GET", f"/api/session-workers/{session}")["state"] == "running"
    finally:
        daemon.start()

    assert failure["payload"]["reason"] == "pre.stop"
    assert server.ok("POST", f"/api/session-workers/{session}/stop")["worker"]["state"] == "stopped"
    assert removed(server)["failed"] == 0
    assert output(server, "cat file", session) == "kept\n"
    assert payloads(checked_history(server, session), "session.container_lost") == []


@pytest.mark.proof
def test_while_a_daemon_is_away_runs_wait_without_burning_tries_and_ready_says_why(
    server: FleetlogServer, daemon: PrivateDocker
) -> None:
    before = len(server.log_text())
    daemon.stop()
    try:
        run_id = server.enqueued("echo it is back", sessionId=new_id("session"), maxAttempts=1)
        server.until(run_id, "run.phase")
        assert wait_until(lambda: "docker" in not_ready(server), 60)
        assert "down for 1 of 1 working processes: Docker can't be reached" in not_ready(server)["docker"]
        assert server.log_text()[before:].count("docker is down, what needs it waits") == 1
    finally:
        daemon.start()

    history = server.history(run_id)
    assert history[-1]["data"]["outcome"] == "succeeded"
    assert "run.retry_scheduled" not in [frame["event"] for frame in history]
    assert wait_until(lambda: not_ready(server) == {}, 60)
    line = repaired(server, "outage", dependency="docker")[-1]
    assert (line["level"], line["message"]) == ("warning", f"docker works again, after {line['seconds']} s")
    assert counted(server, "outage") == len(repaired(server, "outage"))


@pytest.mark.proof
def test_a_container_that_is_removed_by_hand_in_the_middle_of_a_run_is_lost_with_the_reason(
    server: FleetlogServer, daemon: PrivateDocker, session: str
) -> None:
    run_id = server.enqueued("echo begun; sleep 600", sessionId=session)
    server.until(run_id, "message.delta")

    daemon("rm", "-f", container(server, session))

    last = server.history(run_id)[-1]["data"]
    assert (last["outcome"], last["error"]["errorClass"]) == ("failed", "executor_lost")
    assert output(server, "cat file", session) == "kept\n"
    (lost,) = payloads(checked_history(server, session), "session.container_lost")
    assert "has no container" in lost["detail"]


@pytest.mark.proof
def test_a_worker_whose_disk_is_full_is_synced_all_the_same_and_loses_nothing(
    server: FleetlogServer, daemon: PrivateDocker, session: str
) -> None:
    run = server.finished("head -c 2000M /dev/zero > big; echo and on", sessionId=session)["snapshot"]
    assert (run["state"], run["error"]["errorClass"], run["exported"]) == ("failed", "executor_lost", True)
    assert "No space left on device" in run["error"]["message"]
    server.ok("POST", f"/api/session-workers/{session}/stop", params={"waitMs": 20_000})

    daemon.make_room(4 * FREE_MIB)

    assert server.ok("POST", f"/api/session-workers/{session}/stop")["worker"]["state"] == "stopped"
    assert output(server, "test -s big && cat file; rm big", session) == "kept\n"
    server.ok("POST", f"/api/session-workers/{session}/stop")
    assert removed(server)["failed"] == 0
    assert output(server, "ls; cat file", session) == "file\nkept\n"
    checked_history(server, session)
    daemon.make_room(FREE_MIB)
