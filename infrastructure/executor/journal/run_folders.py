"""The folders of all runs of one worker: `{state_dir}/runs/{hash of the run id}/{attempt}/`."""

import hashlib
from pathlib import Path

import msgspec

from infrastructure.durable_file import write_durably

_IDENTITY = "run.json"
_ENDED = "ended"


class AttemptIdentity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which attempt a folder belongs to, and the agent's process: the id of its group and the start of the group's
    leader (clock ticks since the machine's boot). Both are 0 before the process is known."""

    run_id: str
    attempt: int
    process_group: int = 0
    process_started: int = 0


class RunFolders:
    """All calls block, for the time of a few small file operations."""

    def __init__(self, state_dir: Path) -> None:
        self._runs = state_dir / "runs"
        self._runs.mkdir(parents=True, exist_ok=True, mode=0o700)

    def folder(self, run_id: str, attempt: int) -> Path:
        return self._run(run_id) / str(attempt)

    def last_attempt(self, run_id: str) -> int:
        """The highest attempt with a recorded identity; 0 for an unknown run."""
        run = self._run(run_id)
        if not run.is_dir():
            return 0
        attempts = [int(child.name) for child in run.iterdir() if child.name.isdigit()]
        return max((attempt for attempt in attempts if (run / str(attempt) / _IDENTITY).exists()), default=0)

    def record(self, identity: AttemptIdentity) -> Path:
        """Make the attempt's folder and write its identity durably. A later call replaces the identity."""
        folder = self.folder(identity.run_id, identity.attempt)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(folder / _IDENTITY, msgspec.json.encode(identity))
        return folder

    def mark_ended(self, run_id: str, attempt: int) -> None:
        """Mark that the journal has its last entry, so that the next boot need not open it."""
        (self.folder(run_id, attempt) / _ENDED).touch()

    def not_ended(self) -> list[AttemptIdentity]:
        """The attempts that are not marked as ended."""
        return [
            msgspec.json.decode(path.read_bytes(), type=AttemptIdentity)
            for path in sorted(self._runs.glob(f"*/*/{_IDENTITY}"))
            if not (path.parent / _ENDED).exists()
        ]

    def _run(self, run_id: str) -> Path:
        return self._runs / hashlib.sha256(run_id.encode()).hexdigest()[:32]
