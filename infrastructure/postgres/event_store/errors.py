"""What the event store raises. Each is an error of the `eventsourcing` library, too, so that its callers need no
translation; StreamConflict and LogDiscontinued are also the port's.

eventsourcing.persistence.PersistenceError
├── InterfaceError      EventStoreClosed
├── OperationalError    EventStoreUnavailable
│                       ├── EventStoreFull
│                       └── LogDiscontinued (and LogWentBack)
├── DataError           AppendRefused (and ValueError)
└── IntegrityError      StreamConflict (and ExpectedSeqConflict), TrackingConflict
"""

from eventsourcing.persistence import DataError, IntegrityError, InterfaceError, OperationalError

from application.ports.event_store import ExpectedSeqConflict, LogWentBack


class EventStoreClosed(InterfaceError):
    """The store takes no more appends."""


class EventStoreUnavailable(OperationalError):
    """The database could not be reached within the time limit. The events may have been written: appending them again
    with the same event ids is safe, and the result shows it."""


class EventStoreFull(EventStoreUnavailable):
    """The database's disk is full."""


class LogDiscontinued(EventStoreUnavailable, LogWentBack):
    """The port's LogWentBack, as the store raises it: nothing was written, nor will be by this process."""


class AppendRefused(DataError, ValueError):
    """The log can never take these events: no events, a payload that is too large, a repeated event id and so on."""


class StreamConflict(ExpectedSeqConflict, IntegrityError):
    """The port's ExpectedSeqConflict, as the store raises it."""


class TrackingConflict(IntegrityError):
    """The process has already handled this position, or a later one."""
