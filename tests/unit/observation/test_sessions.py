"""What the events of a session worker tell."""

from datetime import UTC, datetime, timedelta

from application.observation.observer import LogObserver
from application.observation.span import span_id_of
from domain.event import Event
from domain.record import Metadata, RecordedEvent
from domain.session import events as e
from domain.session.events import ActivationKind
from domain.workspace.plan import RestorePlan
from domain.workspace.sync import SyncRef

T0 = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SYNC = SyncRef(manifest_key="k", manifest_hash="0" * 64)


def recorded(seq: int, seconds: float, event: Event) -> RecordedEvent:
    at = T0 + timedelta(seconds=seconds)
    return RecordedEvent(
        position=seq,
        stream="session:s",
        seq=seq,
        event_id=str(seq),
        event=event,
        occurred_at=at,
        recorded_at=at,
        metadata=Metadata(actor="ada", correlation_id="c", causation_id="lease/r/1"),
    )


def asked(kind: ActivationKind = "create") -> Event:
    return e.ActivationRequested(
        generation=1,
        kind=kind,
        app_id="a",
        project_name="p",
        user_login_name="ada",
        workspace_prefix="w",
        plan=RestorePlan(layers=()),
    )


def measured(*events: tuple[float, Event]) -> list[tuple[object, ...]]:
    observer = LogObserver(traces=False)
    found = [observer.see(recorded(seq, *event)) for seq, event in enumerate(events, 1)]
    return [(each.instrument.name, *each.labels, each.value) for one in found for each in one.measurements]


def test_an_activation_takes_from_its_request_until_the_worker_is_up() -> None:
    up = measured((0, asked()), (3, e.SessionActivated(generation=1, action="created_and_started")))
    failed = measured((0, asked("start")), (2, e.ActivationFailed(generation=1, step="start", error="a text")))

    assert up == [("activation_seconds", "create", "up", 3)]
    assert failed == [("activation_seconds", "start", "failed", 2)]


def test_a_sync_takes_from_its_request_and_counts_what_it_stored() -> None:
    synced = e.SessionSynced(
        generation=1, sync_id="x", reason="message.stop", sync=SYNC, uploaded_files=2, uploaded_bytes=300
    )

    found = measured((0, e.SyncRequested(generation=1, sync_id="x", reason="message.stop")), (4, synced))

    assert found == [
        ("sync_seconds", "message.stop", "synced", 4),
        ("sync_uploaded_bytes", "message.stop", 300),
        ("sync_uploaded_files", "message.stop", 2),
    ]


def test_a_sync_that_is_tried_again_has_not_failed_yet() -> None:
    def failed(*, final: bool) -> Event:
        return e.SessionSyncFailed(generation=1, sync_id="x", reason="pre.stop", error="a text", attempt=1, final=final)

    found = measured(
        (0, e.SyncRequested(generation=1, sync_id="x", reason="pre.stop")),
        (1, failed(final=False)),
        (9, failed(final=True)),
    )

    assert found == [("sync_seconds", "pre.stop", "failed", 9)]


def test_what_was_asked_for_before_it_looked_is_not_guessed() -> None:
    assert measured((3, e.SessionActivated(generation=1, action="started"))) == []


def test_the_span_of_an_activation_is_below_its_request() -> None:
    observer = LogObserver(traces=True)
    observer.see(recorded(1, 0, asked()))

    spans = observer.see(recorded(2, 3, e.SessionActivated(generation=1, action="created_and_started"))).spans

    (activation,) = [span for span in spans if span.name == "session.activate"]
    assert (activation.parent_id, activation.start, activation.error) == (span_id_of("session:s/1"), T0, "")


def test_a_command_of_nobody_outside_has_a_trace_of_its_own() -> None:
    observer = LogObserver(traces=True)

    (event, *_) = observer.see(recorded(1, 0, asked())).spans

    assert len(event.trace_id) == 32
