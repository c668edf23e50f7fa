"""Why an event came to be and what it led to: the shape of the answer, and the port that finds it."""

from datetime import datetime
from typing import Literal, Protocol

import msgspec

from application.ports.effect_records import EffectTry

NodeKind = Literal["command", "event", "events", "effect", "lease"]


class WhyNode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`kind`: the caller's `command` (id, actor) at the root; an `event`; `events`, `count` of the same type
    in a row, from `position` to `last_position`; an `effect` with its `attempts`; the `lease` under which a worker
    executed a run. `asked`: the event that was asked about. `more`: children that are not shown."""

    kind: NodeKind
    id: str
    type: str = ""
    actor: str = ""
    stream: str = ""
    seq: int = 0
    position: int = 0
    last_position: int = 0
    count: int = 1
    at: datetime | None = None
    trace_id: str = ""
    state: str = ""
    attempts: tuple[EffectTry, ...] = ()
    asked: bool = False
    more: int = 0
    children: "tuple[WhyNode, ...]" = ()


class Why(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`tree` leads from the command down to the event, and from there to everything that it led to. What came after
    `as_of_position` is not in it."""

    position: int
    tree: WhyNode
    as_of_position: int


class Causality(Protocol):
    async def why(self, position: int) -> Why | None:
        """None when there is no event at this position."""
        ...
