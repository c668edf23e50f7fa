"""What a user's class may look like around which the supervised one is made."""

from functools import singledispatchmethod
from typing import Any

from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection

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


def test_process_event_may_dispatch_by_the_type_of_the_event() -> None:
    progress, view = Progressing(), Seen()
    projection = supervised(ByType, skips={3}, progress=progress)(view)
    for position, event in enumerate((7, "text", 8), 1):
        projection.process_event(event, Tracking("fleetlog", position))
    assert view.seen == ["int 7 at 1", "other text at 2"]
    assert progress.position == 3
    assert view.max_tracking_id("fleetlog") == 3
