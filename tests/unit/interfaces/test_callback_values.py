"""How many values a body of callbacks may have, and that to find that out holds up nobody, whatever the body is."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from application.turns import Turn
from interfaces.http.resources.callbacks import BYTES_AT_ONCE, MAX_VALUES, MOST_STRINGS, NDJSON, check_values, decoded
from interfaces.http_conventions.problems import Problem
from tests.support.async_run import run

MANY_MARKS = b"," * (MAX_VALUES + 1)


def test_marks_within_strings_are_no_values() -> None:
    run(check_values(bytearray(b'["' + MANY_MARKS + b'", "\\\\", "\\"' + MANY_MARKS + b'"]'), Turn()))


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
        run(check_values(bytearray(raw), Turn()))


def test_a_string_without_an_end_is_looked_through_once() -> None:
    async def scene() -> float:
        began = time.process_time()
        await check_values(bytearray(b'["' + MANY_MARKS + b'\\"' * 1_000_000), Turn())
        return time.process_time() - began

    assert run(scene()) < 2


def test_others_get_their_turn_while_many_strings_are_looked_through() -> None:
    async def scene() -> int:
        looking = check_values(bytearray(b'["' + MANY_MARKS + b'",' + b'"a",' * 150_000 + b"1]"), Turn())
        return await turns_during(looking)

    assert run(scene()) > 3


def test_others_get_their_turn_while_a_large_body_is_looked_through_and_decoded() -> None:
    async def scene() -> None:
        at_once = Turn(0)  # over after each step
        assert await turns_during(check_values(bytearray(5 * BYTES_AT_ONCE), at_once)) >= 5
        lines = bytearray(b'{"eventId": "1", "type": "message.stop"}\n' * 20)
        assert await turns_during(decoded(lines, NDJSON[0], at_once)) >= 20

    run(scene())


async def turns_during(work: Coroutine[Any, Any, Any]) -> int:
    """How many turns another task has until the work is done."""
    working, turns = asyncio.create_task(work), 0
    while not working.done():
        await asyncio.sleep(0)
        turns += 1
    await working
    return turns
