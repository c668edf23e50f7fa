"""The processes that work: which are alive, and what they find down. An operational table."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class WorkerProcesses(Protocol):
    async def seen(self, owner: str, down: Mapping[str, str]) -> None:
        """This process is alive; `down`: name → why, of what it finds down."""
        ...

    async def ended(self, owner: str) -> None: ...

    async def alive(self) -> Sequence[Mapping[str, str]]:
        """What is down for each process that is alive."""
        ...
