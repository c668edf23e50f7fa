"""The walk along the hash chain as a program of its own, so that the server keeps its core.

python -m infrastructure.audit.walker   reads a WalkOrder as JSON from standard input, writes a WalkReport as JSON per
line: `position` grows, the last one has `done`.
"""

import sys

import msgspec
from psycopg import Connection

import sql
from application.ports.log_audit import BrokenEvent
from infrastructure.audit.chain import ChainWalk
from infrastructure.postgres.connections import connect_thread

PAGE_POSITIONS = 10_000


class WalkOrder(msgspec.Struct, frozen=True, kw_only=True):
    """`marks`: positions at which the root is wanted, beside the one at the end."""

    dsn: str
    marks: tuple[int, ...] = ()


class WalkReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`end`: the log's last position as the walk began. `roots` and `marks` belong together, up to where the chain
    holds; `recorded_at`: of the last event, in microseconds since 2000-01-01T00:00:00Z."""

    position: int
    end: int
    streams: int = 0
    done: bool = False
    broken: BrokenEvent | None = None
    marks: tuple[int, ...] = ()
    roots: tuple[str, ...] = ()
    recorded_at: int | None = None


def walk(order: WalkOrder) -> None:
    """Walk to the log's end, reporting on standard output."""
    with connect_thread(order.dsn) as connection:
        row = connection.execute(sql.query("last_position")).fetchone()
        end = int(row[0]) if row else 0
        chain = ChainWalk()
        marks, roots = sorted({mark for mark in order.marks if 0 < mark < end} | {end}), []
        for mark in marks:
            while chain.position < mark and chain.broken is None:
                up_to = min(chain.position + PAGE_POSITIONS, mark)
                chain.page(_page(connection, chain.position, up_to), up_to)
                _write_report(WalkReport(position=chain.position, end=end))
            if chain.broken is None:
                roots.append(chain.root())
    _write_report(
        WalkReport(
            position=chain.position,
            end=end,
            streams=chain.streams,
            done=True,
            broken=chain.broken,
            marks=tuple(marks[: len(roots)]),
            roots=tuple(roots),
            recorded_at=chain.recorded_at if chain.position else None,
        )
    )


def _page(connection: Connection, after: int, up_to: int) -> bytes:
    query = sql.query("audit/chain_page").format(after=int(after), up_to=int(up_to))
    with connection.cursor().copy(query.encode()) as copy:
        return b"".join(copy)


def _write_report(report: WalkReport) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    walk(msgspec.json.decode(sys.stdin.buffer.read(), type=WalkOrder))
