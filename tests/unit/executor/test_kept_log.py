"""What an executor keeps of its log, within bounds."""

import logging

import msgspec
import pytest

from application.executor_protocol import LogLines
from interfaces.executor.kept_log import KeptLog


def kept(**bounds: int) -> KeptLog:
    return KeptLog(**{"most_lines": 3, "most_bytes": 10_000} | bounds)


def say(log: KeptLog, *messages: str) -> None:
    for message in messages:
        log.handle(logging.LogRecord("l", logging.INFO, "f", 1, message, (), None))


def messages(lines: LogLines) -> list[str]:
    return [msgspec.json.decode(line)["message"] for line in lines.lines]


def test_the_last_lines_can_be_read_again_and_again() -> None:
    log = kept()
    say(log, "a", "b", "c", "d")

    assert messages(log.read()) == messages(log.read()) == ["b", "c", "d"]
    assert log.read().lost == 1


def test_each_line_is_taken_once_and_those_that_came_too_late_are_counted() -> None:
    log = kept()
    say(log, "a", "b")
    first = log.take()
    say(log, "c", "d", "e", "f")
    second, third = log.take(), log.take()

    assert (messages(first), first.lost) == (["a", "b"], 0)
    assert (messages(second), second.lost) == (["d", "e", "f"], 1)
    assert (messages(third), third.lost) == ([], 0)


@pytest.mark.parametrize("size", [100, 2000])
def test_long_lines_leave_room_for_fewer(size: int) -> None:
    log = kept(most_bytes=1000)
    say(log, *["x" * size] * 5)

    assert sum(map(len, log.read().lines)) <= 1000


def test_a_line_is_kept_without_secrets() -> None:
    log = kept()
    log.formatter.redact = lambda line: line.replace(b"hunter2", b"***")
    say(log, "the password is hunter2")

    assert messages(log.read()) == ["the password is ***"]
