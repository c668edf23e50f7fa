"""Logs are JSON lines that carry the ids of what they are about."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from application.diagnostic_context import diagnostic_context
from infrastructure.redaction import Redactor
from interfaces.logging import configure_logging, keep_out_of_logs
from tests.support.async_run import run

log = logging.getLogger("tests.lines")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def _decoded(lines: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_a_line_has_its_time_level_and_message(lines: io.StringIO) -> None:
    log.warning("%s went\nwrong", "it", extra={"count": 3, "odd": object})
    (line,) = _decoded(lines)
    assert line["level"] == "warning"
    assert line["message"] == "it went\nwrong"
    assert line["time"].endswith("Z")
    assert line["count"] == 3
    assert line["logger"] == "tests.lines"


def test_an_exception_is_one_line(lines: io.StringIO) -> None:
    try:
        int("no\ngood")
    except ValueError:
        log.exception("failed")
    (line,) = _decoded(lines)
    assert "ValueError: invalid literal" in line["exception"]
    assert "Traceback" in line["exception"]


def test_ids_are_bound_to_a_task_and_what_it_starts(lines: io.StringIO) -> None:
    async def one(run_id: str) -> None:
        with diagnostic_context(run_id=run_id, trace_id=f"t-{run_id}"):
            await asyncio.sleep(0)
            with diagnostic_context(effect_id="e"):
                log.info("inside")
            log.info("outside")

    async def both() -> None:
        await asyncio.gather(one("1"), one("2"))
        log.info("after")

    run(both())
    told = [(line.get("runId"), line.get("traceId"), line.get("effectId"), line["message"]) for line in _decoded(lines)]
    assert sorted(told[:-1], key=str) == [
        ("1", "t-1", "e", "inside"),
        ("1", "t-1", None, "outside"),
        ("2", "t-2", "e", "inside"),
        ("2", "t-2", None, "outside"),
    ]
    assert told[-1] == (None, None, None, "after")


def test_debug_is_left_out_and_lone_surrogates_do_not_break_a_line(lines: io.StringIO) -> None:
    log.debug("nothing")
    log.info("odd \udcff name", extra={"path": "\udcff"})
    (line,) = _decoded(lines)
    assert line["message"].startswith("odd ")


def test_a_secret_is_kept_out_of_messages_ids_and_exceptions(lines: io.StringIO) -> None:
    secret = "sk-planted-0123456789"
    keep_out_of_logs(Redactor([secret]).json)
    refused = ValueError(f"refused: {secret}")
    log.error("with %s", secret, extra={"key": secret, "cut": secret[:-3]}, exc_info=refused)

    (line,) = _decoded(lines)
    assert (line["message"], line["key"], line["cut"]) == ("with [secret]", "[secret]", "[secret]")
    assert "refused: [secret]" in line["exception"]
    assert "planted" not in lines.getvalue()
