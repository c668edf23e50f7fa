"""What repairs itself says so: a line each with its ids, few lines of many, nothing of nothing, and a counter."""

import logging
from typing import Any

import pytest

from application.command_context import CommandContext
from application.observation.instruments import REPAIRS, Instrument
from application.repairs import kinds as module
from application.repairs.kinds import KINDS, LOST_QUEUE_PLACE, LOST_QUEUE_ROW, OUTAGE, STALE_RUN
from application.repairs.said import MOST_LINES, Found, Repairs, runs_of
from application.trace_context import w3c_trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Counted:
    def __init__(self) -> None:
        self.calls: list[tuple[Instrument, tuple[str, ...], float, str]] = []

    def add(self, instrument: Instrument, *labels: str, value: float = 1.0, trace_id: str = "") -> None:
        self.calls.append((instrument, labels, value, trace_id))


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO)

    def members() -> list[dict[str, Any]]:
        return [vars(record) | {"message": record.getMessage()} for record in caplog.records]

    return members


def test_a_repair_is_one_line_with_what_was_found_what_was_done_and_where_to_look(counted: Counted, lines: Any) -> None:
    found = Found(run_id="r", trace_id=TRACE, about={"takenFrom": "w1", "leaseGeneration": 2})
    Repairs(counted).made(STALE_RUN, found, command_id="takeover/r/2")

    (line,) = lines()
    told = ("levelname", "message", "repair", "runId", "traceId", "commandId", "takenFrom", "leaseGeneration", "look")
    assert {name: line[name] for name in told} == {
        "levelname": "WARNING",
        "message": STALE_RUN.message,
        "repair": "stale_run",
        "runId": "r",
        "traceId": TRACE,
        "commandId": "takeover/r/2",
        "takenFrom": "w1",
        "leaseGeneration": 2,
        "look": STALE_RUN.look,
    }
    assert "sessionId" not in line
    assert counted.calls == [(REPAIRS, ("stale_run",), 1, TRACE)]


def test_a_round_that_repairs_ten_thousand_names_the_first_and_counts_the_rest(counted: Counted, lines: Any) -> None:
    of_many = runs_of([f"r{n}" for n in range(10_000)])
    Repairs(counted).made(LOST_QUEUE_ROW, *of_many, trace_id=TRACE, command_id="schedule/restore/1")

    *named, rest = lines()
    assert [line["runId"] for line in named] == [f"r{n}" for n in range(MOST_LINES)]
    assert {line["commandId"] for line in (*named, rest)} == {"schedule/restore/1"}
    assert rest["message"] == f"and 9990 more: {LOST_QUEUE_ROW.message}"
    assert (rest["repair"], rest["more"], rest["traceId"]) == ("lost_queue_row", 9990, TRACE)
    assert counted.calls == [(REPAIRS, ("lost_queue_row",), 10_000, TRACE)]


def test_a_round_that_found_nothing_says_and_counts_nothing(counted: Counted, lines: Any) -> None:
    Repairs(counted).made(STALE_RUN, trace_id=TRACE)

    assert (lines(), counted.calls) == ([], [])


def test_what_is_ordinary_is_no_warning(counted: Counted, lines: Any) -> None:
    Repairs(counted).made(LOST_QUEUE_PLACE, Found(run_id="r"))

    assert [line["levelname"] for line in lines()] == ["INFO"]


def test_a_message_names_what_the_line_is_about(counted: Counted, lines: Any) -> None:
    about = {"dependency": "the {store}", "seconds": 12}
    Repairs(counted).made(OUTAGE, Found(about=about))

    assert [(line["message"], line["dependency"]) for line in lines()] == [
        ("the {store} works again, after 12 s", "the {store}")
    ]


def test_a_caller_s_own_trace_id_stays_as_it_is_in_the_line_and_an_exemplar_has_its_hash(
    counted: Counted, lines: Any
) -> None:
    Repairs(counted).made(STALE_RUN, Found(run_id="r", trace_id="ticket-17"))

    assert [line["traceId"] for line in lines()] == ["ticket-17"]
    assert counted.calls[0][-1] == w3c_trace_id("ticket-17")


def test_a_round_of_the_clock_has_the_trace_that_its_events_have(counted: Counted, lines: Any) -> None:
    context = CommandContext(actor="schedule", command_id="schedule/restore/1", correlation_id="schedule/restore/1")
    Repairs(counted).of_round(STALE_RUN, context, Found(run_id="r"))

    (line,) = lines()
    assert (line["commandId"], line["traceId"]) == ("schedule/restore/1", w3c_trace_id("schedule/restore/1"))
    assert counted.calls[0][-1] == w3c_trace_id("schedule/restore/1")


def test_the_kinds_are_all_there_are_and_each_is_one() -> None:
    declared = [each for each in vars(module).values() if isinstance(each, module.Repair)]

    assert sorted(each.kind for each in KINDS) == sorted({each.kind for each in declared})
