"""A real executor in the `process` runtime, called by the real client, its workspace in a real object store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from application.ports.executor import ExecutorError
from application.ports.worker_runtime import ContainerInfo
from infrastructure.embedded.object_store import ObjectStoreAccess
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.directory import HttpExecutorDirectory
from infrastructure.object_store.location import S3Location
from infrastructure.runtimes.polling import wait_until
from infrastructure.runtimes.process_identity import alive, identify
from tests.support.async_run import run
from tests.support.executor_calls import SECRET, SESSION, SPEC, restored, started_script, sync_of
from tests.support.process_runtime_harness import REAL, ProcessRuntimeHarness

POLICY = CallPolicy(max_retries=1, retry_delay_s=0.05)


@pytest.fixture
def harness(tmp_path: Path, bucket: ObjectStoreAccess) -> Iterator[ProcessRuntimeHarness]:
    store = S3Location(
        endpoint=bucket.endpoint,
        bucket=bucket.bucket,
        region=bucket.region,
        access_key=bucket.access_key_id,
        secret_key=bucket.secret_access_key,
    )
    harness = ProcessRuntimeHarness(tmp_path / "home", store=store, argv=REAL)
    yield harness
    harness.clean_up()


def started(harness: ProcessRuntimeHarness) -> ContainerInfo:
    container = run(harness.runtime.create(SPEC))
    return run(harness.runtime.start(SPEC, container.container_id))


def test_a_session_lives_from_restore_to_sync(harness: ProcessRuntimeHarness) -> None:
    info = started(harness)

    async def life() -> None:
        async with HttpExecutorDirectory(SECRET, policy=POLICY) as directory:
            executor = directory.executor(session_id=SESSION, generation=1, url=info.url)
            sync = sync_of("manual")
            with pytest.raises(ExecutorError) as refused:
                await executor.sync(sync)
            assert (refused.value.status, refused.value.reason) == (409, "workspace_not_restored")
            await restored(executor)
            await started_script(executor, "echo hello; echo kept > file; echo $HOME > home-was")
            entries = [entry async for batch in executor.follow("run-1", 0) for entry in batch]
            assert [entry.n for entry in entries] == list(range(1, len(entries) + 1))
            assert (entries[0].type, entries[-1].type) == ("message.delta", "run.agent_finished")
            again = [entry async for batch in executor.follow("run-1", 1) for entry in batch]
            assert again == entries[1:]
            state = await executor.run_state("run-1")
            assert state
            assert (state.finished, state.entries) == (True, len(entries))
            assert await executor.run_state("run-2") is None
            synced = await executor.sync(sync)
            assert synced.uploaded_files == 2

    run(life())
    assert (harness.folder(SPEC).path / "workspace/home-was").read_text().strip() == str(harness.folder(SPEC).home)


def test_another_generations_token_is_refused(harness: ProcessRuntimeHarness) -> None:
    info = started(harness)

    async def call() -> None:
        async with HttpExecutorDirectory(SECRET, policy=POLICY) as directory:
            executor = directory.executor(session_id=SESSION, generation=2, url=info.url)
            with pytest.raises(ExecutorError) as refused:
                await executor.run_state("run-1")
            assert (refused.value.status, refused.value.attempt) == (401, 1)

    run(call())


def test_a_killed_executor_cuts_its_journal_and_takes_its_agent_along_at_the_next_start(
    harness: ProcessRuntimeHarness,
) -> None:
    info = started(harness)
    pid_file = harness.folder(SPEC).path / "workspace" / "pid"

    async def until_killed() -> None:
        async with HttpExecutorDirectory(SECRET, policy=POLICY) as directory:
            executor = directory.executor(session_id=SESSION, generation=1, url=info.url)
            await restored(executor)
            await started_script(executor, "setsid sleep 600 & echo $! > pid; echo ready; wait")
            journal = executor.follow("run-1", 0)
            assert "message.delta" in [entry.type for entry in await anext(journal)]
            harness.kill_executor(SPEC)
            with pytest.raises(ExecutorError) as cut:
                await anext(journal)
            assert (cut.value.kind, cut.value.reason) == ("network", "stream_cut")
            with pytest.raises(ExecutorError) as refused:
                await executor.health()
            assert (refused.value.kind, refused.value.attempt) == ("network", 2)

    run(until_killed())
    agent = identify(int(pid_file.read_text()))
    assert agent
    again = run(harness.runtime.start(SPEC, info.container_id))
    assert again.url != info.url
    assert wait_until(lambda: not alive(agent), 90)


@pytest.mark.proof
def test_an_executor_that_ended_by_itself_is_exited_and_boots_anew_with_its_workspace(
    harness: ProcessRuntimeHarness,
) -> None:
    container = run(harness.runtime.create(SPEC))
    short = harness.another_process(harness.with_idle_exit(1))
    run(short.start(SPEC, container.container_id))
    harness.write(SPEC, "kept")
    process = harness.process(SPEC)
    assert wait_until(lambda: not alive(process), 90)
    ended = run(short.inspect(SPEC, container.container_id, container.daemon_id))
    assert ended
    assert (ended.status, ended.url) == ("exited", "")
    assert "idle" in ended.exit_log
    run(harness.runtime.start(SPEC, container.container_id))
    assert harness.written(SPEC, "kept")
    assert Path(f"/proc/{harness.process(SPEC).pid}/cwd").samefile(harness.folder(SPEC).path)
