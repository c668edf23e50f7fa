"""What `fleetlog project` and the process of a user's projection say to each other: lines of JSON on a socket.

    process to supervisor   described, or refused and its end
    supervisor to process   order; or it closes the socket, and the process ends
    process to supervisor   progress, at first and every PROGRESS_S, whether or not the position has changed;
                            blocked or failed, and its end

Whoever finds the socket closed knows that the other has ended.

Beside it there is a file in memory, in which the process notes each event before it processes it: a supervisor whose
process has crashed reads there which one it was.
"""

import os

import msgspec

PROGRESS_S = 0.5
"""The interval of progress messages, in seconds."""
END_S = 8.0
"""How long a process may take to finish its event when it is asked to end, in seconds; then it is killed."""
MAX_MESSAGE_BYTES = 1024 * 1024


class Described(msgspec.Struct, frozen=True, kw_only=True, tag="described"):
    """The class was found. `name`: that of the projection; `view_class`: MODULE:CLASS."""

    name: str
    topics: tuple[str, ...]
    view_class: str


class ClassRejected(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """There is no such class, or it can't be run. `error`: a sentence for people."""

    error: str


class PositionReached(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """Every event of its topics up to `position` has been processed. Those that `process_event` leaves untracked count
    too, so that after a restart `position` may be lower, and they come again."""

    position: int


class BlockedAtEvent(msgspec.Struct, frozen=True, kw_only=True, tag="blocked"):
    """The event at `position` can't be processed, after some tries. `newer`: newer code wrote it."""

    position: int
    event_type: str
    error: str
    newer: bool = False


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """Something else than an event ended the process, such as a lost database."""

    error: str


Message = Described | ClassRejected | PositionReached | BlockedAtEvent | Failed
decode_message = msgspec.json.Decoder(Message).decode


class PresentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The event that is being processed."""

    position: int
    event_type: str


_decode_present = msgspec.json.Decoder(PresentEvent).decode


def note_event(file: int, position: int, event_type: str) -> None:
    """Write into the file, a descriptor, that this event is being processed: one call of the system."""
    os.pwrite(file, msgspec.json.encode(PresentEvent(position=position, event_type=event_type)) + b"\n", 0)


def note_no_event(file: int) -> None:
    """Write that it has been processed."""
    os.pwrite(file, b"\n", 0)


def noted_event(file: int) -> PresentEvent | None:
    """What was written last."""
    line, _, _ = os.pread(file, MAX_MESSAGE_BYTES, 0).partition(b"\n")
    return _decode_present(line) if line else None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Begin. `environment`: settings of the `eventsourcing` library, beside those of the process. `libpq`: variables
    for connections to Postgres. `skips`: the positions of events that are not processed."""

    environment: dict[str, str]
    libpq: dict[str, str] = {}
    skips: tuple[int, ...] = ()
