"""How often and how long executors are called."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CallPolicy:
    """Durations in seconds. A call is tried `1 + max_retries` times; before the n-th repetition it waits
    `retry_delay_s * n`. Network errors and timeouts are repeated, and of the statuses only `retry_statuses`."""

    timeout_s: float = 30.0
    long_timeout_s: float = 1800.0
    """For restore and sync, which answer when all is moved."""
    silence_s: float = 40.0
    """For a followed journal: the executor sends a heartbeat every 15 seconds."""
    connect_timeout_s: float = 5.0
    max_retries: int = 3
    retry_delay_s: float = 0.5
    retry_statuses: frozenset[int] = frozenset({500, 502, 503, 504})
    failures_to_open: int = 5
    open_pause_s: float = 10.0

    @property
    def max_attempts(self) -> int:
        return 1 + self.max_retries

    def repeats(self, status: int) -> bool:
        """Whether a call with this answer is worth a repetition; one that the executor refuses (4xx) never is."""
        return status >= 500 and status in self.retry_statuses
