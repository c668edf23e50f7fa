"""What every WorkerRuntime holds. Subclass `WorkerRuntimeContract` and give it a fixture `harness`."""

import asyncio
from typing import Protocol

import pytest

from application.ports.worker_runtime import (
    ContainerGone,
    ContainerInfo,
    ContainerSpec,
    RuntimeUnavailable,
    StartFailed,
    WorkerRuntime,
)
from infrastructure.runtimes.executor_health import probe
from tests.support.async_run import run

SECRET_TOKEN = "token-5up3r"
SECRET_KEY = "s3-secret-5up3r"
SPEC = ContainerSpec(session_id="contract-session", generation=1, token=SECRET_TOKEN)
NEXT = ContainerSpec(session_id="contract-session", generation=2, token=SECRET_TOKEN)


class RuntimeHarness(Protocol):
    """A runtime under test, and a hand that reaches around it."""

    runtime: WorkerRuntime

    def another_process(self) -> WorkerRuntime:
        """A runtime as the next control plane has it, on the same daemon."""
        ...

    def write(self, spec: ContainerSpec, name: str) -> None:
        """Write a file into the workspace."""
        ...

    def written(self, spec: ContainerSpec, name: str) -> bool: ...
    def break_start(self, spec: ContainerSpec) -> str:
        """Let the executor die at its next start; a text that it then prints."""
        ...

    def kill_executor(self, spec: ContainerSpec) -> None:
        """kill -9, and wait until it is gone."""
        ...

    def delete_by_hand(self, spec: ContainerSpec) -> None: ...
    def visible_to_others(self, spec: ContainerSpec) -> str:
        """Arguments, environment and whatever else of the running container others can look at."""
        ...


def boot_id(info: ContainerInfo) -> str:
    return probe(info.url, timeout_s=5).boot_id


class WorkerRuntimeContract:
    """Each test leaves its containers to the fixture's clean-up."""

    def test_create_twice_gives_the_same_container(self, harness: RuntimeHarness) -> None:
        first = run(harness.runtime.create(SPEC))
        second = run(harness.runtime.create(SPEC))
        assert first == second
        assert (first.status, first.runtime, first.url) == ("created", harness.runtime.name, "")
        assert first.daemon_id

    def test_generations_are_containers_of_their_own(self, harness: RuntimeHarness) -> None:
        first, second = run(harness.runtime.create(SPEC)), run(harness.runtime.create(NEXT))
        assert first.container_id != second.container_id
        harness.write(SPEC, "one")
        assert not harness.written(NEXT, "one")

    def test_a_started_executor_answers_for_its_session_and_generation(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        started = run(harness.runtime.start(SPEC, container.container_id))
        health = probe(started.url, timeout_s=5)
        assert (started.status, health.session_id, health.generation) == ("running", "contract-session", 1)
        assert not health.maintenance
        assert run(harness.runtime.inspect(SPEC, container.container_id, container.daemon_id)) == started

    def test_start_of_a_running_one_adopts_it_from_another_process_too(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        started = run(harness.runtime.start(SPEC, container.container_id))
        boot = boot_id(started)
        assert run(harness.runtime.start(SPEC, container.container_id)) == started
        assert run(harness.another_process().start(SPEC, container.container_id)) == started
        assert boot_id(started) == boot

    def test_racing_starters_make_one_executor(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        runtimes = [harness.runtime, harness.another_process(), harness.runtime, harness.another_process()]

        async def race() -> list[ContainerInfo]:
            return await asyncio.gather(*(each.start(SPEC, container.container_id) for each in runtimes))

        started = run(race())
        assert len({boot_id(each) for each in started}) == 1
        assert len({each.url for each in started}) == 1

    def test_the_wrong_mode_is_started_anew_in_the_right_one(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        normal = run(harness.runtime.start(SPEC, container.container_id))
        boot = boot_id(normal)
        maintenance = run(harness.runtime.start(SPEC, container.container_id, maintenance=True))
        assert probe(maintenance.url, timeout_s=5).maintenance
        assert boot_id(maintenance) != boot
        again = run(harness.runtime.start(SPEC, container.container_id))
        assert not probe(again.url, timeout_s=5).maintenance

    def test_stop_and_start_keep_the_workspace_and_change_the_boot(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        first = boot_id(run(harness.runtime.start(SPEC, container.container_id)))
        harness.write(SPEC, "kept")
        run(harness.runtime.stop(SPEC, container.container_id))
        run(harness.runtime.stop(SPEC, container.container_id))
        stopped = run(harness.runtime.inspect(SPEC, container.container_id, container.daemon_id))
        assert stopped
        assert (stopped.status, stopped.url) == ("exited", "")
        second = boot_id(run(harness.runtime.start(SPEC, container.container_id)))
        assert second != first
        assert harness.written(SPEC, "kept")

    def test_remove_ends_it_and_leaves_nothing(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        run(harness.runtime.start(SPEC, container.container_id))
        run(harness.runtime.remove(SPEC, container.container_id))
        run(harness.runtime.remove(SPEC, container.container_id))
        run(harness.runtime.stop(SPEC, container.container_id))
        assert run(harness.runtime.inspect(SPEC, container.container_id, container.daemon_id)) is None
        assert run(harness.runtime.own_containers()) == []
        with pytest.raises(ContainerGone):
            run(harness.runtime.start(SPEC, container.container_id))

    def test_a_killed_executor_is_seen_as_exited_and_boots_anew(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        boot = boot_id(run(harness.runtime.start(SPEC, container.container_id)))
        harness.write(SPEC, "kept")
        harness.kill_executor(SPEC)
        assert boot_id(run(harness.runtime.start(SPEC, container.container_id))) != boot
        assert harness.written(SPEC, "kept")

    def test_a_failed_start_tells_the_end_of_the_log(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        printed = harness.break_start(SPEC)
        with pytest.raises(StartFailed, match=printed):
            run(harness.runtime.start(SPEC, container.container_id))

    def test_one_deleted_by_hand_is_gone(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        harness.delete_by_hand(SPEC)
        assert run(harness.runtime.inspect(SPEC, container.container_id, container.daemon_id)) is None
        with pytest.raises(ContainerGone):
            run(harness.runtime.start(SPEC, container.container_id))
        run(harness.runtime.stop(SPEC, container.container_id))
        run(harness.runtime.remove(SPEC, container.container_id))

    def test_another_daemon_never_says_gone(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        harness.delete_by_hand(SPEC)
        with pytest.raises(RuntimeUnavailable):
            run(harness.runtime.inspect(SPEC, container.container_id, "the-daemon-of-another-machine"))

    def test_its_own_containers_are_listed(self, harness: RuntimeHarness) -> None:
        first, second = run(harness.runtime.create(SPEC)), run(harness.runtime.create(NEXT))
        run(harness.runtime.start(NEXT, second.container_id))
        listed = {each.container_id: each for each in run(harness.runtime.own_containers())}
        assert set(listed) == {first.container_id, second.container_id}
        assert listed[second.container_id].session_id == "contract-session"
        assert [(each.generation, each.status) for each in listed.values()] == [(1, "created"), (2, "running")]

    def test_no_secret_is_in_arguments_or_environment(self, harness: RuntimeHarness) -> None:
        container = run(harness.runtime.create(SPEC))
        run(harness.runtime.start(SPEC, container.container_id))
        visible = harness.visible_to_others(SPEC)
        assert visible
        assert "5up3r" not in visible
