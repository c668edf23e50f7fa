"""A circuit breaker: after several failures in a row it refuses attempts for a pause, then lets one probe through.

closed ──(failures in a row)──▶ open ──(pause is over)──▶ half_open ──(probe succeeds)──▶ closed
                                  ▲──────────(probe fails)─────┘

A probe that has not reported after another pause makes room for the next one.
"""

import time
from collections.abc import Callable
from typing import Literal

CircuitState = Literal["closed", "open", "half_open"]


class CircuitOpen(Exception):
    """No attempt is permitted now. `retry_in_s`: seconds left of the pause; 0 while a probe is under way."""

    def __init__(self, retry_in_s: float) -> None:
        super().__init__(f"the circuit is open for {retry_in_s:.1f} s more")
        self.retry_in_s = retry_in_s


class Permit:
    """Permission for one attempt. Call `succeeded`, `failed` or `abandoned` once; later calls are ignored."""

    def __init__(self, breaker: "CircuitBreaker", *, probe: bool) -> None:
        self._breaker = breaker
        self._probe = probe
        self._reported = False

    def succeeded(self) -> None:
        if self._report_once():
            self._breaker._close()  # noqa: SLF001 - a permit is part of its breaker

    def failed(self) -> None:
        if self._report_once():
            self._breaker._count_failure(probe=self._probe)  # noqa: SLF001

    def abandoned(self) -> None:
        """The attempt shows nothing about the other side: it was cancelled, or never left this process."""
        if self._report_once() and self._probe:
            self._breaker._release_probe()  # noqa: SLF001

    def _report_once(self) -> bool:
        first, self._reported = not self._reported, True
        return first


class CircuitBreaker:
    """For one event loop; not thread-safe. Opens after `threshold` failures in a row, for `pause_s` seconds."""

    def __init__(
        self, *, threshold: int = 5, pause_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threshold = threshold
        self._pause_s = pause_s
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._probing_since: float | None = None
        self.last_failure = ""
        """The text of the last failure, for the errors of refused calls; set by the caller."""

    @property
    def state(self) -> CircuitState:
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._pause_left() <= 0 else "open"

    def permit(self) -> Permit:
        """Permission for an attempt. Raises CircuitOpen."""
        if self._opened_at is None:
            return Permit(self, probe=False)
        if self._pause_left() > 0:
            raise CircuitOpen(self._pause_left())
        now = self._clock()
        if self._probing_since is not None and now < self._probing_since + self._pause_s:
            raise CircuitOpen(0.0)
        self._probing_since = now
        return Permit(self, probe=True)

    def succeeded(self) -> None:
        """Report a success without a permit."""
        self._close()

    def failed(self) -> None:
        """Report a failure without a permit; while it is half open, that of its probe."""
        self._count_failure(probe=self._probing_since is not None)

    def open(self) -> None:
        """Refuse attempts from now on, as after many failures; one that is open already stays as it is."""
        if self._opened_at is None:
            self._opened_at = self._clock()

    def _pause_left(self) -> float:
        return 0.0 if self._opened_at is None else self._opened_at + self._pause_s - self._clock()

    def _close(self) -> None:
        self._failures, self._opened_at, self._probing_since = 0, None, None

    def _count_failure(self, *, probe: bool) -> None:
        self._failures += 1
        if probe:
            self._probing_since = None
        # Attempts that began before it opened must not prolong the pause.
        if probe or (self._opened_at is None and self._failures >= self._threshold):
            self._opened_at = self._clock()

    def _release_probe(self) -> None:
        self._probing_since = None
