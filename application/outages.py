"""What this process depends on beside executors, and what of it is down: a circuit breaker for each.

A dependency that goes down is said once in the log, and once when it works again. Until then what needs it waits: of
all that want to try, one at a time does, after each pause; a try that fails meanwhile is excused: it does not count.
"""

import logging
import time
from collections.abc import Callable

from application.circuit_breaker import CircuitBreaker, CircuitOpen

DOCKER = "docker"
OBJECT_STORE = "object store"
PAUSE_S = 10.0
THRESHOLDS = {DOCKER: 1, OBJECT_STORE: 3}
"""How many failures in a row mean that it is down. A daemon that can't be reached is; a store that one worker can't
reach, or a model that fails one run, need not be."""
MODEL_THRESHOLD = 5
EXCUSED_FOR_S = 24 * 3600.0
"""After so long an outage tries are counted again, so that nothing waits for ever."""
log = logging.getLogger(__name__)


_MODEL = "model of "


def model_of(provider: str) -> str:
    """The name of a provider's model service."""
    return f"{_MODEL}{provider}"


def is_model(name: str) -> bool:
    return name.startswith(_MODEL)


class DependencyDown(Exception):
    """It is down, and it is not this caller's turn to try. `retry_in_s`: when to ask again."""

    def __init__(self, name: str, why: str, retry_in_s: float) -> None:
        super().__init__(f"{name} is down: {why}")
        self.name, self.retry_in_s = name, retry_in_s


class _Dependency:
    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name, self._clock = name, clock
        self.breaker = CircuitBreaker(threshold=THRESHOLDS.get(name, MODEL_THRESHOLD), pause_s=PAUSE_S, clock=clock)
        self.down_since: float | None = None

    def failed(self, why: str) -> None:
        self.breaker.last_failure = why
        self.breaker.failed()
        if self.down_since is None and self.breaker.state != "closed":
            self.down_since = self._clock()
            log.error("%s is down, what needs it waits: %s", self.name, why)

    def worked(self) -> None:
        self.breaker.succeeded()
        if self.down_since is not None:
            log.warning("%s works again, after %.0f s", self.name, self._clock() - self.down_since)
            self.down_since = None


class Outages:
    """The dependencies of one process, by name; for one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, _Dependency] = {}

    def attempt(self, *names: str) -> None:
        """Return if a try that needs these may begin. Raises DependencyDown."""
        for name in names:
            dependency = self._known.get(name)
            if dependency is not None:
                try:
                    dependency.breaker.permit()
                except CircuitOpen as error:
                    raise DependencyDown(name, dependency.breaker.last_failure, error.retry_in_s or PAUSE_S) from None

    def failed(self, name: str, why: str) -> bool:
        """A try has shown that it is down. Whether the try is excused."""
        dependency = self._known.get(name)
        if dependency is None:
            dependency = self._known[name] = _Dependency(name, self._clock)
        dependency.failed(why)
        return self.excuses(name)

    def excuses(self, name: str) -> bool:
        """Whether it is down, and not for so long that tries are counted again."""
        dependency = self._known.get(name)
        if dependency is None or dependency.down_since is None:
            return False
        return self._clock() < dependency.down_since + EXCUSED_FOR_S

    def worked(self, *names: str) -> None:
        """A try has shown that these work."""
        for name in names:
            dependency = self._known.get(name)
            if dependency is not None:
                dependency.worked()

    def down(self) -> dict[str, str]:
        """What is down, and why."""
        return {
            name: dependency.breaker.last_failure
            for name, dependency in self._known.items()
            if dependency.down_since is not None
        }
