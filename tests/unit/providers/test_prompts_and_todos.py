"""Messages as one prompt; todo items without ids."""

import pytest

from domain.errors import InvalidInput
from domain.run.values import Message, RunSpec
from infrastructure.executor.providers.prompts import prompt_of
from infrastructure.executor.providers.todo_lists import snapshot


def spec(*messages, resume=""):
    spoken = tuple(Message(role=role, content=content) for role, content in messages)
    return RunSpec(session_id="s", user_login_name="u", provider="p", messages=spoken, resume_session_id=resume)


def test_system_messages_and_the_users_are_kept_apart():
    prompt = prompt_of(spec(("system", "be kind"), ("user", "hello"), ("system", "be brief"), ("user", "again")))
    assert (prompt.system, prompt.text) == ("be kind\n\nbe brief", "hello\n\nagain")


def test_a_new_conversation_is_told_what_was_said_before_and_a_resumed_one_knows():
    messages = (("user", "one"), ("assistant", "two"), ("user", "three"))
    told = prompt_of(spec(*messages)).text
    assert "user: one" in told
    assert "assistant: two" in told
    assert told.endswith("three")
    assert prompt_of(spec(*messages, resume="id")).text == "three"


@pytest.mark.parametrize("messages", [[], [("system", "x")], [("user", "x"), ("assistant", "y")], [("user", " ")]])
def test_the_last_word_is_the_users(messages):
    with pytest.raises(InvalidInput) as refused:
        prompt_of(spec(*messages))
    assert refused.value.field == "messages"


def test_a_todo_item_is_known_by_its_words():
    first = snapshot([("read", "completed"), ("write", "in_progress"), ("read", "pending")]).todos
    then = snapshot([("write", "completed"), ("read", "completed")]).todos
    assert [(todo.content, todo.status, todo.order) for todo in first] == [
        ("read", "done", 0), ("write", "doing", 1), ("read", "todo", 2),
    ]  # fmt: skip
    assert len({todo.todo_id for todo in first}) == 3
    assert then[0].todo_id == first[1].todo_id
    assert then[1].todo_id == first[0].todo_id
