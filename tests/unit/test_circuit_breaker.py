"""When an executor's circuit opens, and when it closes again."""

import pytest

from application.circuit_breaker import CircuitBreaker, CircuitOpen


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(threshold=3, pause_s=10, clock=clock)


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.permit().failed()


def test_it_opens_after_failures_in_a_row_only(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.permit().succeeded()
    fail(breaker, 2)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"
    with pytest.raises(CircuitOpen) as refused:
        breaker.permit()
    assert refused.value.retry_in_s == 10


def test_after_the_pause_one_probe_decides(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    assert breaker.state == "half_open"
    probe = breaker.permit()
    with pytest.raises(CircuitOpen):
        breaker.permit()
    probe.failed()
    assert breaker.state == "open"
    clock.now += 10
    breaker.permit().succeeded()
    assert breaker.state == "closed"
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_an_abandoned_probe_makes_room_for_the_next(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    breaker.permit().abandoned()
    breaker.permit().succeeded()
    assert breaker.state == "closed"


def test_attempts_from_before_do_not_prolong_the_pause(breaker: CircuitBreaker, clock: Clock) -> None:
    early = breaker.permit()
    fail(breaker, 3)
    clock.now += 9
    early.failed()
    clock.now += 1
    assert breaker.state == "half_open"


def test_a_late_success_closes_it(breaker: CircuitBreaker) -> None:
    early = breaker.permit()
    fail(breaker, 3)
    early.succeeded()
    assert breaker.state == "closed"


def test_only_the_first_word_of_a_permit_counts(breaker: CircuitBreaker) -> None:
    permit = breaker.permit()
    permit.succeeded()
    for _ in range(5):
        permit.failed()
    assert breaker.state == "closed"
