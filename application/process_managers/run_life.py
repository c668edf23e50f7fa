"""How a run's events move the queue, ask for syncs, deliver replies and let go of the session."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from application.reactions import (
    DequeueRun,
    EffectKind,
    EnqueueFinish,
    EnqueueRun,
    PostponeRun,
    Reaction,
    WantedEffect,
)
from domain.record import RecordedEvent
from domain.run import events as e


def _run_id(recorded: RecordedEvent) -> str:
    return recorded.stream.removeprefix("run:")


DETACH_GRACE = timedelta(seconds=2)
"""Whoever executes a run lets go of its session at once; the effect is for when that one has died."""


def _detach(recorded: RecordedEvent) -> WantedEffect:
    return msgspec.structs.replace(_wanted(recorded, "session.detach_run"), delay=DETACH_GRACE)


def _wanted(recorded: RecordedEvent, kind: EffectKind, **params: Any) -> WantedEffect:
    return WantedEffect(
        effect_id=f"{kind}/{recorded.stream}/{recorded.seq}",
        kind=kind,
        lane=recorded.stream,
        params={"runId": _run_id(recorded), **params},
    )


def enqueue_run_on_queued(recorded: RecordedEvent, event: e.RunQueued) -> Sequence[Reaction]:
    spec = event.spec
    return (EnqueueRun(run_id=_run_id(recorded), session_id=spec.session_id, max_attempts=spec.max_attempts),)


def sync_workspace_on_message_stop(recorded: RecordedEvent, _event: e.MessageStopped) -> Sequence[Reaction]:
    return (_wanted(recorded, "session.request_sync", syncId=f"{recorded.stream}/{recorded.seq}"),)


def deliver_reply_on_accepted(recorded: RecordedEvent, event: e.HumanLoopReplyAccepted) -> Sequence[Reaction]:
    return (_wanted(recorded, "human_loop.deliver_reply", questionId=event.question_id, answer=event.answer),)


def finish_outside_run_on_agent_finished(recorded: RecordedEvent, event: e.RunAgentFinished) -> Sequence[Reaction]:
    return (EnqueueFinish(run_id=_run_id(recorded)),) if event.lease_generation == 0 else ()


def postpone_and_detach_on_retry_scheduled(recorded: RecordedEvent, event: e.RunRetryScheduled) -> Sequence[Reaction]:
    run_id = _run_id(recorded)
    return (
        PostponeRun(run_id=run_id, available_at=event.available_at),
        _detach(recorded),
    )


def dequeue_and_detach_on_finished(recorded: RecordedEvent, _event: e.RunFinished) -> Sequence[Reaction]:
    return (DequeueRun(run_id=_run_id(recorded)), _detach(recorded))
