"""What the event store raises. Each is an error of the `eventsourcing` library, too, so that its callers need no
translation; StreamConflict is also the port's.

eventsourcing.persistence.PersistenceError
├── InterfaceError      EventStoreClosed
├── OperationalError    EventStoreUnavailable, and of it EventStoreFull
├── DataError           AppendRefused (and ValueError)
└── IntegrityError      StreamConflict (and ExpectedSeqConflict), TrackingConflict
"""

from eventsourcing.persistence import DataError, IntegrityError, InterfaceError, OperationalError

from application.ports.event_store import ExpectedSeqConflict


class EventStoreClosed(InterfaceError):
    """The store takes no more appends."""


class EventStoreUnavailable(OperationalError):
    """The database could not be reached within the time limit. The events may have been written: appending them again
    with the same event ids is safe, and the result shows it."""


class EventStoreFull(EventStoreUnavailable):
    """The database's disk is full."""


class AppendRefused(DataError, ValueError):
    """The log can never take these events: no events, a payload that is too large, a repeated event id and so on."""


class StreamConflict(ExpectedSeqConflict, IntegrityError):
    """The port's ExpectedSeqConflict, as the store raises it."""


class TrackingConflict(IntegrityError):
    """The process has already handled this position, or a later one."""
