"""The Causality port on Postgres: causes one after the other up to the command, consequences level by level.

A causation id names the event, the effect, the lease or the request right before an event; an event by its id or, where
a process manager has sent a command, as `{stream}/{seq}`. Effects are in the ledger; the event that wanted one is its
`caused_by`. A lease, `lease/{run}/{generation}`, follows from the event that put the
run into the queue.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from psycopg import AsyncConnection

import sql
from application.ports.causality import Why, WhyNode
from application.ports.effect_records import EffectTry
from domain.identifiers import DEFAULT_TENANT, run_stream
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store.reading import decode_metadata
from infrastructure.postgres.search.causes import CauseNode, queued_types

MAX_CAUSES = 100
MAX_LEVELS = 50
MAX_NODES = 1000
MAX_CHILDREN = 300
LONGEST_SEQ = 18
_decode_tries = msgspec.json.Decoder(tuple[EffectTry, ...]).decode


class PostgresCausality:
    def __init__(self, pool: Pool, *, tenant: str = DEFAULT_TENANT) -> None:
        self._pool, self._tenant = pool, tenant

    async def why(self, position: int) -> Why | None:
        async with self._pool.connection() as connection:
            reader = _Reader(connection, self._tenant)
            indexed = await reader.rows("checkpoint")
            asked = await reader.event("event_at", position=position)
            if asked is None:
                return None
            above = await _causes(reader, asked)
            tree = await _with_consequences(reader, asked)
        for cause in above:
            tree = replace(cause.node, children=(tree,))
        return Why(position=position, tree=tree, as_of_position=indexed[0][0])


class _Reader:
    def __init__(self, connection: AsyncConnection[Any], tenant: str) -> None:
        self._connection, self._tenant = connection, tenant

    async def rows(self, query: str, **arguments: Any) -> list[tuple[Any, ...]]:
        statement = sql.query(f"search/{query}")
        return await (await self._connection.execute(statement, {"tenant": self._tenant, **arguments})).fetchall()

    async def event(self, query: str, **arguments: Any) -> CauseNode | None:
        rows = await self.rows(query, **arguments)
        return event_node(rows[0]) if rows else None

    async def named_event(self, cause: str, *, before: int) -> CauseNode | None:
        """The event that a causation id names."""
        stream, _, seq = cause.rpartition("/")
        if ":" in stream and "/" not in stream and seq.isdecimal() and len(seq) <= LONGEST_SEQ:
            event = await self.event("event_in_stream", stream=stream, seq=int(seq))
            if event is not None and event.position < before:
                return event
        return await self.event("event_of_id", event_id=cause, before=before)

    async def effects(self, positions: Sequence[int], effect_id: str = "") -> list[CauseNode]:
        rows = await self.rows("effects_of", positions=list(positions), effect_id=effect_id, limit=MAX_NODES)
        return [effect_node(row) for row in rows]


def event_node(row: tuple[Any, ...]) -> CauseNode:
    position, stream, seq, wire_name, event_id, at, metadata = row
    known = decode_metadata(metadata)
    node = WhyNode(
        kind="event",
        id=event_id,
        type=wire_name,
        actor=known.actor,
        stream=stream,
        seq=seq,
        position=position,
        last_position=position,
        at=at,
        trace_id=known.trace_id,
    )
    return CauseNode(node=node, caused_by=known.causation_id, names=(event_id, f"{stream}/{seq}"), position=position)


def effect_node(row: tuple[Any, ...]) -> CauseNode:
    effect_id, kind, state, caused_by, at, _, tries = row
    node = WhyNode(kind="effect", id=effect_id, type=kind, at=at, state=state, attempts=_decode_tries(tries))
    return CauseNode(node=node, wanted_by=caused_by, names=(effect_id,))


async def _causes(reader: _Reader, asked: CauseNode) -> list[CauseNode]:
    """From the nearest to the command."""
    found: list[CauseNode] = []
    present = asked
    while len(found) < MAX_CAUSES:
        cause = await _cause_of(reader, present)
        found.append(cause)
        if cause.node.kind == "command":
            break
        present = cause
    return found


async def _cause_of(reader: _Reader, present: CauseNode) -> CauseNode:
    if present.wanted_by:
        wanting = await reader.event("event_at", position=present.wanted_by)
        return wanting or present.command()
    cause = present.caused_by
    if present.node.kind == "lease":
        queued = await reader.event(
            "queued_before", stream=run_stream(present.run_id), before=present.position, types=queued_types()
        )
        return queued or present.command()
    effects = await reader.effects([], cause) if cause else []
    if effects:
        return effects[0]
    lease = present.lease()
    if lease is not None:
        return lease
    if not cause or present.is_of_command(cause):
        return present.command()
    earlier = await reader.named_event(cause, before=present.position)
    if earlier is None or earlier.is_beside(present):
        return present.command()
    return earlier


async def _with_consequences(reader: _Reader, asked: CauseNode) -> WhyNode:
    children: dict[int, list[CauseNode]] = defaultdict(list)
    more: dict[int, int] = defaultdict(int)
    level, nodes, seen = [asked], 1, {asked.position}
    for _ in range(MAX_LEVELS):
        if not level or nodes >= MAX_NODES:
            break
        below = await _consequences(reader, level, seen, more)
        level = []
        for parent, found in below:
            if nodes >= MAX_NODES:
                more[id(parent)] += 1
                continue
            children[id(parent)].append(found)
            level.append(found)
            nodes += 1
    return replace(_assembled(asked, children, more), asked=True)


async def _consequences(
    reader: _Reader, level: list[CauseNode], seen: set[int], more: dict[int, int]
) -> list[tuple[CauseNode, CauseNode]]:
    """Pairs of a node of this level and what it led to directly."""
    by_position = {node.position: node for node in level if node.node.kind == "event"}
    pairs = [(by_position[effect.wanted_by], effect) for effect in await reader.effects(list(by_position))]
    for node in level:
        if node.node.kind == "event" and node.node.type in queued_types():
            run_id = node.node.stream.partition(":")[2]
            rows = await reader.rows(
                "leases_of", prefix=f"lease/{run_id}/", beyond=f"lease/{run_id}0", limit=MAX_CHILDREN
            )
            pairs += [(node, lease) for lease in await _leases(reader, node, rows)]
    names = {name: node for node in level for name in node.names}
    for cause, total, *row in await reader.rows("caused", causes=list(names), limit=MAX_CHILDREN):
        parent, found = names[cause], event_node(tuple(row))
        if found.position in seen or found.is_beside(parent):
            continue
        seen.add(found.position)
        pairs.append((parent, found))
        more[id(parent)] = max(total - MAX_CHILDREN, 0)
    return pairs


async def _leases(reader: _Reader, queued: CauseNode, rows: list[tuple[Any, ...]]) -> list[CauseNode]:
    """Those leases of the run that follow from this very event, not from a later one."""
    found = []
    for cause, first in rows:
        wanting = await reader.event("queued_before", stream=queued.node.stream, before=first, types=queued_types())
        if wanting is not None and wanting.position == queued.position:
            event = await reader.event("event_at", position=first)
            lease = event.lease() if event is not None else None
            if lease is not None and lease.names == (cause,):
                found.append(lease)
    return found


def _assembled(node: CauseNode, children: dict[int, list[CauseNode]], more: dict[int, int]) -> WhyNode:
    below = sorted(children[id(node)], key=lambda child: (child.wanted_by or child.position, child.node.id))
    shown: list[WhyNode] = []
    for child in below:
        assembled = _assembled(child, children, more)
        if shown and _alike(shown[-1], assembled):
            last = shown[-1]
            shown[-1] = replace(last, kind="events", count=last.count + 1, last_position=assembled.position)
        else:
            shown.append(assembled)
    return replace(node.node, children=tuple(shown), more=more[id(node)])


def _alike(last: WhyNode, node: WhyNode) -> bool:
    """Deltas in a row are shown as one."""
    small = node.type.endswith(".delta") and not node.children and not last.children
    return small and (last.type, last.stream) == (node.type, node.stream)
