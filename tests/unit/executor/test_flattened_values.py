"""What is nested too deeply for the log: the executor makes a text of it, and what comes all the same is a warning."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from application.executor_protocol import JournalEntry
from application.runs import agent
from domain.event import MAX_PAYLOAD_DEPTH, Event, encode, nested_deeper
from domain.run.events import HumanLoopRequested, RunWarning, ToolEnded, ToolStarted
from infrastructure.executor.runs.flattened_values import LEFT_OUT, flattened


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda value: ToolStarted(tool_id="c", name="n", input=value), "input"),
        (lambda value: ToolEnded(tool_id="c", output=value), "output"),
        (lambda value: HumanLoopRequested(question_id="q", default_answer=value), "default_answer"),
    ],
)
def test_a_value_with_too_many_levels_is_the_text_of_its_json(make: Any, field: str) -> None:
    shallow: Event = make(nested(MAX_PAYLOAD_DEPTH - 2))
    assert flattened(shallow) is shallow
    assert not nested_deeper(encode(shallow), MAX_PAYLOAD_DEPTH)
    deep = flattened(make(nested(MAX_PAYLOAD_DEPTH)))
    assert json.loads(getattr(deep, field)) == nested(MAX_PAYLOAD_DEPTH)
    assert getattr(flattened(make(nested(100_000))), field) == LEFT_OUT


def test_an_entry_that_is_nested_too_deeply_is_recorded_as_a_warning() -> None:
    payload = msgspec.json.encode({"toolId": "c", "output": nested(MAX_PAYLOAD_DEPTH)})
    entry = JournalEntry(
        n=1, boot_id="b", attempt=1, type="tool.end", payload=msgspec.Raw(payload), ts=datetime(2026, 1, 1, tzinfo=UTC)
    )
    event = agent._event_of(entry)
    assert isinstance(event, RunWarning)
    assert (event.warning.code, "deeper than" in event.warning.message) == ("unreadable_journal_entry", True)
