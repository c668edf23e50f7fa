"""What this process depends on beside executors, and what of it is down: a circuit breaker for each.

A dependency that goes down is said once in the log, and once when it works again. Until then what needs it waits: of
all that want to try, one at a time does, after each pause; a try that fails meanwhile is excused: it does not count.

What is found here must be seen by the control plane itself. What runs report of their models is not: it holds up
others only if several users report it (ModelOutages).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from application.circuit_breaker import CircuitBreaker, CircuitOpen

DOCKER = "docker"
OBJECT_STORE = "object store"
PAUSE_S = 10.0
THRESHOLDS = {DOCKER: 1, OBJECT_STORE: 3}
"""How many failures in a row mean that it is down. A daemon that can't be reached is; a store that one worker can't
reach, or a model that fails one run, need not be."""
MODEL_THRESHOLD = 5
MOST_OF_ONE_USER = 3
"""How many of the failures that mean that a model is down for everybody one user can add."""
MAX_USERS = 1000
"""Of a model, whose failures are known; those who failed longest ago are forgotten."""
EXCUSED_FOR_S = 24 * 3600.0
"""After so long an outage tries are counted again, so that nothing waits for ever."""
Over = Callable[[str, int], None]
"""Is told of the end of an outage: what was down, and for how many seconds."""
log = logging.getLogger(__name__)


_MODEL = "model of "


def model_of(provider: str) -> str:
    """The name of a provider's model service."""
    return f"{_MODEL}{provider}"


def is_model(name: str) -> bool:
    return name.startswith(_MODEL)


def _say(name: str, seconds: int) -> None:
    log.warning("%s works again, after %d s", name, seconds)


class DependencyDown(Exception):
    """It is down, and it is not this caller's turn to try. `retry_in_s`: when to ask again."""

    def __init__(self, name: str, why: str, retry_in_s: float) -> None:
        super().__init__(f"{name} is down: {why}")
        self.name, self.retry_in_s = name, retry_in_s


class _Dependency:
    def __init__(self, name: str, clock: Callable[[], float], over: Over) -> None:
        self.name, self._clock, self._over = name, clock, over
        self.breaker = CircuitBreaker(threshold=THRESHOLDS.get(name, MODEL_THRESHOLD), pause_s=PAUSE_S, clock=clock)
        self.down_since: float | None = None
        self.quiet = False

    def failed(self, why: str, *, sure: bool = False, quiet: bool = False) -> None:
        """`sure`: one failure is enough. `quiet`: an outage that is said already."""
        self.breaker.last_failure = why
        if sure:
            self.breaker.open()
        self.breaker.failed()
        if self.down_since is None and self.breaker.state != "closed":
            self.down_since, self.quiet = self._clock(), quiet
            level = logging.INFO if quiet else logging.ERROR
            log.log(level, "%s is down, what needs it waits: %s", self.name, why, extra={"dependency": self.name})

    def worked(self) -> None:
        self.breaker.succeeded()
        if self.down_since is not None:
            down_s = round(self._clock() - self.down_since)
            self.down_since = None
            if self.quiet:
                log.info("%s works again, after %d s", self.name, down_s)  # its end for everybody is said already
            else:
                self._over(self.name, down_s)

    def permit(self) -> None:
        """Raises DependencyDown."""
        try:
            self.breaker.permit()
        except CircuitOpen as error:
            raise DependencyDown(self.name, self.breaker.last_failure, error.retry_in_s or PAUSE_S) from None

    @property
    def excuses(self) -> bool:
        return self.down_since is not None and self._clock() < self.down_since + EXCUSED_FOR_S


