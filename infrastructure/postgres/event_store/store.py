"""The log on Postgres, with group commit.

Appends that arrive while a commit is under way share the next one: one transaction, one lock, one round trip, one
NOTIFY. errors.py has what it raises.
"""

from collections.abc import Sequence
from typing import Any, Self

from application.ports.event_store import Append, AppendResult, ExpectedSeqConflict, StreamPage
from application.turns import Turn
from domain.identifiers import DEFAULT_TENANT
from domain.record import NewEvent, RecordedEvent
from infrastructure.postgres.connections import Pool, open_untried_pool
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.append_request import append_request, encode_new_event
from infrastructure.postgres.event_store.errors import AppendRefused
from infrastructure.postgres.event_store.group_commit import GroupCommit
from infrastructure.postgres.event_store.reading import PAGE_BYTES, StoredRow, recorded_event, stored_row_factory
from infrastructure.postgres.retrying import rows_of

_NO_BOUND = 2**63 - 1


class GroupCommitEventStore:
    """The EventStore port on Postgres. Use `open`, or as an async context manager; one per process and event loop."""

    def __init__(
        self, dsn: str, *, tenant: str = DEFAULT_TENANT, readers: int = 4, continuity: LogContinuity | None = None
    ) -> None:
        """`readers`: how many connections there are for reading; one more appends. `continuity`: of the process's
        log."""
        self._dsn, self._tenant, self._readers = dsn, tenant, readers
        self._commits = GroupCommit(dsn, tenant=tenant, continuity=continuity)
        self._pool: Pool | None = None

    @classmethod
    async def open(cls, dsn: str, *, tenant: str = DEFAULT_TENANT, readers: int = 4) -> Self:
        """An open store; close it with `close()`."""
        store = cls(dsn, tenant=tenant, readers=readers)
        return await store.__aenter__()

    async def __aenter__(self) -> Self:
        self._pool = await open_untried_pool(self._dsn, size=self._readers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Commit what is queued, refuse what comes after, and close the connections."""
        await self._commits.close()
        if self._pool is not None:
            await self._pool.close()

    @property
    def append_failure(self) -> str:
        """Why the last append failed, if that was a moment ago; empty while appends are written."""
        return self._commits.failure

    async def append(self, stream: str, expected_seq: int, events: Sequence[NewEvent]) -> AppendResult:
        """As the port says. Raises AppendRefused for events that the log can never take, EventStoreUnavailable when the
        database stays away, EventStoreClosed. After EventStoreUnavailable, or when the caller is cancelled, the events
        may have been written: appending them again with the same event ids is safe, and the result shows it.
        """
        if expected_seq < 0:
            raise AppendRefused(f"the expected seq of {stream} is {expected_seq}; 0 stands for a new stream")
        return await self._commits.append(append_request(stream, expected_seq, list(map(encode_new_event, events))))

    async def append_sequence(self, appends: Sequence[Append]) -> Sequence[AppendResult | ExpectedSeqConflict]:
        """As the port says. Raises as `append` does."""
        requests = [
            append_request(one.stream, one.expected_seq, list(map(encode_new_event, one.events))) for one in appends
        ]
        return await self._commits.append_sequence(requests)

    async def read_stream(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int | None = None
    ) -> list[RecordedEvent]:
        rows = await self.read_stream_raw(stream, after_seq=after_seq, up_to_seq=up_to_seq, limit=limit)
        return [recorded_event(row, self._tenant) for row in rows]

    async def read_page(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int
    ) -> StreamPage:
        up_to = _NO_BOUND if up_to_seq is None else up_to_seq
        rows, more = await self._page("read_stream", limit, stream=stream, after=after_seq, up_to=up_to)
        events: list[RecordedEvent] = []
        turn = Turn()
        for row in rows:
            events.append(recorded_event(row, self._tenant))
            if turn.over:
                await turn.next()
        return StreamPage(events=events, more=more)

    async def read_all(self, *, after: int = 0, limit: int = 500, types: Sequence[str] = ()) -> list[RecordedEvent]:
        rows = await self.read_all_raw(after=after, limit=limit, types=types)
        return [recorded_event(row, self._tenant) for row in rows]

    async def read_stream_raw(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int | None = None
    ) -> list[StoredRow]:
        """The stored bytes of a stream's events, undecoded, in order."""
        up_to = _NO_BOUND if up_to_seq is None else up_to_seq
        return await self._rows("read_stream", stream=stream, after=after_seq, up_to=up_to, limit=limit)

    async def read_all_raw(self, *, after: int = 0, limit: int = 500, types: Sequence[str] = ()) -> list[StoredRow]:
        """The stored bytes of events with a position greater than `after`, in order; of some types only, if given."""
        if types:
            return await self._rows("read_all_of_types", after=after, up_to=_NO_BOUND, limit=limit, types=list(types))
        return await self._rows("read_all", after=after, up_to=_NO_BOUND, limit=limit)

    async def read_all_page(self, *, after: int, limit: int, types: Sequence[str]) -> tuple[list[StoredRow], bool]:
        """As `read_all_raw`, with about PAGE_BYTES of payload at most; and whether there may be more."""
        return await self._page("read_all_of_types", limit, after=after, up_to=_NO_BOUND, types=list(types))

    async def last_position(self) -> int:
        rows = await rows_of(self._connections(), "last_position", {}, binary=True)
        return int(rows[0][0])

    async def last_seq(self, stream: str) -> int:
        arguments = {"tenant": self._tenant, "stream": stream}
        rows = await rows_of(self._connections(), "last_seq", arguments, binary=True)
        return int(rows[0][0])

    async def find_positions(self, stream: str, event_ids: Sequence[str]) -> dict[str, int]:
        arguments = {"tenant": self._tenant, "stream": stream, "event_ids": list(event_ids)}
        return dict(await rows_of(self._connections(), "find_positions", arguments))

    async def find_event(self, stream: str, event_id: str) -> RecordedEvent | None:
        rows = await self._rows("find_event", stream=stream, event_id=event_id)
        return recorded_event(rows[0], self._tenant) if rows else None

    async def _page(self, query: str, limit: int, **arguments: Any) -> tuple[list[StoredRow], bool]:
        """The rows of a query that takes a `limit`, up to PAGE_BYTES of payload; and whether there may be more."""
        bounds = {"tenant": self._tenant, "limit": limit, "max_bytes": PAGE_BYTES}
        rows: list[StoredRow] = await rows_of(
            self._connections(), query, {**bounds, **arguments}, stored_row_factory, binary=True, paged=True
        )
        return rows, len(rows) >= limit or sum(len(row.payload) for row in rows) >= PAGE_BYTES

    async def _rows(self, query: str, **arguments: Any) -> list[StoredRow]:
        return await rows_of(
            self._connections(), query, {"tenant": self._tenant, **arguments}, stored_row_factory, binary=True
        )

    def _connections(self) -> Pool:
        if self._pool is None:
            raise RuntimeError("the event store is not open")
        return self._pool
