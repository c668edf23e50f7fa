"""The end of group commit: what can't be written in time fails by name, and nobody waits for ever."""

import asyncio
from typing import Any

import pytest

from infrastructure.postgres.event_store import group_commit
from infrastructure.postgres.event_store.append_request import append_request, encode_new_event
from infrastructure.postgres.event_store.errors import EventStoreClosed
from tests.support.async_run import run
from tests.support.log_events import new_event
from tests.support.lost_cancellation import LosesOneCancellation, ends_in_time


class CommitsForEver(group_commit.GroupCommit):
    def __init__(self, committing: LosesOneCancellation) -> None:
        super().__init__("", tenant="default")
        self._waits = committing

    async def _commit(self, _batch: Any) -> None:
        await self._waits.wait()


def test_a_commit_that_loses_its_cancellation_does_not_hold_up_the_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "DRAIN_SECONDS", 0.01)

    async def scene() -> int:
        committing = LosesOneCancellation()
        store = CommitsForEver(committing)
        request = append_request("run:1", 0, [encode_new_event(new_event(event_id="1"))])
        appending = asyncio.create_task(store.append_sequence([request]))
        await committing.begun.wait()

        assert await ends_in_time(asyncio.create_task(store.close()))
        with pytest.raises(EventStoreClosed, match="under way"):
            await appending
        return committing.lost

    assert run(scene(), timeout=60) == 1
