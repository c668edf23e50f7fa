"""How long an agent may run, and how long it may be silent."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from domain.run.state import Active, Run


class RunLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`run`: time since the agent's start, open questions included. `silence`: time since its last journal entry, not
    limited while a question is open. Zero: no limit."""

    run: timedelta
    silence: timedelta

    def next_check(self, run: Run, now: datetime, silent_for: timedelta) -> timedelta | None:
        """The time until the first limit is reached, at least 0; None without a limit."""
        left = [limit - since for _, limit, since in self._clocks(run, now, silent_for)]
        return max(min(left), timedelta()) if left else None

    def over(self, run: Run, now: datetime, silent_for: timedelta) -> tuple[Literal["run", "silence"], int] | None:
        """A limit that is reached, and its length in milliseconds; None if none is."""
        for what, limit, since in self._clocks(run, now, silent_for):
            if since >= limit:
                return what, milliseconds(limit)
        return None

    def _clocks(
        self, run: Run, now: datetime, silent_for: timedelta
    ) -> list[tuple[Literal["run", "silence"], timedelta, timedelta]]:
        if not isinstance(run.stage, Active) or run.stage.started_at is None:
            return []
        clocks: list[tuple[Literal["run", "silence"], timedelta, timedelta]] = []
        if self.run:
            clocks.append(("run", self.run, now - run.stage.started_at))
        if self.silence and not run.open_questions:
            clocks.append(("silence", self.silence, silent_for))
        return clocks


def milliseconds(length: timedelta) -> int:
    return int(length / timedelta(milliseconds=1))
