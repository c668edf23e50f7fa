"""What a run's events lead to: rows of the run queue, commands to its session, deliveries of answers."""

from collections.abc import Sequence

from application.process_managers.outcomes import (
    DequeueRun,
    EnqueueFinish,
    EnqueueRun,
    Outcome,
    ParkRun,
    PostponeRun,
    SendToSession,
    WakeRun,
    wanted_effect,
)
from domain.record import RecordedEvent
from domain.run import events as e
from domain.run.queue_share import share_of
from domain.session.commands import AttachRun, DetachRun, RequestSync


def _run_id(recorded: RecordedEvent) -> str:
    return recorded.stream.removeprefix("run:")


def _detach(recorded: RecordedEvent) -> SendToSession:
    """The run worker detaches the run itself, usually in the commit of this event; this is for when it has died."""
    run_id = _run_id(recorded)
    return SendToSession(
        command_id=f"session.detach_run/{recorded.stream}/{recorded.seq}:detached",
        run_id=run_id,
        command=DetachRun(run_id=run_id),
    )


def enqueue_run_on_queued(recorded: RecordedEvent, event: e.RunQueued) -> Sequence[Outcome]:
    spec = event.spec
    return (
        EnqueueRun(
            run_id=_run_id(recorded),
            session_id=spec.session_id,
            max_attempts=spec.max_attempts,
            share=share_of(spec),
        ),
    )


def attach_external_run_on_bound(recorded: RecordedEvent, _event: e.RunBound) -> Sequence[Outcome]:
    run_id = _run_id(recorded)
    return (
        SendToSession(
            command_id=f"session.attach_run/{recorded.stream}/{recorded.seq}:attached",
            run_id=run_id,
            command=AttachRun(run_id=run_id, outside=True),
        ),
    )


def sync_workspace_on_message_stop(recorded: RecordedEvent, _event: e.MessageStopped) -> Sequence[Outcome]:
    run_id = _run_id(recorded)
    sync_id = f"{recorded.stream}/{recorded.seq}"
    return (
        SendToSession(
            command_id=f"session.request_sync/{sync_id}:requested",
            run_id=run_id,
            command=RequestSync(sync_id=sync_id, reason="message.stop", run_id=run_id),
        ),
    )


def deliver_reply_on_accepted(recorded: RecordedEvent, event: e.HumanLoopReplyAccepted) -> Sequence[Outcome]:
    reply = {"questionId": event.question_id, "answer": event.answer}
    run_id = _run_id(recorded)
    return (
        wanted_effect(recorded, "human_loop.deliver_reply", runId=run_id, **reply),
        WakeRun(run_id=run_id),
    )


def park_run_on_parked(recorded: RecordedEvent, event: e.RunParked) -> Sequence[Outcome]:
    return (
        ParkRun(
            run_id=_run_id(recorded),
            lease_generation=event.lease_generation,
            waits_for=event.waits_for,
            until=event.until,
        ),
    )


def wake_run_on_question_closed(
    recorded: RecordedEvent, _event: e.HumanLoopResolved | e.HumanLoopCanceled
) -> Sequence[Outcome]:
    return (WakeRun(run_id=_run_id(recorded)),)


def wake_run_on_question_expired(recorded: RecordedEvent, event: e.HumanLoopExpired) -> Sequence[Outcome]:
    return (WakeRun(run_id=_run_id(recorded), ends=event.reason == "timeout"),)


def wake_run_on_cancel_requested(recorded: RecordedEvent, _event: e.RunCancelRequested) -> Sequence[Outcome]:
    return (WakeRun(run_id=_run_id(recorded), ends=True),)


def wake_run_on_aborted(recorded: RecordedEvent, _event: e.RunAborted | e.RunQuotaExceeded) -> Sequence[Outcome]:
    return (WakeRun(run_id=_run_id(recorded), ends=True),)


def finish_external_run_on_agent_finished(recorded: RecordedEvent, event: e.RunAgentFinished) -> Sequence[Outcome]:
    """A run of our own that was parked is in the queue already, and is woken."""
    if event.lease_generation:
        return ()
    run_id = _run_id(recorded)
    return (EnqueueFinish(run_id=run_id), WakeRun(run_id=run_id, ends=True))


def postpone_and_detach_on_retry_scheduled(recorded: RecordedEvent, event: e.RunRetryScheduled) -> Sequence[Outcome]:
    run_id = _run_id(recorded)
    return (
        PostponeRun(run_id=run_id, available_at=event.available_at),
        _detach(recorded),
    )


def dequeue_and_detach_on_finished(recorded: RecordedEvent, _event: e.RunFinished) -> Sequence[Outcome]:
    return (DequeueRun(run_id=_run_id(recorded)), _detach(recorded))
