"""The `docker` runtime on a real Docker Engine, with the image that script/worker-image builds here.

Without an engine these tests are skipped; with CI=true they fail.
"""

from collections.abc import Iterator

import pytest

from application.executor_protocol import PROTOCOL_VERSION
from application.ports.worker_runtime import ContainerSpec, RuntimeUnavailable, StartFailed
from infrastructure.runtimes.container_settings import LABEL_INSTALLATION, ContainerSettings
from infrastructure.runtimes.docker import DockerWorkerRuntime
from infrastructure.runtimes.executor_health import probe
from infrastructure.runtimes.executor_setup import ExecutorSetup
from tests.contract.worker_runtime_contract import NEXT, SPEC, WorkerRuntimeContract
from tests.support.async_run import run
from tests.support.docker_runtime_harness import DockerRuntimeHarness
from tests.support.process_runtime_harness import UNREACHABLE_STORE
from tests.support.worker_image import IMAGE

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]


@pytest.fixture
def harness(worker_image: str) -> Iterator[DockerRuntimeHarness]:
    harness = DockerRuntimeHarness()
    yield harness
    harness.clean_up()


def started(harness: DockerRuntimeHarness, spec: ContainerSpec = SPEC) -> str:
    container = run(harness.runtime.create(spec))
    run(harness.runtime.start(spec, container.container_id))
    return container.container_id


class TestContract(WorkerRuntimeContract):
    pass


def test_a_container_has_its_limits_and_nothing_of_the_host(harness: DockerRuntimeHarness) -> None:
    started(harness)
    inspected = harness.inspected(SPEC)
    host = inspected["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (1_000_000_000, 2 * 1024**3, 512)
    assert host["MemorySwap"] == host["Memory"]
    assert (host["Binds"], host.get("Tmpfs"), inspected["Mounts"]) == (None, None, [])
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["AutoRemove"] is False
    assert host["Privileged"] is False
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["CapDrop"] == ["ALL"]


def test_ports_are_published_on_loopback_only(harness: DockerRuntimeHarness) -> None:
    started(harness)
    bindings = harness.inspected(SPEC)["NetworkSettings"]["Ports"]["8700/tcp"]
    assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}


def test_labels_name_installation_session_and_generation(harness: DockerRuntimeHarness) -> None:
    run(harness.runtime.create(SPEC))
    labels = harness.inspected(SPEC)["Config"]["Labels"]
    assert labels["fleetlog.installation"] == harness.installation
    assert (labels["fleetlog.session"], labels["fleetlog.generation"]) == ("contract-session", "1")


def test_the_environment_holds_nothing_of_ours(harness: DockerRuntimeHarness) -> None:
    run(harness.runtime.create(SPEC))
    names = {variable.split("=")[0] for variable in harness.inspected(SPEC)["Config"]["Env"]}
    assert names == {"PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LANG"}


def test_an_image_of_an_earlier_release_gets_what_its_agents_need_in_its_environment(
    harness: DockerRuntimeHarness,
) -> None:
    """Its executor does not read what comes with a run."""
    made = harness.api.create_container(IMAGE)["Id"]
    image = f"fleetlog-worker-earlier:{harness.installation}"
    harness.api.commit(made, image.partition(":")[0], harness.installation, changes=["LABEL fleetlog.protocol="])
    try:
        earlier = harness.another_process(image=image)
        run(earlier.create(SPEC))
        assert "ANTHROPIC_API_KEY=key" in harness.inspected(SPEC)["Config"]["Env"]
    finally:
        harness.clean_containers()
        harness.api.remove_container(made)
        harness.api.remove_image(image)


def test_the_image_says_which_protocol_its_executor_speaks(harness: DockerRuntimeHarness) -> None:
    assert (harness.runtime.image_labels() or {})["fleetlog.protocol"] == str(PROTOCOL_VERSION)


def test_the_agents_user_reads_nothing_of_the_executor_and_has_no_rights(harness: DockerRuntimeHarness) -> None:
    started(harness)
    for path in ("/etc/fleetlog/executor.json", "/var/lib/fleetlog/endpoint.json", "/proc/1/environ"):
        code, output = harness.in_container(SPEC, "cat", path)
        assert code != 0, output
    code, output = harness.in_container(SPEC, "sh", "-c", "for pid in /proc/[0-9]*; do kill -9 ${pid#/proc/}; done")
    assert "not permitted" in output.lower()
    code, output = harness.in_container(SPEC, "grep", "-E", "CapEff|NoNewPrivs", "/proc/self/status")
    assert output.split() == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1"]
    code, _ = harness.in_container(SPEC, "touch", "/workspace/mine")
    assert code == 0


