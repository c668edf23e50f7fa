"""Conditions: what they say of a document, and that nothing else than conditions is taken."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from projections.condition import Condition

DOCUMENT = {
    "state": "running",
    "attempt": 2,
    "text": "All tests passed",
    "error": None,
    "exported": False,
    "tools": {"started": 5, "failed": 1},
    "warnings": [{"code": "resume_unsupported"}],
    "openQuestions": ["q-1"],
    "todos": {"t1": {"status": "done", "order": 0}, "t 2": {"status": "doing", "order": 1}},
}


@pytest.mark.parametrize(
    "text",
    [
        'state == "running"',
        "state != 'failed' and attempt == 2",
        "attempt >= 2 and attempt < 3",
        "1 < attempt < 3",
        "tools.failed > 0",
        'tools["failed"] == 1',
        'todos["t 2"].status == "doing"',
        'any(todos, status == "done" and order < 1)',
        'warnings[0].code == "resume_unsupported"',
        'warnings[-1]["code"] in ["x", "resume_unsupported"]',
        '"tests" in text and "failed" not in text',
        'lower(text) == "all tests passed"',
        "len(openQuestions) == 1 and len(error) == 0",
        '"q-1" in openQuestions',
        '"t1" in todos',
        "error == null",
        "not exported and exported == false",
        "nothing.there == null",
        "-tools.started < 0",
        "warnings[7] == null",
        "openQuestions",
    ],
)
def test_what_holds(text: str) -> None:
    assert Condition(text).holds(DOCUMENT)
    assert not Condition(f"not ({text})").holds(DOCUMENT)


@pytest.mark.parametrize(
    "text",
    [
        "attempt == '2'",
        "attempt < 'z'",
        "exported == 0",
        "state > 1",
        "error < 1",
        "state in tools",
        "1 in text",
        "-state",
        "any(text, x)",
    ],
)
def test_values_of_different_kinds_neither_equal_nor_order(text: str) -> None:
    assert not Condition(text).holds(DOCUMENT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "state ==",
        "state = 1",
        "__import__('os').system('true')",
        "state.upper()",
        "len(text, 1)",
        "any(todos)",
        "lambda: 1",
        "[x for x in todos]",
        "{1: 2}",
        "1 + 1",
        "9 ** 9 ** 9",
        "f'{state}'",
        "b'x' == state",
        "len(*todos)",
        "state is null",
        "a if b else c",
        "(x := 1)",
        "...",
        "state == 'x'; attempt",
        "(" * 900,
        "x" * 1001,
        "'a\0b' == state",
    ],
)
def test_what_is_no_condition_is_refused_with_the_field_where(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Condition(text).holds(DOCUMENT)
    assert refused.value.field == "where"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("todos.t1.status = 'doing'", "where: can't be read: equality is `==`, not `=`: \"= 'doing'\""),
        ("state ==", "where: can't be read: invalid syntax at the end"),
        ("state == 'x' 7", "at '7'"),
    ],
)
def test_what_can_not_be_read_is_shown(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Condition(text)
    assert says in str(refused.value)


def test_a_misspelt_field_is_named_with_those_that_there_are() -> None:
    Condition('any(todos, nonesuch == 1) and state == "x"').check_fields(DOCUMENT)
    with pytest.raises(InvalidInput, match=r"no field 'stat'; there are attempt, .*, state"):
        Condition('stat == "x"').check_fields(DOCUMENT)


def test_a_deep_condition_is_answered() -> None:
    assert Condition("not " * 200 + 'state == "running"').holds(DOCUMENT)


@given(st.text(max_size=60))
def test_any_text_is_answered_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        Condition(text).holds(DOCUMENT)


def test_it_tells_which_fields_it_reads() -> None:
    assert Condition('state == "x" and tools.failed > len(todos)').fields == {"state", "tools", "todos"}
