"""Secrets in the options of runs: kept beside the log until their run has ended, never in it."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class RunSecrets(Protocol):
    def placeholder(self, value: str) -> str:
        """What stands for it in the log: the same for the same value, so that a repeated request is recognised."""
        ...

    async def keep(self, run_id: str, values: Sequence[str]) -> None:
        """Keep them until the run has ended. Done again, it changes nothing."""
        ...

    async def forget(self, run_id: str) -> None:
        """Of a run that has ended, or never begins."""
        ...

    async def of(self, run_id: str) -> Mapping[str, str]:
        """Those of a run that has not ended, by their placeholders."""
        ...
