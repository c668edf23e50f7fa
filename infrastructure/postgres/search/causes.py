"""A node of a tree of causes, with what leads up from it and what leads down. Pure."""

import msgspec

from application.ports.causality import WhyNode
from domain.run.events import RunQueued, RunRetryScheduled


def queued_types() -> list[str]:
    """The events after which a run waits for a lease."""
    return [RunQueued.wire_name, RunRetryScheduled.wire_name]


class CauseNode(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`caused_by`: the causation id of an event; `wanted_by`: the position of the event that wanted an effect. `names`:
    the causation ids that lead to it. `position`: of a lease, that of its first event."""

    node: WhyNode
    caused_by: str = ""
    wanted_by: int = 0
    names: tuple[str, ...] = ()
    position: int = 0

    @property
    def run_id(self) -> str:
        """Of a lease."""
        return self.node.id.split("/")[1]

    def lease(self) -> "CauseNode | None":
        """The lease that an event was recorded under."""
        kind, _, rest = self.caused_by.partition("/")
        if kind != "lease" or rest.count("/") != 1:
            return None
        node = WhyNode(kind="lease", id=self.caused_by, type="lease", actor=self.node.actor, at=self.node.at)
        return CauseNode(node=node, names=(self.caused_by,), position=self.position)

    def command(self) -> "CauseNode":
        """The request from outside that an event, for lack of any other cause, came from."""
        node = WhyNode(
            kind="command",
            id=self.caused_by or self.node.id,
            actor=self.node.actor,
            at=self.node.at,
            trace_id=self.node.trace_id,
        )
        return CauseNode(node=node, position=self.position)

    def is_of_command(self, command_id: str) -> bool:
        """Whether this is the first event of the command itself: it has its id."""
        return self.node.id == command_id

    def is_beside(self, other: "CauseNode") -> bool:
        """Whether both are events of one and the same command: ids `{command}` and `{command}/{n}` in one stream."""
        if self.node.kind != "event" or other.node.kind != "event" or self.node.stream != other.node.stream:
            return False
        first, further = sorted((self.node.id, other.node.id), key=len)
        return first == further or (further.startswith(f"{first}/") and further[len(first) + 1 :].isdigit())