class Outages:
    """The dependencies of one process, by name; for one event loop. `models`: what runs report of theirs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, over: Over | None = None) -> None:
        self._clock, self._over = clock, over or _say
        self._known: dict[str, _Dependency] = {}
        self.models = ModelOutages(clock, self._over)

    def attempt(self, *names: str) -> None:
        """Return if a try that needs these may begin. Raises DependencyDown."""
        for name in names:
            dependency = self._known.get(name)
            if dependency is not None:
                dependency.permit()

    def failed(self, name: str, why: str) -> bool:
        """A try has shown that it is down. Whether the try is excused."""
        dependency = self._known.get(name)
        if dependency is None:
            dependency = self._known[name] = _Dependency(name, self._clock, self._over)
        dependency.failed(why)
        return dependency.excuses

    def worked(self, *names: str) -> None:
        """A try has shown that these work."""
        for name in names:
            dependency = self._known.get(name)
            if dependency is not None:
                dependency.worked()

    def down(self) -> dict[str, str]:
        """What is down, and why."""
        found = {
            name: dependency.breaker.last_failure
            for name, dependency in self._known.items()
            if dependency.down_since is not None
        }
        return {**found, **self.models.down()}


@dataclass(kw_only=True)
class _Model:
    """`users`: those whose runs have failed since one has worked, or who have waited for others' failures. `failures`:
    how many of each count for everybody."""

    everybody: _Dependency
    users: dict[str, _Dependency] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)


class ModelOutages:
    """Providers' models, which only runs can tell about, and a run's agent may say anything. So the failures of one
    user's runs hold up that user's runs alone, and excuse them alone, up to those of several users together. Who waits
    tries again at a pace of their own: nobody's tries take another user's turn."""

    def __init__(self, clock: Callable[[], float], over: Over | None = None) -> None:
        self._clock, self._over = clock, over or _say
        self._models: dict[str, _Model] = {}

    def attempt(self, name: str, user: str) -> None:
        """Return if a run of this user may begin. Raises DependencyDown."""
        model = self._models.get(name)
        if model is None:
            return
        if model.everybody.down_since is not None:
            self._waiting(model, user)
        if user in model.users:
            model.users[user].permit()

    def failed(self, name: str, user: str, why: str) -> None:
        model = self._models.setdefault(name, _Model(everybody=_Dependency(name, self._clock, self._over)))
        own = self._own(model, user)
        model.failures[user] = min(model.failures.get(user, 0) + 1, MOST_OF_ONE_USER)
        if sum(model.failures.values()) >= MODEL_THRESHOLD:
            model.everybody.failed(why, sure=True)
        known = model.everybody.down_since is not None
        own.failed(why, sure=known, quiet=known)

    def worked(self, name: str, user: str) -> None:
        """It does for everybody, unless their own runs have shown something else."""
        model = self._models.get(name)
        if model is None:
            return
        model.everybody.worked()
        model.failures.clear()
        own = model.users.pop(user, None)
        if own is not None:
            own.worked()
        for each, dependency in list(model.users.items()):
            waited = dependency.down_since is None and dependency.breaker.state != "closed"
            if waited or dependency.quiet:
                del model.users[each]  # it was down for everybody, not for this user

    def excuses(self, name: str, user: str) -> bool:
        """Whether it is down for this user, and not for so long that tries are counted again."""
        model = self._models.get(name)
        if model is None:
            return False
        return model.everybody.excuses or (user in model.users and model.users[user].excuses)

    def down(self) -> dict[str, str]:
        found = {}
        for name, model in self._models.items():
            one = next((each for each in model.users.values() if each.down_since is not None), None)
            if model.everybody.down_since is not None:
                found[name] = model.everybody.breaker.last_failure
            elif one is not None:
                found[name] = f"for the runs of one user: {one.breaker.last_failure}"
        return found

    def _own(self, model: _Model, user: str) -> _Dependency:
        """The one that is known of this user, or a new one."""
        name = f"{model.everybody.name} (for one user)"
        own = model.users.pop(user, None) or _Dependency(name, self._clock, self._over)
        model.users[user] = own
        while len(model.users) > MAX_USERS:
            forgotten = next(iter(model.users))
            del model.users[forgotten]
            model.failures.pop(forgotten, None)
        return own

    def _waiting(self, model: _Model, user: str) -> None:
        """Others' failures make this user wait, too: one try after each pause."""
        if user not in model.users or model.users[user].breaker.state == "closed":
            breaker = self._own(model, user).breaker
            breaker.last_failure = model.everybody.breaker.last_failure
            breaker.open()
