"""The LogAudit port on Postgres: verification in a process of its own, checkpoints, read models against a rebuild."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from psycopg import sql as composing

import sql
from application.ports.log_audit import (
    AuditBusy,
    BrokenLog,
    Checkpoint,
    CheckpointFinding,
    CheckpointStatement,
    Progress,
    ProjectionFinding,
    Verification,
)
from domain.errors import InvalidInput
from infrastructure.audit.export import exported
from infrastructure.audit.signing import CheckpointKey, signed_by
from infrastructure.audit.walker import WalkOrder, WalkReport
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.projector.row_tables import RowTables, table, template
from infrastructure.postgres.read_models.past_versions import CannotBeBuilt, PastVersions
from projections.catalogue import PROJECTIONS
from projections.projection import Projection

FORMAT = "fleetlog-checkpoint/1"
WALK_TIMEOUT_S = 3600.0
END_TIMEOUT_S = 10.0
REBUILD_WAIT_S = 600.0
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_ROOT = Path(sql.__file__).resolve().parent.parent


class WalkFailed(Exception):
    """The process that walks the log ended without a report; the message holds its error output."""


class PostgresLogAudit:
    """`secret` makes the key of checkpoints, `installation` is named in them. `pool` is for reads."""

    def __init__(
        self,
        dsn: str,
        pool: Pool,
        past: PastVersions,
        *,
        secret: bytes,
        installation: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._dsn, self._pool, self._past = dsn, pool, past
        self._key, self._installation, self._clock = CheckpointKey(secret), installation, clock
        self._busy = asyncio.Lock()

    async def verify(
        self, *, checkpoint: Checkpoint | None = None, read_models: bool = True, progress: Progress | None = None
    ) -> Verification:
        statement = None if checkpoint is None else _statement(checkpoint)
        async with self._alone():
            report = await self._walk(() if statement is None else (statement.position,), progress)
            finding = None
            if checkpoint is not None and statement is not None:
                finding = self._compared(checkpoint, statement, report)
            projections = [await self._against_rebuild(each) for each in PROJECTIONS] if read_models else []
        broken = report.broken
        return Verification(
            ok=broken is None and (finding is None or finding.ok) and all(each.equal for each in projections),
            position=report.position,
            as_of_position=report.end,
            streams=report.streams,
            root="" if broken else report.roots[-1],
            broken=broken,
            checkpoint=finding,
            projections=tuple(projections),
        )

    async def checkpoint(self, *, progress: Progress | None = None) -> Checkpoint:
        async with self._alone():
            report = await self._walk((), progress)
        if report.broken is not None:
            raise BrokenLog(f"the log is broken at position {report.broken.position}: {report.broken.detail}")
        statement = CheckpointStatement(
            format=FORMAT,
            installation=self._installation,
            position=report.position,
            events=report.position,
            streams=report.streams,
            root=report.roots[-1],
            recorded_at=None if report.recorded_at is None else _EPOCH + timedelta(microseconds=report.recorded_at),
            created_at=self._clock(),
        )
        text = msgspec.json.encode(statement).decode()
        return Checkpoint(statement=text, signature=self._key.sign(text), public_key=self._key.public_key)

    async def export(
        self, *, after: int = 0, up_to: int | None = None, progress: Progress | None = None
    ) -> AsyncIterator[bytes]:
        async with self._pool.connection() as connection:
            row = await (await connection.execute(sql.query("last_position"))).fetchone()
        end = int(row[0]) if row else 0
        end = end if up_to is None else min(up_to, end)
        async for lines in exported(self._pool, after=after, up_to=end):
            yield lines
            after += lines.count(b"\n")
            if progress is not None:
                progress(after, end)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        if self._busy.locked():
            raise AuditBusy("an audit of this log is under way; ask again when it is over")
        async with self._busy:
            yield

    async def _walk(self, marks: Sequence[int], progress: Progress | None) -> WalkReport:
        order = msgspec.json.encode(WalkOrder(dsn=self._dsn, marks=tuple(marks)))
        walker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "infrastructure.audit.walker",
            cwd=_ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(WALK_TIMEOUT_S):
                return await _reports(walker, order, progress)
        finally:
            if walker.returncode is None:
                walker.kill()
            await asyncio.wait_for(walker.wait(), END_TIMEOUT_S)

    def _compared(
        self, checkpoint: Checkpoint, statement: CheckpointStatement, report: WalkReport
    ) -> CheckpointFinding:
        own = checkpoint.public_key.strip() == self._key.public_key.strip()
        roots = dict(zip(report.marks, report.roots, strict=True))
        position = statement.position
        if not signed_by(checkpoint.public_key, checkpoint.statement, checkpoint.signature):
            detail = "its signature is not of its key"
        elif not own:
            detail = "another key than this installation's signed it"
        elif statement.installation != self._installation:
            detail = f"it is of another installation, {statement.installation!r}"
        elif report.broken is not None and report.broken.position <= position:
            detail = f"the chain is broken before its position {position}"
        elif report.end < position:
            detail = f"it attests {position} events and the log ends at {report.end}: {report.end + 1} is missing"
        elif position and roots.get(position) != statement.root:
            detail = f"the first {position} events are not those that it attests: their streams end otherwise"
        else:
            detail = f"the first {position} events are those that it attests"
            return CheckpointFinding(ok=True, position=position, detail=detail)
        return CheckpointFinding(ok=False, position=position, detail=detail)

    async def _against_rebuild(self, projection: Projection[Any]) -> ProjectionFinding:
        content = await self._content(projection, "past/active_content", None)
        if content is None:
            return _finding(projection, (0, 0, 0, ""), (0, ""), "no projector has made it yet")
        position, fold_version = content[:2]
        if fold_version != projection.version:
            return _finding(projection, content, (0, ""), f"fold {fold_version} made it, this code has another one")
        try:
            version = await self._past.version(projection, position, wait_s=REBUILD_WAIT_S)
        except CannotBeBuilt as error:
            return _finding(projection, content, (0, ""), str(error))
        rebuilt = await self._content(projection, "projections/content_hash", version)
        assert rebuilt is not None
        detail = "" if rebuilt == content[2:] else "the rows are not what the log makes of them; rebuild it"
        return _finding(projection, content, rebuilt, detail)

    async def _content(self, projection: Projection[Any], query: str, version: int | None) -> tuple[Any, ...] | None:
        schema = "read_models" if version is None else "past"
        async with self._pool.connection() as connection:
            names = (await RowTables.read(connection)).columns[projection.name][1:]
            columns = composing.SQL(", ").join(composing.Identifier(name) for name in names)
            statement = template(query, table=table(projection.name, schema), columns=columns)  # type: ignore[arg-type]
            cursor = await connection.execute(statement, {"projection": projection.name, "version": version})
            return await cursor.fetchone()


async def _reports(walker: asyncio.subprocess.Process, order: bytes, progress: Progress | None) -> WalkReport:
    assert walker.stdin is not None
    assert walker.stdout is not None
    assert walker.stderr is not None
    walker.stdin.write(order)
    walker.stdin.write_eof()
    async for line in walker.stdout:
        report = msgspec.json.decode(line, type=WalkReport)
        if progress is not None:
            progress(report.position, report.end)
        if report.done:
            return report
    error_output = (await walker.stderr.read()).decode("utf-8", "replace")
    raise WalkFailed(f"the walk along the log ended early: {error_output[-2000:].strip()}")


def _statement(checkpoint: Checkpoint) -> CheckpointStatement:
    try:
        statement = msgspec.json.decode(checkpoint.statement, type=CheckpointStatement)
    except msgspec.MsgspecError as error:
        raise InvalidInput("checkpoint.statement", f"is no checkpoint's statement: {error}") from error
    if statement.format != FORMAT or not 0 <= statement.position < 2**62:
        raise InvalidInput("checkpoint.statement", f"is not of the format {FORMAT}")
    return statement


def _finding(
    projection: Projection[Any], content: tuple[Any, ...], rebuilt: tuple[Any, ...], detail: str
) -> ProjectionFinding:
    return ProjectionFinding(
        projection=projection.name,
        equal=not detail,
        position=content[0],
        rows=content[2],
        content_hash=content[3],
        rebuilt_rows=rebuilt[0],
        rebuilt_hash=rebuilt[1],
        detail=detail,
    )