def test_containers_do_not_reach_each_other(harness: DockerRuntimeHarness) -> None:
    started(harness)
    started(harness, NEXT)
    networks = harness.inspected(NEXT)["NetworkSettings"]["Networks"]
    (address,) = (network["IPAddress"] for network in networks.values())
    reach = ("curl", "--silent", "--show-error", "--max-time", "2", f"http://{address}:8700/health")
    code, output = harness.in_container(NEXT, *reach)
    assert code == 0, output
    code, output = harness.in_container(SPEC, *reach)
    assert code != 0, output


def test_the_first_process_reaps_and_the_health_check_finds_the_executor(harness: DockerRuntimeHarness) -> None:
    started(harness)
    kind, *command = harness.inspected(SPEC)["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    assert harness.in_container(SPEC, *command) == (0, "")
    assert harness.in_container(SPEC, "cat", "/proc/1/comm", user="0")[1].strip() == "tini"


def test_a_private_network_publishes_nothing(harness: DockerRuntimeHarness) -> None:
    network = f"private-{harness.installation}"
    harness.api.create_network(network, driver="bridge", labels={LABEL_INSTALLATION: harness.installation})
    runtime = harness.another_process(network=network)
    container = run(runtime.create(SPEC))
    info = run(runtime.start(SPEC, container.container_id))
    assert not harness.inspected(SPEC)["HostConfig"]["PortBindings"]
    assert not info.url.startswith("http://127.")


def test_other_installations_containers_are_neither_listed_nor_touched(harness: DockerRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    other = DockerRuntimeHarness()
    try:
        assert run(other.runtime.own_containers()) == []
        for call in (other.runtime.stop, other.runtime.remove):
            with pytest.raises(RuntimeUnavailable):
                run(call(SPEC, container.container_id))
    finally:
        other.clean_up()
    assert harness.inspected(SPEC)["Id"] == container.container_id


def test_a_container_killed_by_hand_boots_anew(harness: DockerRuntimeHarness) -> None:
    container_id = started(harness)
    harness.write(SPEC, "kept")
    harness.api.kill(container_id)
    info = run(harness.runtime.start(SPEC, container_id))
    assert info.status == "running"
    assert harness.written(SPEC, "kept")


def test_a_container_that_was_started_without_its_configuration_gets_it(harness: DockerRuntimeHarness) -> None:
    container = run(harness.runtime.create(SPEC))
    harness.api.start(container.container_id)  # as a process that dies right after it

    info = run(harness.runtime.start(SPEC, container.container_id))

    assert info.status == "running"
    assert probe(info.url, timeout_s=5).session_id == SPEC.session_id


def test_a_missing_image_is_said_with_the_command_that_builds_it(harness: DockerRuntimeHarness) -> None:
    runtime = harness.another_process(image="fleetlog-no-such-image:none")
    with pytest.raises(StartFailed, match="script/worker-image"):
        run(runtime.create(SPEC))


def test_an_image_is_pulled_when_it_is_missing_or_always_as_the_settings_say(harness: DockerRuntimeHarness) -> None:
    image = "127.0.0.1:9/fleetlog-worker:test"  # nobody serves a registry there: every pull is refused
    with pytest.raises(StartFailed, match="can't be pulled"):
        run(harness.another_process(image=image, pull="missing").create(SPEC))
    harness.api.tag(IMAGE, "127.0.0.1:9/fleetlog-worker", "test")
    try:
        with pytest.raises(StartFailed, match="can't be pulled"):
            run(harness.another_process(image=image, pull="always").create(SPEC))
        assert run(harness.another_process(image=image, pull="missing").create(SPEC)).status == "created"
    finally:
        harness.clean_containers()
        harness.api.remove_image(image)


def test_a_daemon_that_does_not_answer_is_an_error() -> None:
    runtime = DockerWorkerRuntime(
        "nobody",
        ContainerSettings(image=IMAGE),
        ExecutorSetup(object_store=UNREACHABLE_STORE),
        environment={"DOCKER_HOST": "tcp://127.0.0.1:9"},
    )
    for call in (
        runtime.create(SPEC),
        runtime.start(SPEC, "c"),
        runtime.stop(SPEC, "c"),
        runtime.remove(SPEC, "c"),
        runtime.inspect(SPEC, "c", "d"),
        runtime.own_containers(),
    ):
        with pytest.raises(RuntimeUnavailable):
            run(call)
    runtime.close()
