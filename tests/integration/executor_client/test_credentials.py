"""Credentials for the object store that expire: calls that may use it bring an executor those of their moment."""

import asyncio
from dataclasses import replace

import pytest

from application.executor_protocol import RestoreRequest, ValidateRequest
from application.store_credentials import CREDENTIALS_HEADER
from domain.workspace.plan import RestorePlan
from domain.workspace.storage import StorageScope
from infrastructure.executor_client.directory import HttpExecutorDirectory, SharedExecutor
from tests.integration.executor_client.test_calls import HEALTH, QUICK, SECRET, STATE, executor_of
from tests.support.async_run import run
from tests.support.scripted_executor import Reply, ScriptedExecutor, scripted_executor

RESTORE = RestoreRequest(
    session_id="s", container_id="c", generation=3, plan=RestorePlan(layers=()), workspace_s3_prefix="p/q"
)


def test_each_call_that_may_use_the_store_brings_the_credentials_of_its_moment() -> None:
    async def scene() -> ScriptedExecutor:
        numbers = iter(range(1, 100))

        async def store(*_: object) -> dict[str, str]:
            return {CREDENTIALS_HEADER: f"credentials-{next(numbers)}"}

        async with (
            scripted_executor() as scripted,
            HttpExecutorDirectory(SECRET, policy=QUICK, store=store) as directory,
        ):
            scripted.replies.append(Reply(status=503))
            scripted.default = Reply(body={**HEALTH, **STATE, "ok": True})
            executor = executor_of(directory, scripted.url)
            await executor.restore(RESTORE)
            await executor.validate(ValidateRequest(session_id="s", container_id="c", generation=3))
            await executor.run_state("r1")
            await executor.sync_progress()
            return scripted

    sent = [request.headers.get(CREDENTIALS_HEADER) for request in run(scene()).requests]
    assert sent == ["credentials-1", "credentials-2", None, None, "credentials-3"]


def test_a_call_says_for_which_session_worker_it_is() -> None:
    async def scene() -> list[object]:
        told: list[object] = []

        async def store(*who: object) -> dict[str, str]:
            told.extend(who)
            return {}

        scope = StorageScope(own="p/q/")
        async with scripted_executor() as scripted, HttpExecutorDirectory(SECRET, store=store) as directory:
            scripted.default = Reply(body={})
            executor = directory.executor(session_id="s", generation=3, url=scripted.url, storage=scope)
            await executor.sync_progress()
        return told

    assert run(scene()) == ["s", 3, StorageScope(own="p/q/")]


@pytest.mark.parametrize("shared", [True, False])
def test_no_credentials_are_sent_to_a_shared_executor_or_where_there_are_none_to_pass_on(shared: bool) -> None:
    async def scene() -> ScriptedExecutor:
        async def store(*_: object) -> dict[str, str]:
            return {CREDENTIALS_HEADER: "credentials"} if shared else {}

        async with scripted_executor() as scripted:
            scripted.default = Reply(body=HEALTH)
            executors = SharedExecutor(base_url=scripted.url, token="t") if shared else None
            async with HttpExecutorDirectory(SECRET, shared=executors, store=store) as directory:
                await executor_of(directory, scripted.url).sync_progress()
            return scripted

    assert CREDENTIALS_HEADER not in run(scene()).requests[0].headers


def test_a_restore_that_outlives_its_credentials_brings_others_meanwhile() -> None:
    async def scene() -> ScriptedExecutor:
        numbers = iter(range(1, 1000))

        async def store(*_: object) -> dict[str, str]:
            return {CREDENTIALS_HEADER: f"credentials-{next(numbers)}"}

        policy = replace(QUICK, timeout_s=30, pass_credentials_every_s=0.01)
        async with (
            scripted_executor() as scripted,
            HttpExecutorDirectory(SECRET, policy=policy, store=store) as directory,
        ):
            gate = asyncio.Semaphore(0)
            scripted.replies.append(Reply(chunks=(b"{}",), gate=gate))
            scripted.default = Reply(body={})
            restore = asyncio.create_task(executor_of(directory, scripted.url).restore(RESTORE))
            while len(scripted.requests) < 4:
                scripted.asked.clear()
                await scripted.asked.wait()
            gate.release()
            assert (await restore).ok
            return scripted

    first, *later = run(scene()).requests
    assert first.path == "/workspace/restore"
    assert {request.path for request in later} == {"/workspace/sync"}
    brought = [int(request.headers[CREDENTIALS_HEADER].removeprefix("credentials-")) for request in (first, *later)]
    assert brought == sorted(set(brought))


def test_a_restore_with_credentials_that_last_makes_no_call_to_bring_others() -> None:
    async def scene() -> ScriptedExecutor:
        asked = asyncio.Semaphore(0)

        async def store(*_: object) -> dict[str, str]:
            asked.release()
            return {}

        policy = replace(QUICK, timeout_s=30, pass_credentials_every_s=0.01)
        async with (
            scripted_executor() as scripted,
            HttpExecutorDirectory(SECRET, policy=policy, store=store) as directory,
        ):
            gate = asyncio.Semaphore(0)
            scripted.replies.append(Reply(chunks=(b"{}",), gate=gate))
            scripted.default = Reply(body={})
            restore = asyncio.create_task(executor_of(directory, scripted.url).restore(RESTORE))
            for _ in range(4):
                await asked.acquire()
            gate.release()
            assert (await restore).ok
            return scripted

    assert [request.path for request in run(scene()).requests] == ["/workspace/restore"]
