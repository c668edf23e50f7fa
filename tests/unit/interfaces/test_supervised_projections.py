"""What a user's class may look like around which the supervised one is made."""

import os
from collections.abc import Iterator
from functools import singledispatchmethod
from typing import Any

import pytest
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection

from application.user_projection_protocol import PresentEvent, noted_event
from interfaces.python.supervised_projection import Progressing, supervised


class Seen(POPOTrackingRecorder):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []


class ByType(Projection[Seen]):
    name = "ByType"

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.seen.append(f"other {domain_event} at {tracking.notification_id}")

    @process_event.register
    def _(self, domain_event: int, tracking: Tracking) -> None:
        self.view.seen.append(f"int {domain_event} at {tracking.notification_id}")
        self.view.insert_tracking(tracking)


@pytest.fixture
def note() -> Iterator[int]:
    with os.fdopen(os.memfd_create("present event"), "rb") as file:
        yield file.fileno()


def test_the_event_is_noted_while_it_is_processed(note: int) -> None:
    noted = []

    class Noting(Projection[Seen]):
        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            noted.append(noted_event(note))

    projection = supervised(Noting, skips=(), progress=Progressing(note))(Seen())
    projection.process_event("text", Tracking("fleetlog", 5))
    assert noted == [PresentEvent(position=5, event_type="str")]
    assert noted_event(note) is None


def test_process_event_may_dispatch_by_the_type_of_the_event(note: int) -> None:
    progress, view = Progressing(note), Seen()
    projection = supervised(ByType, skips={3}, progress=progress)(view)
    for position, event in enumerate((7, "text", 8), 1):
        projection.process_event(event, Tracking("fleetlog", position))
    assert view.seen == ["int 7 at 1", "other text at 2"]
    assert progress.position == 3
    assert view.max_tracking_id("fleetlog") == 3
