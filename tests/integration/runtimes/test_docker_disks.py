"""What a container may write: the storage driver keeps to it where it has quotas, else it is measured."""

from collections.abc import Iterator

import pytest

from infrastructure.runtimes.container_settings import ContainerSettings
from infrastructure.runtimes.docker import DockerWorkerRuntime
from infrastructure.runtimes.executor_setup import ExecutorSetup
from tests.contract.worker_runtime_contract import NEXT, SPEC
from tests.support.async_run import run
from tests.support.docker_runtime_harness import DockerRuntimeHarness
from tests.support.private_docker import DockerWithQuotas, required_btrfs
from tests.support.process_runtime_harness import UNREACHABLE_STORE

pytestmark = [pytest.mark.proof, pytest.mark.timeout(400)]

LIMIT = 32 * 1024**2
QUOTA = 600 * 1024**2
"""More than the image has: btrfs counts it, too."""


@pytest.fixture
def harness(worker_image: str) -> Iterator[DockerRuntimeHarness]:
    harness = DockerRuntimeHarness()
    yield harness
    harness.clean_up()


def test_without_quotas_what_a_container_has_written_is_measured(harness: DockerRuntimeHarness) -> None:
    limited = harness.another_process(disk_bytes=LIMIT)
    for spec in (SPEC, NEXT):
        run(limited.start(spec, run(limited.create(spec)).container_id))
    assert run(limited.oversized()) == []

    assert harness.in_container(SPEC, "sh", "-c", "head -c 40M /dev/zero > /tmp/big")[0] == 0
    (found,) = run(limited.oversized())

    assert (found.session_id, found.generation, found.limit_bytes) == (SPEC.session_id, SPEC.generation, LIMIT)
    assert 40 * 1024**2 <= found.used_bytes < 60 * 1024**2
    assert run(harness.another_process(disk_bytes=0).oversized()) == []
    run(limited.stop(SPEC, harness.inspected(SPEC)["Id"]))
    assert run(limited.oversized()) == [], "one that does not run writes nothing"


@pytest.fixture
def base_image(worker_image: str, harness: DockerRuntimeHarness) -> str:
    """The worker image's base, which is small: its tag."""
    images = harness.api.images(filters={"label": "fleetlog.worker-base=1"})
    tags = [tag for image in images for tag in image["RepoTags"] or () if tag.startswith("fleetlog-worker-base")]
    return str(tags[0]) if tags else worker_image


def test_with_quotas_a_container_can_not_write_more(base_image: str) -> None:
    required_btrfs()
    with DockerWithQuotas(base_image) as daemon:
        without_command = daemon("create", base_image, "true")
        image = daemon("commit", "--change", 'CMD ["true"]', without_command, "with-command")
        settings = ContainerSettings(image=image, pull="never", disk_bytes=QUOTA)
        runtime = DockerWorkerRuntime(
            "quotas",
            settings,
            ExecutorSetup(object_store=UNREACHABLE_STORE),
            environment={"DOCKER_HOST": daemon.host},
        )
        try:
            container = run(runtime.create(SPEC)).container_id
            assert daemon("inspect", "-f", "{{.HostConfig.StorageOpt.size}}", container) == str(QUOTA)
            assert run(runtime.oversized()) == []
        finally:
            runtime.close()
        fill = ("sh", "-c", "head -c 700M /dev/zero > /big; stat -c %s /big")
        written = daemon("run", "--rm", "--network", "none", "--storage-opt", f"size={QUOTA}", base_image, *fill)
        assert int(written.split()[-1]) <= QUOTA
