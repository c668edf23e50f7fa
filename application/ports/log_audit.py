"""What an audit of the log says, and the port that makes one."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Protocol

import msgspec

Progress = Callable[[int, int], None]
"""Called with how many events are checked, and how many there are."""


class _Shown(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class BrokenEvent(_Shown, frozen=True, kw_only=True):
    """The first event that is not what was written. `kind`: missing, payload, sequence, time or chain. `stream` and
    `seq` are what its row says, empty and 0 where there is no row."""

    position: int
    stream: str
    seq: int
    kind: str
    detail: str


class CheckpointStatement(_Shown, frozen=True, kw_only=True):
    """What a checkpoint attests: `events` events up to `position`, in `streams` streams whose heads have this Merkle
    `root`. docs/explanation/tamper-evidence.md says how to recompute it."""

    format: str
    installation: str
    position: int
    events: int
    streams: int
    root: str
    recorded_at: datetime | None
    created_at: datetime


class Checkpoint(_Shown, frozen=True, kw_only=True):
    """`statement`: a CheckpointStatement as JSON, exactly the text that was signed; `signature`: Ed25519, base64;
    `public_key`: PEM."""

    statement: str
    signature: str
    public_key: str


class CheckpointFinding(_Shown, frozen=True, kw_only=True):
    """The check of a checkpoint: this installation must have signed it, and it must agree with the log."""

    ok: bool
    position: int
    detail: str


class ProjectionFinding(_Shown, frozen=True, kw_only=True):
    """A read model at `position`, compared with a rebuilt one by number of rows and hash of their content."""

    projection: str
    equal: bool
    position: int
    rows: int
    content_hash: str
    rebuilt_rows: int
    rebuilt_hash: str
    detail: str = ""


class Verification(_Shown, frozen=True, kw_only=True):
    """`ok`: the chain is intact up to `position`, the checkpoint (if one was given) agrees with the log, and every read
    model equals a rebuild. `root`: of the heads of all streams, empty when the chain is broken. `as_of_position`: the
    end of the log when the walk began."""

    ok: bool
    position: int
    as_of_position: int
    streams: int
    root: str
    broken: BrokenEvent | None
    checkpoint: CheckpointFinding | None
    projections: tuple[ProjectionFinding, ...]


class AuditBusy(Exception):
    """An audit of this log is under way in this process; ask again when it is over."""


class BrokenLog(Exception):
    """The hash chain is broken, so no checkpoint can be made."""


class LogAudit(Protocol):
    """Reads the whole log: minutes for a large one. One at a time; raises AuditBusy."""

    async def verify(
        self, *, checkpoint: Checkpoint | None = None, read_models: bool = True, progress: Progress | None = None
    ) -> Verification: ...

    async def checkpoint(self, *, progress: Progress | None = None) -> Checkpoint:
        """Of the log as it is now. Raises BrokenLog."""
        ...

    def export(
        self, *, after: int = 0, up_to: int | None = None, progress: Progress | None = None
    ) -> AsyncIterator[bytes]:
        """The log as JSON Lines, some lines at a time, up to its present end."""
        ...
