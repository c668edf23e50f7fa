"""A conversation as a transcript: all of it in its order, bounded, and honest about what is left out."""

from collections.abc import Iterable

import msgspec

from domain.event import Event
from domain.run import events as e
from domain.run.transcript import MAX_BYTES, Transcript, TranscriptBuilder
from domain.run.values import Message, Option, OutputRef, RunError, Todo
from tests.support.runs import QUEUED_NOW, RETRY_AT, SPEC, error


def user(text: str) -> Message:
    return Message(role="user", content=text)


def agent(text: str) -> Message:
    return Message(role="assistant", content=text)


def asked(*messages: Message) -> e.RunQueued:
    return e.RunQueued(spec=msgspec.structs.replace(SPEC, messages=messages))


def transcript_of(events: Iterable[Event]) -> Transcript:
    builder = TranscriptBuilder()
    for event in events:
        builder.add(event)
    return builder.transcript()


def test_who_said_what_and_which_tools_were_used():
    found = transcript_of(
        [
            asked(Message(role="system", content="be brief"), user("make it")),
            e.MessageDelta(text="I "),
            e.MessageDelta(text="noise", channel="stderr"),
            e.MessageDelta(text="begin"),
            e.ReasoningDelta(text="hm"),
            e.ToolStarted(tool_id="t", name="Bash", input={"command": "ls"}),
            e.ToolEnded(tool_id="t", output="a.txt"),
            e.ToolEnded(tool_id="u", ok=False, output="no"),
            e.ToolEnded(tool_id="v", output_ref=OutputRef(sha256="0", size=7, key="k")),
            e.HumanLoopRequested(question_id="q", prompt="Deploy?", options=(Option(label="yes"), Option(label="no"))),
            e.HumanLoopResolved(question_id="q", answer="yes"),
            e.TodosReplaced(todos=(Todo(todo_id="1", content="test", status="doing", order=2),)),
            e.TodoUpdated(todo=Todo(todo_id="2", content="write", status="done", order=1)),
            e.MessageStopped(text="It is made."),
            e.RunAgentFinished(outcome="failed", error=RunError(error_class="network", message="cable cut")),
        ]
    )
    assert found.cut == 0
    assert found.messages == (
        Message(role="system", content="be brief"),
        user("make it"),
        agent(
            'I begin\n\n[tool Bash: {"command":"ls"}]\n\n[its result: a.txt]\n\n[it failed: no]\n\n'
            "[its result: 7 bytes, not repeated here]\n\n[asked the user: Deploy? (yes / no)]\n\n"
            "[the user answered: yes]\n\nIt is made.\n\n[the attempt failed: cable cut]\n\n"
            "[the list of things to do:\n- done: write\n- doing: test]"
        ),
    )  # fmt: skip


def test_what_nobody_has_answered_is_said_to_be_so():
    found = transcript_of([QUEUED_NOW])
    assert [message.role for message in found.messages] == ["user", "assistant"]
    assert "before an answer" in found.messages[-1].content


def test_what_the_run_was_told_itself_comes_before_its_own_messages():
    carried = e.ConversationCarried(
        how="retold", origin_run_id="r0", origin_seq=9, told=(user("long ago"), agent("in a forest"))
    )
    found = transcript_of([asked(user("and then?")), carried, e.MessageStopped(text="they lived")])
    assert found.messages == (user("long ago"), agent("in a forest"), user("and then?"), agent("they lived"))


def test_turns_of_several_runs_are_one_conversation():
    found = transcript_of(
        [asked(user("one")), e.MessageStopped(text="1"), asked(user("two")), e.MessageStopped(text="2")]
    )
    assert found.messages == (user("one"), agent("1"), user("two"), agent("2"))


def test_an_attempt_that_failed_is_no_secret():
    retry = e.RunRetryScheduled(attempt=1, error=error("network", "away"), available_at=RETRY_AT)
    assert "[the attempt failed: away]" in transcript_of([QUEUED_NOW, retry]).messages[-1].content


def test_too_much_is_cut_in_the_middle_and_that_is_said():
    builder = TranscriptBuilder(max_chars=2000)
    builder.add(asked(user("the very first wish")))
    for number in range(100):
        builder.add(e.MessageStopped(text=f"answer {number} " + "x" * 100))
    found = builder.transcript()
    told = found.messages[-1].content
    assert found.messages[0] == user("the very first wish")
    assert "answer 99" in told
    assert "answer 0 " not in told
    assert f"[… {found.cut} characters of the conversation left out here …]" in told
    assert sum(len(message.content) for message in found.messages) < 2400


def test_it_always_fits_into_an_event_and_into_memory():
    builder = TranscriptBuilder()
    builder.add(asked(user("\x1b" * 100_000)))
    for _ in range(3000):
        builder.add(e.MessageDelta(text="\x1b" * 1000))
    for _ in range(300):
        builder.add(e.ToolEnded(tool_id="t", output="\x00" * 10_000))
    found = builder.transcript()
    assert len(msgspec.json.encode(found.messages)) <= MAX_BYTES
    assert found.cut > 3_000_000
