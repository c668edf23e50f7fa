"""Text and lines to Fleetlog, told apart however the output is cut into chunks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.run.events import RunWarning, ToolEnded, ToolStarted
from infrastructure.executor.providers.line_framing import MAX_LINE_BYTES, Line
from infrastructure.executor.providers.scripted.lines import OutputSplitter, Text, event_of

pieces = st.one_of(
    st.sampled_from(
        [b"::fleetlog {}\n", b"::fleetlog", b"::", b"\n", b"text\n", b"a ::fleetlog x\n", b"\r\n", b"::fleetlog "]
    ),
    st.text(max_size=5).map(str.encode),
    st.binary(max_size=5),
)


def split(chunks):
    splitter = OutputSplitter()
    parts = [part for chunk in chunks for part in splitter.feed(chunk)] + list(splitter.finish())
    joined = []
    for part in parts:
        if isinstance(part, Text) and joined and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + part.text)
        else:
            joined.append(part)
    return joined


@given(st.lists(pieces, max_size=12), st.lists(st.integers(0, 60), max_size=8))
def test_how_the_output_is_cut_changes_nothing(content, cuts):
    whole = b"".join(content)
    marks = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    chunks = [whole[start:end] for start, end in pairwise(marks)]
    assert split(chunks) == split([whole])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), max_size=10))
def test_what_is_no_line_to_fleetlog_is_text_unchanged(lines):
    text = "\n".join(line.replace("::", "") for line in lines)
    assert "".join(part.text for part in split([text.encode()])) == text


def test_text_is_passed_on_before_its_line_ends():
    assert list(OutputSplitter().feed(b"no end yet")) == [Text("no end yet")]
    assert list(OutputSplitter().feed(b"::fleet")) == []


def test_a_line_to_fleetlog_begins_a_line():
    assert split([b"x ::fleetlog {}\n::fleetlog {}\r\nrest"]) == [Text("x ::fleetlog {}\n"), Line(b"{}"), Text("rest")]


def test_a_character_cut_in_two_is_whole_again():
    assert split([b"\xc3", b"\xbc"]) == [Text("ü")]
    assert split([b"\xc3"]) == [Text("�")]


def test_a_line_without_an_end_is_cut():
    splitter = OutputSplitter()
    list(splitter.feed(b"::fleetlog "))
    for _ in range(10):
        assert list(splitter.feed(b"x" * 1_000_000)) == []
    [line, text] = list(splitter.feed(b"\nafter"))
    assert (len(line.content), line.cut, text) == (MAX_LINE_BYTES, True, Text("after"))


@pytest.mark.parametrize("levels", [1_000, 100_000])
def test_a_value_that_no_decoder_can_follow_is_the_text_of_its_json(levels):
    deep = "[" * levels + '"]é"' + "]" * levels
    line = f'{{"type": "tool.end", "toolId": "t", "ok": true, "output": {deep}, "durationMs": 7}}'
    assert event_of(Line(line.encode())) == ToolEnded(tool_id="t", ok=True, output=deep, duration_ms=7)
    both = f'{{"type": "tool.start", "input": {{"a": {deep}, "b": [1]}}, "toolId": "t", "name": "n"}}'
    assert event_of(Line(both.encode())) == ToolStarted(tool_id="t", name="n", input=f'{{"a": {deep}, "b": [1]}}')


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b"[" * 9_000 + b"]" * 9_000,
        b'{"type": "tool.end", "output": ' + b'{"a":' * 9_000,
        b'{"type": "tool.end", "toolId": "t", "output": ' + b"[" * 140_000 + b"]" * 140_000 + b"}",
        b"]" * 9,
    ],
)
def test_what_is_deep_and_no_object_or_longer_than_a_payload_is_malformed(line):
    event = event_of(Line(line))
    assert isinstance(event, RunWarning)
    assert event.warning.code == "malformed_line"
