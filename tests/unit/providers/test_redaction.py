"""No credential of a model gets into an event, however it is cut."""

import pytest

from domain.run.events import MessageDelta, MessageStopped, ReasoningDelta, RunAgentFinished, RunWarning, ToolEnded
from domain.run.values import RunError, Warn
from infrastructure.providers.redaction import RedactedEvents, Redactor, secrets_in

SECRET = "sk-ant-planted-0123456789"
QUOTED = 'pass"word\\with escapes'


def told(events, *secrets):
    redacted = RedactedEvents(Redactor(secrets or [SECRET]))
    return [event for given in events for event in redacted.take(given)] + list(redacted.rest())


def text_of(events):
    return "".join(event.text for event in events)


@pytest.mark.parametrize("size", [1, 2, 5, 7, 24, 25, 26, 100])
def test_a_secret_is_found_in_whatever_pieces_it_is_streamed(size):
    text = f"key={SECRET}, again {SECRET}! sk-ant-plan is not all of it"
    pieces = [MessageDelta(text=text[start : start + size]) for start in range(0, len(text), size)]
    assert text_of(told(pieces)) == "key=[secret], again [secret]! sk-ant-plan is not all of it"


def test_what_may_begin_a_secret_waits_for_no_longer_than_the_next_event():
    half = MessageDelta(text="see sk-ant-pl")
    assert told([half, MessageStopped()]) == [
        MessageDelta(text="see "),
        MessageDelta(text="sk-ant-pl"),
        MessageStopped(),
    ]
    assert told([half, ReasoningDelta(text="x")])[-1] == ReasoningDelta(text="x")


def test_a_warning_in_the_middle_of_a_secret_does_not_let_it_out():
    warned = RunWarning(warning=Warn(code="not_understood", message=f"new: {SECRET}"))
    first, last = MessageDelta(text=f"see {SECRET[:9]}"), MessageDelta(text=f"{SECRET[9:]}.")
    clean = told([first, warned, last])
    assert text_of(event for event in clean if isinstance(event, MessageDelta)) == "see [secret]."
    assert [event.warning.message for event in clean if isinstance(event, RunWarning)] == ["new: [secret]"]


def test_ordinary_text_is_passed_on_as_it_comes():
    redacted = RedactedEvents(Redactor([SECRET]))
    assert list(redacted.take(MessageDelta(text="hello "))) == [MessageDelta(text="hello ")]


def test_tools_and_errors_are_searched_through_and_through():
    tool = ToolEnded(tool_id="t", output={"env": [f"A={SECRET}", 3], SECRET: None})
    failed = RunAgentFinished(outcome="failed", error=RunError(error_class="cli_crashed", message=f"bad key {SECRET}"))
    clean_tool, clean_end = told([tool, failed])
    assert clean_tool.output == {"env": ["A=[secret]", 3], "[secret]": None}
    assert clean_end.error.message == "bad key [secret]"


def test_characters_that_json_escapes_hide_nothing():
    (clean,) = told([ToolEnded(tool_id="t", output=f"<{QUOTED}>")], QUOTED)
    assert clean.output == "<[secret]>"


def test_a_secret_within_another_leaves_no_rest():
    (clean,) = told([ToolEnded(tool_id="t", output=SECRET + "-longer")], SECRET, SECRET + "-longer")
    assert clean.output == "[secret]"


def test_secrets_are_the_credentials_and_the_passwords_in_urls():
    variables = {"KEY": SECRET, "BASE": "https://u:hunter2hunter2@proxy/v1", "MODEL": "opus", "SHORT_KEY": "abc"}
    assert secrets_in(variables, ["KEY", "SHORT_KEY"]) == ("hunter2hunter2", SECRET)
