"""A circuit breaker: after several failures in a row it stops asking for a while, then lets one probe through.

closed ──(failures in a row)──▶ open ──(pause is over)──▶ half_open ──(probe succeeds)──▶ closed
                                  ▲──────────(probe fails)─────┘
"""

import time
from collections.abc import Callable
from typing import Literal

CircuitState = Literal["closed", "open", "half_open"]


class CircuitOpen(Exception):
    """Not asked: it failed too often just now. `retry_in_s` seconds are left of the pause (0 while a probe is out)."""

    def __init__(self, retry_in_s: float) -> None:
        super().__init__(f"the circuit is open for {retry_in_s:.1f} s more")
        self.retry_in_s = retry_in_s


class Permit:
    """Leave for one attempt. Tell exactly one of `succeeded`, `failed` and `abandoned`; later words are ignored."""

    def __init__(self, breaker: "CircuitBreaker", *, probe: bool) -> None:
        self._breaker = breaker
        self._probe = probe
        self._told = False

    def succeeded(self) -> None:
        if self._tell():
            self._breaker._close()  # noqa: SLF001 - a permit is the breaker's own hand

    def failed(self) -> None:
        if self._tell():
            self._breaker._count_failure(probe=self._probe)  # noqa: SLF001

    def abandoned(self) -> None:
        """The attempt says nothing about the other side: it was cancelled, or never left this process."""
        if self._tell() and self._probe:
            self._breaker._release_probe()  # noqa: SLF001

    def _tell(self) -> bool:
        first, self._told = not self._told, True
        return first


class CircuitBreaker:
    """For one event loop; not for threads. Opens after `threshold` failures in a row, for `pause_s` seconds."""

    def __init__(
        self, *, threshold: int = 5, pause_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threshold = threshold
        self._pause_s = pause_s
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False
        self.last_failure = ""
        """What the last failure was, for whoever is not let through."""

    @property
    def state(self) -> CircuitState:
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._pause_left() <= 0 else "open"

    def permit(self) -> Permit:
        """Leave for an attempt; CircuitOpen when there is none now."""
        if self._opened_at is None:
            return Permit(self, probe=False)
        if self._pause_left() > 0 or self._probing:
            raise CircuitOpen(max(0.0, self._pause_left()))
        self._probing = True
        return Permit(self, probe=True)

    def _pause_left(self) -> float:
        return 0.0 if self._opened_at is None else self._opened_at + self._pause_s - self._clock()

    def _close(self) -> None:
        self._failures, self._opened_at, self._probing = 0, None, False

    def _count_failure(self, *, probe: bool) -> None:
        self._failures += 1
        if probe:
            self._probing = False
        # Attempts that began before it opened must not prolong the pause.
        if probe or (self._opened_at is None and self._failures >= self._threshold):
            self._opened_at = self._clock()

    def _release_probe(self) -> None:
        self._probing = False
