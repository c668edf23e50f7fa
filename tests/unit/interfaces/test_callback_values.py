"""How many values a body of callbacks may have, and that to find that out holds up nobody, whatever the body is."""

import asyncio
import time

import pytest

from interfaces.http.resources.callbacks import MAX_VALUES, MOST_STRINGS, check_values
from interfaces.http_conventions.problems import Problem
from tests.support.async_run import run

MANY_MARKS = b"," * (MAX_VALUES + 1)


def test_marks_within_strings_are_no_values() -> None:
    run(check_values(bytearray(b'["' + MANY_MARKS + b'", "\\\\", "\\"' + MANY_MARKS + b'"]')))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"[" + MANY_MARKS + b"]", id="values"),
        pytest.param(b'["' + MANY_MARKS + b'",' + b'""' * (MOST_STRINGS + 2), id="strings without anything between"),
        pytest.param(b'["' + MANY_MARKS + b'"' + b"[" * (MAX_VALUES + 1), id="beside a string with as many marks"),
    ],
)
def test_a_body_of_too_many_values_is_refused(raw: bytes) -> None:
    with pytest.raises(Problem, match="more than 200,000 values"):
        run(check_values(bytearray(raw)))


def test_a_string_without_an_end_is_looked_through_once() -> None:
    async def scene() -> float:
        began = time.process_time()
        await check_values(bytearray(b'["' + MANY_MARKS + b'\\"' * 1_000_000))
        return time.process_time() - began

    assert run(scene()) < 2


def test_others_get_their_turn_while_many_strings_are_looked_through() -> None:
    async def scene() -> int:
        looking = asyncio.create_task(check_values(bytearray(b'["' + MANY_MARKS + b'",' + b'"a",' * 150_000 + b"1]")))
        turns = 0
        while not looking.done():
            await asyncio.sleep(0)
            turns += 1
        await looking
        return turns

    assert run(scene()) > 3
