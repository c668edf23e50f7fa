"""What agents report of their run, in the executor's journal or by callbacks, and what is recorded of it."""

from collections.abc import Sequence

from msgspec.structs import replace

from domain.errors import Conflict, InvalidInput
from domain.event import Event
from domain.run import commands as c
from domain.run import events as e
from domain.run.questions import changes_nothing, close_questions, end_after_request, ended_before_request
from domain.run.quotas import RunQuotas, exceeded, within_list
from domain.run.state import Active, Blocked, Finished, Finishing, Run
from domain.run.values import Warn, quota_error


def record_entry(state: Run, command: c.RecordJournalEntry, quotas: RunQuotas) -> Sequence[Event]:
    event = _reported(command.event, "journal")
    if command.attempt != state.attempt or command.n <= state.entries or not _followed(state):
        return ()
    if state.over_quota:
        return _end_over_quota(state, event, command)
    if command.n > state.entries + 1:
        raise Conflict(f"journal entry {command.n} came right after entry {state.entries}", "journal_gap")
    if isinstance(event, e.RunAgentFinished) and isinstance(state.stage, Finishing):
        return ()
    if changes_nothing(state, event):
        # Recorded as a warning: each entry becomes one event, so that the count of entries stays right.
        message = f"{event.wire_name} of a question that is closed or was asked before"
        event = e.RunWarning(warning=Warn(code="entry_ignored", message=message))
    return _agent_event(state, replace(event, lease_generation=command.lease_generation), quotas)


def _end_over_quota(state: Run, event: e.LeasedEvent, command: c.RecordJournalEntry) -> Sequence[Event]:
    """Of what the agent reports after it exceeded a quota, its end alone is recorded."""
    if not isinstance(event, e.RunAgentFinished) or isinstance(state.stage, Finishing):
        return ()
    lease = command.lease_generation
    lost = e.RunTailLost(
        lease_generation=lease,
        attempt=state.attempt,
        recorded_entries=state.entries,
        reason="the run is over a quota; of its further entries only the end is recorded",
    )
    return (
        *(() if command.n == state.entries + 1 else (lost,)),
        *_ended(state, replace(event, lease_generation=lease)),
    )


def _followed(state: Run) -> bool:
    """Whether journal entries are still recorded: up to the journal's end, even if a callback reported it earlier."""
    return isinstance(state.stage, Finishing) or (isinstance(state.stage, Active) and state.stage.phase == "running")


def record_callback(state: Run, command: c.RecordCallback, quotas: RunQuotas) -> Sequence[Event]:
    event = _reported(command.event, "type")
    if isinstance(state.stage, Finished | Finishing | Blocked):
        return ()
    if changes_nothing(state, event) and not ended_before_request(state, event):
        return ()
    event = replace(event, lease_generation=0)
    if state.over_quota and not isinstance(event, e.RunAgentFinished):
        return ()
    decided = _agent_event(state, event, quotas)
    if isinstance(decided[-1], e.HumanLoopRequested) and (known := state.question(decided[-1].question_id)) is not None:
        return (*decided, *end_after_request(decided[-1].question_id, known))
    return decided


def _reported(event: Event, field: str) -> e.LeasedEvent:
    if type(event) not in e.AGENT_EVENTS or not isinstance(event, e.LeasedEvent):
        raise InvalidInput(field, f"{event.wire_name!r} is not an agent's to report")
    return event


def _agent_event(state: Run, event: e.LeasedEvent, quotas: RunQuotas) -> Sequence[Event]:
    if isinstance(event, e.RunAgentFinished):
        return _ended(state, event)
    over = exceeded(state, event, quotas)
    if over is not None:
        return _aborted(state, replace(over, lease_generation=event.lease_generation))
    return within_list(state, event, quotas)


def _ended(state: Run, event: e.RunAgentFinished) -> Sequence[Event]:
    return (*close_questions(state, event.lease_generation, "the agent ended"), settled(state, event))


def _aborted(state: Run, over: e.RunQuotaExceeded) -> Sequence[Event]:
    if not state.is_external or not isinstance(state.stage, Active):
        return (over,)
    error = quota_error(over.quota, over.limit, over.reached)
    return (over, *end_external(state, e.RunAgentFinished(outcome="failed", error=error), error.message))


def settled(state: Run, event: e.RunAgentFinished) -> e.RunAgentFinished:
    if state.abort is not None and (event.outcome != "succeeded" or state.over_quota):
        return replace(event, outcome="failed", error=state.abort)
    return event


def exceed_quota(state: Run, command: c.ExceedQuota) -> Sequence[Event]:
    if state.over_quota or isinstance(state.stage, Blocked | Finishing | Finished):
        return ()
    return _aborted(state, e.RunQuotaExceeded(quota=command.quota, limit=command.limit, reached=command.reached))


def end_external(state: Run, finished: e.RunAgentFinished, reason: str) -> tuple[Event, ...]:
    """Nobody here drives the agent of an external run: it has ended as far as the log is concerned."""
    return (*close_questions(state, 0, reason), finished)
