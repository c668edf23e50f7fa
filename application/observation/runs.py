"""What the events of runs tell: their phases, leases, ends and agents."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from application.observation import conventions as c
from application.observation import instruments as i
from application.observation.agent_turns import AgentTurns
from application.observation.instruments import Measurement
from application.observation.observed import Observed, measured
from application.observation.span import EPOCH, Span, event_name, in_order, span_id_of, trace_of
from domain.event import Event
from domain.record import RecordedEvent
from domain.run import events as e
from domain.run.values import RunSpec, Usage

AGENT_TURN_EVENTS = frozenset(each.wire_name for each in (e.MessageStopped, e.ToolStarted, e.ToolEnded))
"""What it must see to tell of the agent's turns and tools."""
EXTERNAL = "external"
"""The provider of a run that another program executes."""
NO_ERROR = "none"


class RunObserver:
    """The fold of one run's events, from its first. What it finds depends on nothing else: it can begin anew."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._trace_id = ""
        self._spec: RunSpec | None = None
        self._asked_at: datetime | None = None
        self._due_at: datetime | None = None
        self._queued_by = ""
        self._phase, self._phase_since = "", EPOCH
        self._lease: tuple[int, str, datetime] | None = None
        self._agent: AgentTurns | None = None
        self._spans: list[Span] = []
        self._measurements: list[Measurement] = []

    def see(self, recorded: RecordedEvent) -> Observed:
        self._spans, self._measurements = [], []
        self._trace_id = self._trace_id or trace_of(recorded.metadata)
        event = recorded.event
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event, recorded)
        elif self._agent is not None:
            self._spans += self._agent.see(event, recorded.seq, recorded.occurred_at)
        return Observed(spans=tuple(self._spans), measurements=tuple(self._measurements))

    @property
    def over(self) -> bool:
        """Whether the run has ended: nothing more comes of it."""
        return self._phase == "over"

    def on_queued(self, event: e.RunQueued, recorded: RecordedEvent) -> None:
        self._spec, self._asked_at = event.spec, recorded.occurred_at
        self._enqueued(recorded, recorded.occurred_at)

    def on_bound(self, _: e.RunBound, recorded: RecordedEvent) -> None:
        self._asked_at = recorded.occurred_at
        self._enter("running", recorded.occurred_at)

    def on_blocked(self, event: e.RunBlocked, _: RecordedEvent) -> None:
        self._count(i.RUNS_FINISHED, "blocked", NO_ERROR, event.spec.provider)

    def on_claimed(self, event: e.RunClaimed, recorded: RecordedEvent) -> None:
        at = recorded.occurred_at
        self._lease_ended(at, "lease_taken_over")
        if event.resumed:
            self._count(i.RUN_TAKEOVERS)
        elif self._due_at is not None and not event.was_parked:
            self._count(i.RUN_CLAIM_DELAY_SECONDS, value=max((at - self._due_at).total_seconds(), 0.0))
        if self._phase in {"queued", "parked"}:
            self._enter("running" if self._agent is not None else "claimed", at)
        self._lease = event.lease_generation, event.owner, at

    def on_entered(self, event: e.RunPhaseEntered, recorded: RecordedEvent) -> None:
        self._enter(event.phase, recorded.occurred_at)

    def on_started(self, event: e.RunStarted, recorded: RecordedEvent) -> None:
        self._enter("running", recorded.occurred_at)
        self._agent = self._new_agent(event.attempt, recorded.occurred_at)

    def on_agent_finished(self, event: e.RunAgentFinished, recorded: RecordedEvent) -> None:
        self._enter("ending", recorded.occurred_at)
        self._agent_ended(recorded.occurred_at, event.error.error_class if event.error else "", event)

    def on_syncing(self, _: e.RunSyncing, recorded: RecordedEvent) -> None:
        self._enter("syncing", recorded.occurred_at)

    def on_lease_lost(self, event: e.RunLeaseLost, recorded: RecordedEvent) -> None:
        if self._lease is not None and self._lease[0] == event.lost_lease_generation:
            self._lease_ended(recorded.occurred_at, "lease_lost")

    def on_parked(self, _: e.RunParked, recorded: RecordedEvent) -> None:
        self._enter("parked", recorded.occurred_at)
        self._lease_ended(recorded.occurred_at, "")

    def on_retried(self, event: e.RunRetryScheduled, recorded: RecordedEvent) -> None:
        error, at = event.error.error_class, recorded.occurred_at
        self._count(i.RUN_RETRIES, error)
        self._agent_ended(at, error)
        self._lease_ended(at, error)
        self._enqueued(recorded, event.available_at)

    def on_finished(self, event: e.RunFinished, recorded: RecordedEvent) -> None:
        at, error = recorded.occurred_at, event.error.error_class if event.error else ""
        provider = self._spec.provider if self._spec else EXTERNAL
        self._agent_ended(at, error)
        self._lease_ended(at, error)
        self._enter("over", at)
        self._count(i.RUNS_FINISHED, event.outcome, error or NO_ERROR, provider)
        if self._asked_at is not None:
            self._count(i.RUN_SECONDS, event.outcome, value=max((at - self._asked_at).total_seconds(), 0.0))
        self._count_usage(event.usage, provider)

    def _enqueued(self, recorded: RecordedEvent, due_at: datetime) -> None:
        self._due_at, self._queued_by = due_at, event_name(recorded)
        self._enter("queued", recorded.occurred_at)

    def _new_agent(self, attempt: int, at: datetime) -> AgentTurns | None:
        if self._spec is None:
            return None
        lease = span_id_of(self._lease_name(self._lease[0])) if self._lease else ""
        return AgentTurns(self._spec, self._run_id, attempt, trace_id=self._trace_id, parent_id=lease, started=at)

    def _agent_ended(self, at: datetime, error: str, finished: e.RunAgentFinished | None = None) -> None:
        if self._agent is not None:
            self._spans.append(self._agent.ended(at, error=error, finished=finished))
            self._agent = None

    def _lease_name(self, generation: int) -> str:
        return f"lease/{self._run_id}/{generation}"

    def _lease_ended(self, at: datetime, error: str) -> None:
        if self._lease is None:
            return
        (generation, owner, since), self._lease = self._lease, None
        start, end = in_order(since, at)
        lease = Span(
            trace_id=self._trace_id,
            span_id=span_id_of(self._lease_name(generation)),
            parent_id=span_id_of(self._queued_by) if self._queued_by else "",
            name="run.execute",
            kind="consumer",
            start=start,
            end=end,
            attributes={c.RUN_ID: self._run_id, c.LEASE_GENERATION: generation, c.LEASE_OWNER: owner},
            error=error,
        )
        self._spans.append(lease)

    def _count_usage(self, usage: Usage, provider: str) -> None:
        tokens = {
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "cached_input": usage.cached_input_tokens or 0,
        }
        for kind, number in tokens.items():
            if number > 0:
                self._count(i.TOKENS, provider, kind, value=number)
        if usage.cost_usd is not None and usage.cost_usd > 0:
            self._count(i.COST_USD, provider, value=usage.cost_usd)

    def _enter(self, phase: str, at: datetime) -> None:
        """Two entries of the same phase, such as those of a journal that ends twice, are one."""
        if phase == self._phase or self.over:
            return
        if self._phase:
            spent = max((at - self._phase_since).total_seconds(), 0.0)
            self._count(i.RUN_PHASE_SECONDS, self._phase, value=spent)
        self._phase, self._phase_since = phase, at

    def _count(self, instrument: i.Instrument, *labels: str, value: float = 1.0) -> None:
        self._measurements.append(measured(instrument, *labels, value=value, trace_id=self._trace_id))


_Handler = Callable[[RunObserver, Any, RecordedEvent], None]
_HANDLERS: Mapping[type[Event], _Handler] = {
    e.RunQueued: RunObserver.on_queued,
    e.RunBound: RunObserver.on_bound,
    e.RunBlocked: RunObserver.on_blocked,
    e.RunClaimed: RunObserver.on_claimed,
    e.RunPhaseEntered: RunObserver.on_entered,
    e.RunStarted: RunObserver.on_started,
    e.RunAgentFinished: RunObserver.on_agent_finished,
    e.RunSyncing: RunObserver.on_syncing,
    e.RunLeaseLost: RunObserver.on_lease_lost,
    e.RunParked: RunObserver.on_parked,
    e.RunRetryScheduled: RunObserver.on_retried,
    e.RunFinished: RunObserver.on_finished,
}
RUN_EVENTS: frozenset[str] = frozenset(each.wire_name for each in _HANDLERS)
"""What a RunObserver must see."""
