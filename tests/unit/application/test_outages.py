"""What is down: when it counts as down, who may try, what is excused, and that it is said once."""

import logging

import pytest

from application.effects.dependencies import blames_store, outage_of
from application.outages import DOCKER, EXCUSED_FOR_S, OBJECT_STORE, PAUSE_S, DependencyDown, Outages
from application.ports.effect_handler import EffectFailed
from application.ports.executor import ExecutorError
from application.ports.object_store import ObjectStoreRefused, ObjectStoreUnavailable
from application.ports.worker_runtime import RuntimeDown, RuntimeUnavailable


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_works_lets_everybody_try_and_excuses_nobody() -> None:
    outages = Outages()
    outages.attempt(DOCKER, OBJECT_STORE)
    assert not outages.failed(OBJECT_STORE, "one worker can't reach it")
    outages.worked(OBJECT_STORE)
    assert outages.down() == {}


@pytest.mark.parametrize(("name", "failures"), [(DOCKER, 1), (OBJECT_STORE, 3)])
def test_failures_in_a_row_mean_that_it_is_down_and_are_excused_from_then_on(name: str, failures: int) -> None:
    outages = Outages(Clock())
    assert [outages.failed(name, "why") for _ in range(failures)] == [False] * (failures - 1) + [True]
    assert outages.down() == {name: "why"}
    with pytest.raises(DependencyDown) as refused:
        outages.attempt(name)
    assert str(refused.value) == f"{name} is down: why"
    assert refused.value.retry_in_s == PAUSE_S
    outages.attempt("anything else")


def test_after_each_pause_one_tries_and_what_it_shows_decides() -> None:
    clock = Clock()
    outages = Outages(clock)
    outages.failed(DOCKER, "away")
    clock.now += PAUSE_S
    outages.attempt(DOCKER)
    with pytest.raises(DependencyDown):
        outages.attempt(DOCKER)
    assert outages.failed(DOCKER, "still away")
    clock.now += PAUSE_S
    outages.attempt(DOCKER)
    clock.now += PAUSE_S
    outages.attempt(DOCKER)  # the one before has told nothing
    outages.worked(DOCKER)
    for _ in range(3):
        outages.attempt(DOCKER)
    assert outages.down() == {}


def test_an_outage_is_said_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    outages = Outages(clock)
    for _ in range(20):
        outages.failed(DOCKER, "away")
    clock.now += 60
    outages.worked(DOCKER)
    outages.worked(DOCKER)
    assert [record.getMessage() for record in caplog.records] == [
        "docker is down, what needs it waits: away",
        "docker works again, after 60 s",
    ]


def test_after_a_day_tries_count_again() -> None:
    clock = Clock()
    outages = Outages(clock)
    assert outages.failed(DOCKER, "away")
    clock.now += EXCUSED_FOR_S
    assert not outages.failed(DOCKER, "away")
    assert outages.down() == {DOCKER: "away"}


def executor_error(reason: str) -> ExecutorError:
    return ExecutorError("no", kind="http", path="/", attempt=4, max_attempts=4, status=503, reason=reason)


def chained(also: Exception) -> EffectFailed:
    """As an effect raises it when a step of its own failure fails, too."""
    failed = EffectFailed("both")
    failed.__cause__ = also
    return failed


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (RuntimeDown("no daemon"), DOCKER),
        (chained(RuntimeDown("no daemon")), DOCKER),
        (ObjectStoreUnavailable("away"), OBJECT_STORE),
        (executor_error("object_store_unavailable"), ""),
        (RuntimeUnavailable("another daemon"), ""),
        (ObjectStoreRefused("wrong key"), ""),
        (executor_error("bucket_missing"), ""),
        (executor_error("internal"), ""),
    ],
)
def test_which_errors_mean_that_something_is_down(error: Exception, name: str) -> None:
    assert outage_of(error) == name


@pytest.mark.parametrize("error", [executor_error("object_store_unavailable"), executor_error("internal")])
def test_which_errors_are_an_executor_s_word_about_the_store(error: ExecutorError) -> None:
    assert blames_store(error) == blames_store(chained(error)) == (error.reason == "object_store_unavailable")
