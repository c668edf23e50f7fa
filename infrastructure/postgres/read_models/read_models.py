"""The ReadModels port, and those that list candidates for housekeeping, on Postgres: rows and position come from one
statement, and so from one snapshot."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.sql import Composed

import sql
from domain.errors import NotFound
from domain.event import decode
from domain.identifiers import DEFAULT_TENANT, run_stream, session_stream
from domain.run.events import MessageDelta, MessageStopped
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store.reading import PAGE_BYTES
from infrastructure.postgres.projector.row_tables import storable, table, template
from infrastructure.postgres.read_models.cursors import (
    FROM_THE_NEWEST,
    checked_limit,
    make_cursor,
    past_page,
    read_cursor,
)
from infrastructure.postgres.read_models.past import end_of_stream, position_of, readable, rows_at
from infrastructure.postgres.read_models.past_versions import PastVersions, past_query
from projections import chats, human_loop, runs, session_workers, sync_history, todos, usage
from projections.ports import (
    AsOf,
    AtPosition,
    AtSeq,
    ChatFilter,
    HumanLoopRequests,
    NotBuiltYet,
    NotProjectedYet,
    Page,
    ReadResult,
    RunFilter,
    SessionWorkerFilter,
    TodoHistory,
    TodoList,
    UsageFilter,
    UsageReport,
)
from projections.projection import Projection
from projections.runs import StreamEnd

Parameters = dict[str, Any]


class PostgresReadModels:
    """For one tenant, on a pool of autocommit connections. `past` makes whole read models of the past; the past
    state of one stream is folded here."""

    def __init__(
        self,
        pool: Pool,
        past: PastVersions,
        *,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        self._pool, self._past_versions, self._tenant = pool, past, tenant

    async def session_worker(
        self, session_id: str, *, at: AsOf | None = None
    ) -> ReadResult[session_workers.SessionWorkerView]:
        if at is not None:
            past = await self._past(session_workers.SESSION_WORKERS, session_stream(session_id), at)
            row = past.rows.get(session_id)
            return ReadResult(value=session_workers.view(row) if row else None, as_of_position=past.position)
        position, row = await self._row(session_workers.SESSION_WORKERS, session_id)
        return ReadResult(value=session_workers.view(row) if row else None, as_of_position=position)

    async def session_workers(
        self,
        matching: SessionWorkerFilter,
        *,
        limit: int = 50,
        cursor: str | None = None,
        at: AsOf | None = None,
    ) -> Page[session_workers.SessionWorkerView]:
        projection = session_workers.SESSION_WORKERS
        decode_row, version = projection.decode, await self._version(projection, at)
        position, found, following = await self._page(
            "session_workers", limit, cursor, msgspec.structs.asdict(matching), version
        )
        items = tuple(session_workers.view(decode_row(body)) for _, body in found)
        return Page(items=items, next_cursor=following, as_of_position=position)

    async def sync_history(
        self, session_id: str, *, limit: int = 50, cursor: str | None = None, at: AsOf | None = None
    ) -> Page[sync_history.SyncRecord]:
        if at is not None:
            past = await self._past(sync_history.SYNC_HISTORY, session_stream(session_id), at)
            if past.end is None:
                raise NotFound(f"no session {session_id!r} was known then")
            return past_page(
                [sync_history.view(row) for row in past.rows.values()],
                limit=limit,
                cursor=cursor,
                as_of_position=past.position,
            )
        decode_row = sync_history.SYNC_HISTORY.decode
        position, found, following = await self._page("sync_history", limit, cursor, {"session_id": session_id})
        items = tuple(sync_history.view(decode_row(body)) for _, body in found)
        return Page(items=items, next_cursor=following, as_of_position=position)

    async def end_of_stream(self, stream: str, *, at: AsOf) -> ReadResult[StreamEnd]:
        async with self._pool.connection() as connection:
            end, position = await self._end_of(connection, stream, at)
        return ReadResult(value=end, as_of_position=position)

    async def run(self, run_id: str, *, at: AsOf | None = None) -> ReadResult[runs.RunSnapshot]:
        stream = run_stream(run_id)
        if at is not None:
            past = await self._past(runs.RUNS, stream, at)
            row, end, position = past.rows.get(run_id), past.end, past.position
        else:
            position, body, *ended = _first(await self._rows("run", {"key": run_id}))
            row = runs.RUNS.decode(body) if body is not None else None
            end = StreamEnd(seq=ended[0], position=ended[1], at=ended[2]) if row else None
        if row is None or end is None:
            return ReadResult(value=None, as_of_position=position)
        chunks = await self._rows(
            "message_chunks",
            {
                "stream": stream,
                "after": row.message.begins_after,
                "up_to": end.seq,
                "limit": runs.MAX_CHUNKS + 1,
                "max_bytes": runs.MAX_CHUNK_BYTES,
            },
        )
        more = sum(len(payload) for *_, payload in chunks) >= runs.MAX_CHUNK_BYTES
        return ReadResult(value=runs.snapshot(row, end, chunks_of(chunks), more=more), as_of_position=position)

    async def runs(
        self, matching: RunFilter, *, limit: int = 50, cursor: str | None = None, at: AsOf | None = None
    ) -> Page[runs.RunSummary]:
        decode_row, version = runs.RUNS.decode, await self._version(runs.RUNS, at)
        position, found, following = await self._page("runs", limit, cursor, msgspec.structs.asdict(matching), version)
        items = tuple(
            runs.summary(decode_row(body), StreamEnd(seq=seq, position=at, at=time)) for _, body, seq, at, time in found
        )
        return Page(items=items, next_cursor=following, as_of_position=position)

    async def chat(self, session_id: str) -> ReadResult[chats.ChatSummary]:
        position, row = await self._row(chats.CHATS, session_id)
        return ReadResult(value=chats.view(row) if row else None, as_of_position=position)

    async def chats(
        self, matching: ChatFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page[chats.ChatSummary]:
        decode_row = chats.CHATS.decode
        position, found, following = await self._page("chats", limit, cursor, msgspec.structs.asdict(matching))
        items = tuple(chats.view(decode_row(body)) for _, body in found)
        return Page(items=items, next_cursor=following, as_of_position=position)

    async def todos(self, run_id: str, *, at: AsOf | None = None) -> ReadResult[TodoList]:
        if at is not None:
            past = await self._past(todos.TODOS, run_stream(run_id), at)
            row, known, position = past.rows.get(run_id), past.end is not None, past.position
        else:
            position, body, known = _first(await self._rows("todos", {"key": run_id}))
            row = todos.TODOS.decode(body) if body is not None else None
        if not known:
            return ReadResult(value=None, as_of_position=position)
        items = todos.view(row)
        left_out = row.left_out if row else 0
        todo_list = TodoList(run_id=run_id, total=len(items), items=items, left_out=left_out)
        return ReadResult(value=todo_list, as_of_position=position)

    async def todo_history(
        self, run_id: str, *, after_seq: int = 0, limit: int = 500, at: AsOf | None = None
    ) -> ReadResult[TodoHistory]:
        stream, up_to = run_stream(run_id), FROM_THE_NEWEST
        if at is not None:
            async with self._pool.connection() as connection:
                end, up_to = await self._end_of(connection, stream, at)
            if end is None:
                return ReadResult(value=None, as_of_position=up_to)
        bounds = {"limit": checked_limit(limit), "max_bytes": PAGE_BYTES}
        found = await self._rows("todo_history", {"stream": stream, "after": after_seq, "up_to": up_to, **bounds})
        if not found:
            return ReadResult(value=None, as_of_position=0)
        position, total = _first(found)[:2]
        events = tuple(todos.change(readable(row[2:])) for row in found if row[2] is not None)
        return ReadResult(value=TodoHistory(run_id=run_id, total=total, events=events), as_of_position=position)

    async def human_loop_requests(
        self,
        *,
        run_id: str | None = None,
        statuses: Sequence[str] | None = None,
        limit: int = 50,
        cursor: str | None = None,
        at: AsOf | None = None,
    ) -> HumanLoopRequests:
        if at is not None and run_id is not None:
            return await self._asked_by_run(run_id, statuses, limit, cursor, at)
        decode_row = human_loop.HUMAN_LOOP.decode
        version = await self._version(human_loop.HUMAN_LOOP, at)
        found = await self._rows(
            "human_loop",
            version=version,
            parameters={
                "run_id": run_id,
                "statuses": None if statuses is None else list(statuses),
                "before": read_cursor(cursor),
                "limit": checked_limit(limit) + 1,
            },
        )
        position, total = _first(found)[:2]
        requests = []
        for _, _, asked_at, body, run_body in found[:limit]:
            if asked_at is not None:
                row, run = decode_row(body), decode_row(run_body) if run_body is not None else None
                requests.append(human_loop.view(row, run))  # type: ignore[arg-type]
        following = make_cursor(found[limit - 1][2]) if len(found) > limit else None
        return HumanLoopRequests(total=total, requests=tuple(requests), next_cursor=following, as_of_position=position)

    async def _asked_by_run(
        self, run_id: str, statuses: Sequence[str] | None, limit: int, cursor: str | None, at: AsOf
    ) -> HumanLoopRequests:
        past = await self._past(human_loop.HUMAN_LOOP, run_stream(run_id), at)
        if past.end is None and isinstance(at, AtSeq):
            raise NotFound(f"no run {run_id!r} is known")
        run = next((row for row in past.rows.values() if isinstance(row, human_loop.AskingRun)), None)
        asked = [row for row in past.rows.values() if isinstance(row, human_loop.HumanLoopRow)]
        chosen = [human_loop.view(row, run) for row in asked if statuses is None or row.status in statuses]
        page = past_page(chosen, limit=limit, cursor=cursor, as_of_position=past.position)
        return HumanLoopRequests(
            total=len(chosen), requests=page.items, next_cursor=page.next_cursor, as_of_position=past.position
        )

    async def usage_of_run(self, run_id: str, *, at: AsOf | None = None) -> ReadResult[usage.RunUsage]:
        if at is not None:
            past = await self._past(usage.USAGE, run_stream(run_id), at)
            then = past.rows.get(run_id)
            return ReadResult(value=usage.view(then) if then else None, as_of_position=past.position)
        position, row = await self._row(usage.USAGE, run_id)
        return ReadResult(value=usage.view(row) if row else None, as_of_position=position)

    async def usage(
        self, matching: UsageFilter, *, group_by: Sequence[usage.Dimension] = (), at: AsOf | None = None
    ) -> UsageReport:
        parameters = {**msgspec.structs.asdict(matching), "group_by": list(group_by)}
        found = await self._rows("usage", parameters, version=await self._version(usage.USAGE, at))
        groups, total = usage.report(group_by, [row[1:] for row in found if row[9] is not None])
        return UsageReport(
            group_by=tuple(group_by),
            groups=groups,
            total=total,
            as_of_position=_first(found)[0],
        )

    async def idle_workers(self, *, idle_before: datetime, limit: int, failing_too: bool) -> list[str]:
        parameters = {"before": idle_before, "limit": limit, "failing_too": failing_too}
        return [key for (key,) in await self._rows("idle_workers", parameters)]

    async def stopped_workers(self, *, stopped_before: datetime, limit: int, failing_too: bool) -> list[str]:
        parameters = {"before": stopped_before, "limit": limit, "failing_too": failing_too}
        return [key for (key,) in await self._rows("stopped_workers", parameters)]

    async def unsynced_workers(self, *, synced_before: datetime, limit: int) -> list[str]:
        return [key for (key,) in await self._rows("unsynced_workers", {"before": synced_before, "limit": limit})]

    async def sessions_to_collect(
        self, *, now: datetime, retention: timedelta, again_after: timedelta, limit: int
    ) -> list[str]:
        parameters = {"now": now, "retention": retention, "again_after": again_after, "limit": limit}
        return [key for (key,) in await self._rows("sessions_to_collect", parameters)]

    async def expired_questions(self, *, now: datetime, limit: int) -> list[tuple[str, str]]:
        found = await self._rows("expired_questions", {"now": now, "limit": limit})
        rows = [human_loop.HUMAN_LOOP.decode(body) for (body,) in found]
        return [(row.run_id, row.question_id) for row in rows if isinstance(row, human_loop.HumanLoopRow)]

    async def overdue_external_runs(
        self, *, bound_before: datetime | None, silent_before: datetime | None, limit: int
    ) -> list[str]:
        never = datetime.min.replace(tzinfo=UTC)
        parameters = {"bound_before": bound_before or never, "silent_before": silent_before or never, "limit": limit}
        return [run_id for (run_id,) in await self._rows("overdue_external_runs", parameters)]

    async def _row(self, projection: Projection[Any], key: str) -> tuple[int, Any]:
        """One row as readers see it, None where there is none, with the position of its read model."""
        query = template("reads/row", table=table(projection.name))
        found = await self._fetch(query, {"projection": projection.name, "key": key})
        position, body = _first(found)
        return position, projection.decode(body) if body is not None else None

    async def _page(
        self, query: str, limit: int, cursor: str | None, parameters: Parameters, version: int | None = None
    ) -> tuple[int, list[tuple[Any, ...]], str | None]:
        """How far the read model had got, the rows of a page from their sort position on, and the next cursor."""
        bounds = {"before": read_cursor(cursor), "limit": checked_limit(limit) + 1}
        found = await self._rows(query, {**parameters, **bounds}, version=version)
        rows = [row[1:] for row in found if row[1] is not None]
        following = make_cursor(rows[limit - 1][0]) if len(rows) > limit else None
        return _first(found)[0], rows[:limit], following

    async def _version(self, projection: Projection[Any], at: AsOf | None) -> int | None:
        """The number of the past read model as of a moment, None for the present one."""
        if at is None:
            return None
        async with self._pool.connection() as connection:
            position = await position_of(connection, at)
        return await self._past_versions.version(projection, position)

    async def _past(self, projection: Projection[Any], stream: str, at: AsOf) -> "_Past":
        async with self._pool.connection() as connection:
            end, position = await self._end_of(connection, stream, at)
            if end is None:
                return _Past(rows={}, end=None, position=position)
            rows = await rows_at(connection, projection, tenant=self._tenant, stream=stream, up_to_seq=end.seq)
        return _Past(rows=rows, end=end, position=position)

    async def _end_of(self, connection: AsyncConnection[Any], stream: str, at: AsOf) -> tuple[StreamEnd | None, int]:
        """The stream's last event at a moment, None when there was none yet; and up to which position that holds."""
        if isinstance(at, AtSeq):
            end = await end_of_stream(connection, tenant=self._tenant, stream=stream, at=at)
            return end, end.position if end else 0
        position = await position_of(connection, at)
        at = AtPosition(position)
        return await end_of_stream(connection, tenant=self._tenant, stream=stream, at=at), position

    async def _rows(self, query: str, parameters: Parameters, *, version: int | None = None) -> list[tuple[Any, ...]]:
        if version is None:
            return await self._fetch(sql.query(f"reads/{query}"), parameters)
        found = await self._fetch(past_query(f"reads/{query}"), {**parameters, "past_version": version})
        if not found:
            raise NotBuiltYet("the state of that moment has just been forgotten; ask again")
        return found

    async def _fetch(self, query: str | Composed, parameters: Parameters) -> list[tuple[Any, ...]]:
        bound = {name: storable(value) for name, value in {"tenant": self._tenant, **parameters}.items()}
        async with self._pool.connection() as connection:
            return await (await connection.execute(query, bound)).fetchall()


def _first(found: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The first row of a read whose read model always answers with one, empty or not."""
    if not found:
        raise NotProjectedYet("no projector has run on this database yet, so there are no read models")
    return found[0]


class _Past(msgspec.Struct, frozen=True, kw_only=True):
    rows: dict[str, Any]
    end: StreamEnd | None
    position: int


def chunks_of(found: Sequence[tuple[Any, ...]]) -> list[runs.TextChunk]:
    """Stdout of deltas, and what message.stop said."""
    chunks = []
    for seq, schema_version, wire_name, payload in found:
        match decode(wire_name, schema_version, payload):
            case MessageDelta(text=text, channel="stdout") | MessageStopped(text=text):
                chunks.append(runs.TextChunk(seq, text))
    return chunks
