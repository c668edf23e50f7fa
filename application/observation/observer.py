"""The observer of the log: what each event, after those before it, tells."""

from collections import OrderedDict
from typing import TypeVar

from application.observation.causes import observe_causes
from application.observation.observed import NOTHING, Observed
from application.observation.runs import AGENT_TURN_EVENTS, RUN_EVENTS, RunObserver
from application.observation.sessions import SESSION_EVENTS, SessionObserver
from domain.event import event_types
from domain.record import RecordedEvent
from domain.run.events import MessageDelta, ReasoningDelta, TodosReplaced, TodoUpdated, ToolEnded, ToolStarted
from domain.session.events import SyncProgressed

Kept = TypeVar("Kept")
MOST_STREAMS = 5000
"""Runs, and sessions, whose folds are kept in memory. Others are folded anew."""
UNTRACED: frozenset[str] = frozenset(
    each.wire_name
    for each in (MessageDelta, ReasoningDelta, ToolStarted, ToolEnded, TodoUpdated, TodosReplaced, SyncProgressed)
)
"""What comes by the thousand, and leads to nothing, has no spans of its own: the agent's turns and tools have."""


class LogObserver:
    """`traces`: whether spans are wanted, too."""

    def __init__(self, *, traces: bool) -> None:
        self._traces = traces
        self._runs: OrderedDict[str, RunObserver] = OrderedDict()
        self._sessions: OrderedDict[str, SessionObserver] = OrderedDict()

    @property
    def wanted(self) -> frozenset[str]:
        """The wire names of the events that it must see."""
        counted = RUN_EVENTS | SESSION_EVENTS
        return (counted | AGENT_TURN_EVENTS | (frozenset(event_types()) - UNTRACED)) if self._traces else counted

    def knows(self, recorded: RecordedEvent) -> bool:
        """Whether it has seen the events of the stream before this one. If not, it must see them first."""
        kind, _, name = recorded.stream.partition(":")
        if recorded.seq == 1 or kind not in {"run", "session"}:
            return True
        return name in (self._runs if kind == "run" else self._sessions)

    def see(self, recorded: RecordedEvent) -> Observed:
        kind, _, name = recorded.stream.partition(":")
        found = observe_causes(recorded) if self._traces and recorded.event.wire_name not in UNTRACED else NOTHING
        if kind == "run":
            run = self._runs.get(name) or RunObserver(name)
            found += run.see(recorded)
            _keep(self._runs, name, run)
            if run.over:
                del self._runs[name]
        elif kind == "session":
            session = self._sessions.get(name) or SessionObserver(name)
            found += session.see(recorded)
            _keep(self._sessions, name, session)
        return found


def _keep(kept: OrderedDict[str, Kept], name: str, value: Kept) -> None:
    kept[name] = value
    kept.move_to_end(name)
    while len(kept) > MOST_STREAMS:
        kept.popitem(last=False)
