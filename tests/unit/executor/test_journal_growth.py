"""A run's journal that grows while somebody begins to follow it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from domain.run.events import MessageDelta, RunAgentFinished
from infrastructure.executor.journal.run_journal import RunJournal
from tests.support.async_run import run


def test_an_entry_that_is_written_while_the_file_is_looked_at_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, grown = threading.Event(), threading.Event()
    stat = Path.stat

    def slow_stat(path: Path, **options: Any) -> Any:
        found = stat(path, **options)
        if path.name == "journal.ndjson":
            looked.set()
            assert grown.wait(10)
        return found

    async def scenario() -> list[bytes]:
        with ThreadPoolExecutor(2) as pool:
            journal = RunJournal(tmp_path / "1", attempt=1, boot_id="boot", pool=pool)
            await journal.durable(journal.append(MessageDelta(text="one")))
            monkeypatch.setattr(Path, "stat", slow_stat)
            following = asyncio.create_task(journal.follow(0))
            assert await asyncio.to_thread(looked.wait, 10)
            journal.append(MessageDelta(text="two"))
            await journal.durable(journal.append(RunAgentFinished(outcome="succeeded")))
            grown.set()
            return b"".join([chunk async for chunk in await following]).splitlines()

    assert len(run(scenario())) == 3
