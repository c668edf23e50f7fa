"""Answers of people, in the forms in which they come."""

import pytest

from infrastructure.executor.providers.human_answers import QuestionSet, chosen_labels, permission_answer


@pytest.mark.parametrize("answer", ["allow", "Allow", "yes", True, {"decision": "allow"}, {"behavior": "allow"}])
def test_a_permission_is_granted(answer):
    assert permission_answer(answer).decision == "once"


@pytest.mark.parametrize("answer", ["allow for session", "always", {"decision": "allow for session"}])
def test_a_permission_is_granted_for_the_session(answer):
    assert permission_answer(answer).decision == "session"


@pytest.mark.parametrize("answer", ["deny", False, {"decision": "deny"}, None, 3, [], {}, "maybe", "allowance"])
def test_all_else_denies(answer):
    assert permission_answer(answer).decision == "deny"


def test_a_denial_in_words_tells_them_to_the_agent():
    assert permission_answer("use the other file").message == "use the other file"
    assert permission_answer({"decision": "deny", "message": "not today"}).message == "not today"
    assert permission_answer("no").message == ""


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ("red", ["red"]), (["red", "blue"], ["red", "blue"]), ({"answers": ["red"]}, ["red"]),
        ({"answer": "red"}, ["red"]), (7, ["7"]), ({"x": 1}, ['{"x":1}']),
    ],
)  # fmt: skip
def test_a_question_is_answered_by_labels_or_words(answer, labels):
    assert chosen_labels(answer) == labels


def test_questions_that_came_together_are_answered_together():
    asked = QuestionSet("q", 2)
    assert asked.ids == ("q/1", "q/2")
    assert asked.answer("q/2", "b") is None
    assert asked.answer("q/1", "a") == [["a"], ["b"]]
    assert QuestionSet("q", 1).ids == ("q",)
