"""Timeouts and retries of calls to executors."""

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, kw_only=True)
class CallPolicy:
    """Durations in seconds. A call is tried `1 + max_retries` times, with a pause of `retry_delay_s * n` before the
    n-th retry. Network errors, timeouts, a 429 and the statuses in `retry_statuses` are retried. The pause is longer
    where the executor's Retry-After says so, `longest_pause_s` at most.

    `failures_to_open` failures in a row open an executor's circuit breaker for `open_pause_s`."""

    timeout_s: float = 30.0
    long_timeout_s: float = 1800.0
    """The timeout of restore and sync, which answer when they are done."""
    silence_s: float = 40.0
    """The longest silence of a followed journal; the executor sends a heartbeat every 15 seconds."""
    connect_timeout_s: float = 5.0
    max_retries: int = 3
    retry_delay_s: float = 0.5
    retry_statuses: frozenset[int] = frozenset({500, 502, 503, 504})
    longest_pause_s: float = 30.0
    failures_to_open: int = 5
    pass_credentials_every_s: float = 60.0
    """How often a long call (restore, sync, a followed journal) has the executor get credentials that expire."""
    open_pause_s: float = 10.0

    @property
    def max_attempts(self) -> int:
        return 1 + self.max_retries

    def repeats(self, status: int) -> bool:
        """Whether a call that was answered with this HTTP status is retried; of 4xx, only 429 is."""
        return status == HTTPStatus.TOO_MANY_REQUESTS or (status >= 500 and status in self.retry_statuses)

    def pause_s(self, retry: int, retry_after_s: float) -> float:
        """The pause before the n-th retry."""
        return max(self.retry_delay_s * retry, min(retry_after_s, self.longest_pause_s))
