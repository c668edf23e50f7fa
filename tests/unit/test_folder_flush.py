"""The flush of the embedded S3 server's folder: who shares one, and who must not."""

import asyncio
from pathlib import Path
from threading import Event

import pytest

from infrastructure.embedded import folder_flush
from infrastructure.embedded.folder_flush import FolderFlush
from tests.support.async_run import run


def test_every_call_is_flushed_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(folder_flush, "flush_filesystem", flushed.append)

    async def scene() -> None:
        flush = FolderFlush(tmp_path)
        for number in range(1, 6):
            await flush.flush()
            assert len(flushed) == number
        flush.close()

    run(scene())


def test_who_comes_during_a_flush_shares_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, flushed = Event(), Event(), list[int]()

    def held_up(fd: int) -> None:
        flushed.append(fd)
        begun.set()
        assert go_on.wait(10)

    monkeypatch.setattr(folder_flush, "flush_filesystem", held_up)

    async def scene() -> None:
        flush = FolderFlush(tmp_path)
        first = asyncio.create_task(flush.flush())
        await asyncio.to_thread(begun.wait, 10)
        others = [asyncio.create_task(flush.flush()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in (first, *others))
        go_on.set()
        await asyncio.gather(first, *others)
        flush.close()

    run(scene())

    assert len(flushed) == 2
