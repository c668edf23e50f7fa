"""Lines of any CLI, in any chunks, within bounds."""

import pytest

from infrastructure.executor.providers.line_framing import Line, LineFraming


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_come_out_whole_however_they_are_cut(size):
    text = b'{"a":1}\r\n\n{"b":"\xc3\xa4"}\nno end'
    framing = LineFraming()
    lines = [line for at in range(0, len(text), size) for line in framing.feed(text[at : at + size])]
    lines += framing.finish()
    assert lines == [Line(b'{"a":1}'), Line(b""), Line('{"b":"ä"}'.encode()), Line(b"no end")]


def test_a_line_over_the_bound_is_cut_and_the_next_one_is_whole():
    framing = LineFraming(limit=10)
    lines = [line for chunk in (b"x" * 7, b"x" * 7, b"\nnext\n") for line in framing.feed(chunk)]
    assert lines == [Line(b"x" * 10, cut=True), Line(b"next")]


def test_nothing_left_is_no_line():
    framing = LineFraming()
    assert [*framing.feed(b"a\n"), *framing.finish()] == [Line(b"a")]
