"""The fixed corpus that all folds are held against: for each kind of stream some histories, and every event in every
schema version, each of which is then taken to follow each of the histories."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec

from domain.event import Event, decode, encode, event_types
from domain.record import Metadata, RecordedEvent
from domain.run import events as r
from domain.run.values import RunError, Warn
from domain.session import events as s
from tests.support import runs, sessions
from tests.support.domain_events import domain_events
from tests.support.mixed_history import mixed_history
from tests.support.specification import T0
from tests.unit.folds.samples import samples

CORPUS = Path(__file__).with_name("corpus.json")
STREAMS = {
    "run:r1": ("run.", "message.", "reasoning.", "tool.", "todo.", "human_loop."),
    "session:s1": ("session.",),
    "effects:dead_letters": ("effect.",),
    "queue:runs": ("queue.",),
    "process_manager:run_life": ("process_manager.",),
    "projection:runs": ("projection.",),
    "user_projection:RunsPerHour": ("user_projection.",),
    "unmatched:r1": ("callback.",),
    "reconcile:questions": ("reconcile.",),
}
"""The prefixes of the wire names that the kind of stream has."""


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """An event as the log keeps it."""

    type: str
    schema_version: int
    payload: msgspec.Raw


class StreamCorpus(msgspec.Struct, frozen=True, kw_only=True):
    histories: dict[str, tuple[Stored, ...]]
    events: tuple[Stored, ...]

    def branches(self, stream: str) -> Iterator[tuple[list[RecordedEvent], list[RecordedEvent]]]:
        """Each history with the events that may follow it, all of them at the seq after it."""
        for history in self.histories.values():
            past = [_recorded(stream, number, stored) for number, stored in enumerate(history, 1)]
            yield past, [_recorded(stream, len(past) + 1, stored) for stored in self.events]


Corpus = dict[str, StreamCorpus]
"""By stream."""


def load() -> Corpus:
    return msgspec.json.decode(CORPUS.read_bytes(), type=Corpus)


def versions(corpus: Corpus) -> set[tuple[str, int]]:
    """The (wire name, schema version) pairs that may follow the histories."""
    return {(stored.type, stored.schema_version) for part in corpus.values() for stored in part.events}


def renewed(kept: Corpus) -> Corpus:
    """The corpus of the present events. Events in the versions before stay as they are in `kept`."""
    return {stream: _renewed(stream, prefixes, kept.get(stream)) for stream, prefixes in STREAMS.items()}


def written(corpus: Corpus) -> str:
    """As the file has it: one event a line."""

    def line(stored: Stored) -> str:
        return f"   [{json.dumps(stored.type)},{stored.schema_version},{bytes(stored.payload).decode()}]"

    def lines(events: tuple[Stored, ...]) -> str:
        return "[\n" + ",\n".join(map(line, events)) + "]" if events else "[]"

    parts = []
    for stream, part in corpus.items():
        histories = ",\n".join(f"  {json.dumps(name)}: {lines(events)}" for name, events in part.histories.items())
        parts.append(f'{json.dumps(stream)}: {{"histories": {{\n{histories}}},\n "events": {lines(part.events)}}}')
    return "{" + ",\n".join(parts) + "}\n"


def _renewed(stream: str, prefixes: tuple[str, ...], kept: StreamCorpus | None) -> StreamCorpus:
    types = [known for name, known in domain_events().items() if name.startswith(prefixes)]
    current = [_stored(event) for known in types for event in samples(known)]
    old = [stored for stored in kept.events if _is_old(stored)] if kept else []
    histories = {name: tuple(map(_stored, events)) for name, events in _histories(stream, types).items()}
    return StreamCorpus(histories={"nothing": (), **histories}, events=(*old, *current))


def _is_old(stored: Stored) -> bool:
    return stored.schema_version < event_types()[stored.type].schema_version


def _histories(stream: str, types: list[type[Event]]) -> dict[str, tuple[Event, ...]]:
    if stream.startswith("run:"):
        return {**runs.HISTORIES, **_more_of_runs(), **_whole("run:")}
    if stream.startswith("session:"):
        return {**sessions.HISTORIES, **_more_of_sessions(), **_whole("session:")}
    return {known.wire_name: (samples(known)[0],) for known in types}


def _more_of_runs() -> dict[str, tuple[Event, ...]]:
    second = (runs.claimed(2, 2), r.RunPhaseEntered(lease_generation=2, phase="linking"))
    started = r.RunStarted(lease_generation=2, attempt=2, generation=2, boot_id="b2")
    canceled = r.HumanLoopCanceled(lease_generation=1, question_id="q1", reason="the agent is gone")
    todos = tuple(event for kind in (r.TodosReplaced, r.TodoUpdated) for event in samples(kind)[1:])
    lost = RunError(error_class="executor_lost", message="the container is gone")
    retry = r.RunRetryScheduled(lease_generation=1, attempt=1, error=lost, available_at=runs.RETRY_AT)
    return {
        "a second attempt": (*runs.RETRYING, *second, started, r.MessageDelta(lease_generation=2, text="again")),
        "taken over": (*runs.RUNNING, runs.claimed(2, resumed=True)),
        "parked": (*runs.WAITING, *samples(r.RunParked)[:1]),
        "parked and taken up again": (*runs.WAITING, *samples(r.RunParked)[:1], runs.claimed(2, resumed=True)),
        "cancel requested": (*runs.RUNNING, runs.CANCEL_REQUESTED),
        "a long warning": (*runs.RUNNING, r.RunWarning(warning=Warn(code="long", message="x" * 2001))),
        "asked again after a cancellation": (*runs.WAITING, canceled, runs.ASKED_BY_AGENT),
        "an end before its question": (*runs.RUNNING, runs.RESOLVED, runs.ASKED),
        "expired": (*runs.WAITING, r.HumanLoopExpired(lease_generation=1, question_id="q1", reason="timeout")),
        "two questions": (*runs.ANSWERING, r.HumanLoopRequested(question_id="q2", prompt="And?")),
        "a question for ever": (
            *runs.ANSWERING,
            r.HumanLoopRequested(question_id="q2", prompt="And?", timeout_ms=2**53),
        ),
        "todo lists": (*runs.RUNNING, *todos),
        "a container lost in its run": (*runs.RUNNING, *samples(r.RunTailLost)[:1], retry),
        "carried over": (*runs.CLAIMED, samples(r.ConversationCarried)[1], runs.RUN_STARTED),
        "a day later": (*runs.RUNNING, samples(r.RunTimedOut)[0], runs.AGENT_DONE),
        "aborted": (*runs.RUNNING, samples(r.RunAborted)[0], runs.AGENT_DONE),
        "bound and answered": (*runs.BOUND, runs.ASKED, runs.ANSWERED),
        "bound and ended": (*runs.BOUND, r.RunAgentFinished(outcome="failed", usage=runs.USAGE)),
    }


def _more_of_sessions() -> dict[str, tuple[Event, ...]]:
    asked = s.SyncRequested(generation=1, sync_id="final", reason="message.stop", for_run_id="r1")
    reactivated = s.ReactivationRequested(generation=1, manifest=sessions.MANIFEST)
    forked = {
        f"forked {number}": (event, s.WorkspaceCopied(files=1, contents=2, bytes=3), sessions.activation())
        for number, event in enumerate(samples(s.SessionForked))
    }
    restoring = s.RestoreRequested(
        generation=1, sync=sessions.sync_ref(1), sync_position=9, remove_sync_id="remove-gate", reactivate=True
    )
    return {
        **forked,
        "titled": tuple(samples(s.SessionTitled)[:1]),
        "syncing": (*sessions.BUSY, asked),
        "synced": (*sessions.BUSY, asked, sessions.synced("final", "message.stop", 2, run_id="r1")),
        "sync failed": (*sessions.BUSY, asked, sessions.sync_failed("final", "message.stop", final=True)),
        "two syncs": (*sessions.BUSY, asked, s.SyncRequested(generation=1, sync_id="gate", reason="manual")),
        "held by an external run": (
            *sessions.RUNNING,
            s.SessionRunAttached(generation=1, attached_run_id="o1", outside=True),
            sessions.ATTACHED,
        ),
        "detached": (*sessions.BUSY, sessions.DETACHED),
        "lost": (*sessions.BUSY, asked, sessions.LOST),
        "lost and made again": (*sessions.BUSY, sessions.LOST, sessions.activation(generation=2)),
        "wanted while it stops": (*sessions.STOPPING, reactivated),
        "wanted while it is removed": (*sessions.REMOVING, reactivated),
        "an activation of a kept container failed": (
            *sessions.STARTING_AGAIN,
            s.ActivationFailed(generation=1, step="start", error="no such file", missing_required_paths=("a",)),
        ),
        "restoring": (*sessions.STOPPED, restoring),
        "too much written": (*sessions.BUSY, samples(s.DiskLimitExceeded)[0], sessions.DETACHED),
        "collecting": (*sessions.STOPPED, samples(s.CollectionRequested)[0]),
    }


def _whole(prefix: str) -> dict[str, tuple[Event, ...]]:
    """Whole lives, from a busy installation."""
    lives: dict[str, list[Event]] = {}
    for stream, events in mixed_history(sessions=2, runs_each=3):
        if stream.startswith(prefix):
            lives.setdefault(stream, []).extend(each.event for each in events)
    return {f"whole {stream}": tuple(events) for stream, events in sorted(lives.items())}


def _stored(event: Event) -> Stored:
    return Stored(event.wire_name, event.schema_version, msgspec.Raw(encode(event)))


def _recorded(stream: str, seq: int, stored: Stored) -> RecordedEvent:
    at = T0 + timedelta(seconds=seq)
    return RecordedEvent(
        position=1000 + seq,
        stream=stream,
        seq=seq,
        event_id=f"r1/1/b1/{seq}",
        event=decode(stored.type, stored.schema_version, bytes(stored.payload)),
        occurred_at=at,
        recorded_at=at,
        metadata=Metadata(actor="corpus", correlation_id="corpus"),
    )
