"""Whose runs wait for a provider's model, and by whose word: one user's runs can't declare it down for others."""

import logging

import pytest

from application.outages import EXCUSED_FOR_S, MAX_USERS, MODEL_THRESHOLD, PAUSE_S, DependencyDown, Outages, model_of

MODEL = model_of("codex-cli")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def fail(outages: Outages, *users: str) -> None:
    for user in users:
        outages.models.failed(MODEL, user, "overloaded")


def waits(outages: Outages, user: str) -> bool:
    try:
        outages.models.attempt(MODEL, user)
    except DependencyDown:
        return True
    return False


def test_failures_in_a_row_of_one_user_hold_up_that_user_alone() -> None:
    outages = Outages(Clock())
    fail(outages, *["mallory"] * (MODEL_THRESHOLD - 1))
    assert not waits(outages, "mallory")
    fail(outages, *["mallory"] * 50)
    assert waits(outages, "mallory")
    assert outages.models.excuses(MODEL, "mallory")
    assert not waits(outages, "ada")
    assert not outages.models.excuses(MODEL, "ada")
    assert outages.down() == {MODEL: "for the runs of one user: overloaded"}


def test_one_accident_of_another_user_does_not_make_it_an_outage_for_all() -> None:
    outages = Outages(Clock())
    fail(outages, *["mallory"] * 50, "ada")
    assert not outages.models.excuses(MODEL, "ada")
    assert not waits(outages, "grace")


def test_failures_in_a_row_of_several_users_hold_up_everybody() -> None:
    outages = Outages(Clock())
    fail(outages, *(f"user {n}" for n in range(MODEL_THRESHOLD)))
    assert outages.models.excuses(MODEL, "user 0")
    assert waits(outages, "grace")
    assert outages.down() == {MODEL: "overloaded"}


def test_who_waits_for_others_tries_after_each_pause_whatever_the_others_do() -> None:
    clock = Clock()
    outages = Outages(clock)
    fail(outages, *["mallory"] * 3, *["eve"] * 3)
    assert waits(outages, "ada")
    assert waits(outages, "mallory")
    clock.now += PAUSE_S
    assert not waits(outages, "mallory")
    assert not waits(outages, "ada")
    assert waits(outages, "ada")
    fail(outages, "ada")
    assert outages.models.excuses(MODEL, "ada")
    assert waits(outages, "ada")


def test_once_it_works_for_one_nobody_waits_for_others_failures() -> None:
    outages = Outages(Clock())
    fail(outages, *(f"user {n}" for n in range(MODEL_THRESHOLD)))
    assert waits(outages, "ada")
    outages.models.worked(MODEL, "grace")
    assert not waits(outages, "ada")
    assert outages.down() == {}
    outages.models.worked(MODEL, "user 4")
    fail(outages, "user 4")
    assert not waits(outages, "user 4")


def test_one_user_s_success_ends_no_outage_that_another_one_has_seen_alone() -> None:
    outages = Outages(Clock())
    fail(outages, *["ada"] * MODEL_THRESHOLD)
    outages.models.worked(MODEL, "mallory")
    assert outages.models.excuses(MODEL, "ada")


def test_an_outage_for_all_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages(Clock())
    fail(outages, *(f"user {n % 50}" for n in range(200)))
    outages.models.worked(MODEL, "ada")
    said = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert said == [
        "model of codex-cli is down, what needs it waits: overloaded",
        "model of codex-cli works again, after 0 s",
    ]


def test_after_a_day_tries_count_again() -> None:
    clock = Clock()
    outages = Outages(clock)
    fail(outages, *["ada"] * MODEL_THRESHOLD)
    clock.now += EXCUSED_FOR_S
    fail(outages, "ada")
    assert not outages.models.excuses(MODEL, "ada")


def test_users_beyond_a_bound_are_forgotten() -> None:
    outages = Outages(Clock())
    fail(outages, *["ada"] * MODEL_THRESHOLD)
    for n in range(MAX_USERS):
        outages.models.worked(MODEL, "grace")
        fail(outages, f"user {n}")
    assert not outages.models.excuses(MODEL, "ada")
