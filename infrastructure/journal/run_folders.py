"""The folders of all runs of one worker: `{state_dir}/runs/{hash of the run id}/{attempt}/`."""

import hashlib
from pathlib import Path

import msgspec

from infrastructure.durable_file import write_durably

_IDENTITY = "run.json"
_ENDED = "ended"


class RunIdentity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which attempt a folder belongs to, and the agent's process: its group and when the leader started, in the
    kernel's clock ticks, 0 before there is one."""

    run_id: str
    attempt: int
    process_group: int = 0
    process_started: int = 0


class RunFolders:
    """Calls block, each for a few small files."""

    def __init__(self, state_dir: Path) -> None:
        self._runs = state_dir / "runs"
        self._runs.mkdir(parents=True, exist_ok=True, mode=0o700)

    def folder(self, run_id: str, attempt: int) -> Path:
        return self._run(run_id) / str(attempt)

    def last_attempt(self, run_id: str) -> int:
        """The highest attempt that was ever begun here; 0 for an unknown run."""
        run = self._run(run_id)
        if not run.is_dir():
            return 0
        attempts = [int(child.name) for child in run.iterdir() if child.name.isdigit()]
        return max((attempt for attempt in attempts if (run / str(attempt) / _IDENTITY).exists()), default=0)

    def record(self, identity: RunIdentity) -> Path:
        """Make the attempt's folder, durably, with its identity in it."""
        folder = self.folder(identity.run_id, identity.attempt)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(folder / _IDENTITY, msgspec.json.encode(identity))
        return folder

    def mark_ended(self, run_id: str, attempt: int) -> None:
        """Remember that the journal has its last entry, so that the next boot need not read it."""
        (self.folder(run_id, attempt) / _ENDED).touch()

    def not_ended(self) -> list[RunIdentity]:
        """The attempts without the mark of their end."""
        return [
            msgspec.json.decode(path.read_bytes(), type=RunIdentity)
            for path in sorted(self._runs.glob(f"*/*/{_IDENTITY}"))
            if not (path.parent / _ENDED).exists()
        ]

    def _run(self, run_id: str) -> Path:
        return self._runs / hashlib.sha256(run_id.encode()).hexdigest()[:32]
