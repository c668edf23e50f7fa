"""Work on one key, done in the order in which it comes, all that waits at one time together.

Callers who write to one stream at once would lose races to each other: of every batch of them one wins. Here they share
its commit instead.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from domain.errors import Conflict, DomainError

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_BATCH_ITEMS = 500
MAX_BATCH_BYTES = 256 * 1024
"""It is encoded at a stretch, and commits of others wait for its own."""
MAX_WAITING_ITEMS = 10_000
MAX_WAITING_BYTES = 32 * 1024 * 1024
MAX_WAIT_S = 20.0
"""How long a request waits for room among those that wait for the same key."""
MAX_TURNS = 500
"""Requests that wait so at most: each is in memory."""
_FAULTS_OF_AN_ITEM = (ValueError, TypeError, OverflowError, RecursionError)


class OrderedBatches(Generic[Item, Result]):
    """`work` does a batch of one key and gives the result of each item, or the error that refuses it; `size_of` is an
    item's bytes. Keys don't wait for each other."""

    def __init__(
        self,
        work: Callable[[str, Sequence[Item]], Awaitable[Sequence[Result | DomainError]]],
        *,
        size_of: Callable[[Item], int],
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        self._work, self._size_of, self._max_wait_s = work, size_of, max_wait_s
        self._by_key: dict[str, _Waiting[Item, Result]] = {}

    async def handle(self, key: str, items: Sequence[Item]) -> Sequence[Result]:
        """The results of the items, once all are done. Raises what refused the first of them that was refused, what
        `work` raised, and Conflict `too_busy` when too many others wait, at once or after a while. If the caller is
        cancelled, what has not begun is not done."""
        if not items:
            return []
        request: _Request[Item, Result] = _Request(items, sum(map(self._size_of, items)))
        waiting = self._by_key.get(key)
        if waiting is None:
            waiting = self._by_key[key] = _Waiting()
        if waiting.worker is None:
            waiting.worker = asyncio.create_task(self._work_off(key, waiting), name=f"batches of {key}")
        try:
            async with asyncio.timeout(self._max_wait_s):
                await waiting.room_for(request)
        except TimeoutError:
            raise Conflict(f"{key} is too busy: too many wait before these; try again", "too_busy") from None
        else:
            return await request.outcome
        finally:
            request.outcome.cancel()

    async def _work_off(self, key: str, waiting: "_Waiting[Item, Result]") -> None:
        try:
            while batch := await waiting.next_batch(self._size_of):
                await self._do(key, batch)
        finally:
            del self._by_key[key]
            waiting.abandon()

    async def _do(self, key: str, batch: Sequence["_Part[Item, Result]"]) -> None:
        try:
            results = await self._work(key, [item for part in batch for item in part.items])
        except Exception as error:  # noqa: BLE001  # told to whoever waits for it
            if len(batch) > 1 and isinstance(error, _FAULTS_OF_AN_ITEM):
                for part in batch:
                    await self._do(key, [part])
            else:
                for part in batch:
                    part.request.fail(error)
            return
        rest = iter(results)
        for part in batch:
            part.request.done([next(rest) for _ in part.items])


class _Request(Generic[Item, Result]):
    """The items of one caller, and their results so far."""

    def __init__(self, items: Sequence[Item], size: int) -> None:
        self.items, self.size = items, size
        self.begun = 0
        self.outcome: asyncio.Future[Sequence[Result]] = asyncio.get_running_loop().create_future()
        self._results: list[Result] = []

    def done(self, results: Sequence[Result | DomainError]) -> None:
        for result in results:
            if isinstance(result, DomainError):
                self.fail(result)
                return
            self._results.append(result)
        if len(self._results) == len(self.items) and not self.outcome.done():
            self.outcome.set_result(self._results)

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


class _Part(Generic[Item, Result]):
    """The items of one request that are in one batch."""

    def __init__(self, request: _Request[Item, Result], items: Sequence[Item]) -> None:
        self.request, self.items = request, items


class _Waiting(Generic[Item, Result]):
    """What waits for one key."""

    def __init__(self) -> None:
        self.worker: asyncio.Task[None] | None = None
        self._waiting: deque[_Request[Item, Result]] = deque()
        self._items = self._bytes = 0
        self._turns: deque[tuple[_Request[Item, Result], asyncio.Future[None]]] = deque()

    async def room_for(self, request: _Request[Item, Result]) -> None:
        """Queue the request, in its turn, as soon as there is room. Raises TimeoutError if too many wait for that."""
        if len(self._turns) >= MAX_TURNS:
            raise TimeoutError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append((request, turn))
        self._admit()
        await turn

    async def next_batch(self, size_of: Callable[[Item], int]) -> list[_Part[Item, Result]]:
        """The oldest items, as many as a batch may have; empty when none wait."""
        await asyncio.sleep(0)  # whoever becomes ready now shares this batch
        parts: list[_Part[Item, Result]] = []
        while self._waiting and not parts:
            parts = self._taken(size_of)
            self._admit()
        return parts

    def _taken(self, size_of: Callable[[Item], int]) -> list[_Part[Item, Result]]:
        parts: list[_Part[Item, Result]] = []
        items, size = 0, 0
        while self._waiting and items < MAX_BATCH_ITEMS and size < MAX_BATCH_BYTES:
            request = self._waiting[0]
            taken: list[Item] = []
            if not request.outcome.done():
                for item in request.items[request.begun :]:
                    if items == MAX_BATCH_ITEMS or size >= MAX_BATCH_BYTES:
                        break
                    taken.append(item)
                    items, size = items + 1, size + size_of(item)
                request.begun += len(taken)
                parts.append(_Part(request, taken))
            if request.outcome.done() or request.begun == len(request.items):
                self._waiting.popleft()
                self._items -= len(request.items)
                self._bytes -= request.size
        return parts

    def abandon(self) -> None:
        """The worker has ended: nobody may wait for it any more."""
        while self._waiting:
            self._waiting.popleft().fail(Conflict("the server ends; try again", "too_busy"))
            self._items = self._bytes = 0
            self._admit()

    def _admit(self) -> None:
        while self._turns:
            request, turn = self._turns[0]
            if not turn.cancelled():
                full = (
                    self._items + len(request.items) > MAX_WAITING_ITEMS
                    or self._bytes + request.size > MAX_WAITING_BYTES
                )
                if full and self._waiting:
                    return
                self._waiting.append(request)
                self._items += len(request.items)
                self._bytes += request.size
                turn.set_result(None)
            self._turns.popleft()
