"""The first run of a fork takes up the conversation, once, before its agent starts."""

from domain.run import commands as c
from domain.run import events as e
from domain.run.values import Message, Warn
from tests.support.runs import CLAIMED, FINISHED, PREPARING, RETRYING, RUNNING, claimed, run

TOLD = (Message(role="user", content="hello"), Message(role="assistant", content="good day"))
RETOLD = e.ConversationCarried(how="retold", origin_run_id="r0", origin_seq=9, told=TOLD, cut=3)
LOSS = Warn(code="conversation_cut", message="3 characters were left out")
CARRY = c.InheritConversation(lease_generation=1, carried=RETOLD, warnings=(LOSS,))
CARRIED = e.ConversationCarried(
    lease_generation=1, how="retold", origin_run_id="r0", origin_seq=9, told=TOLD, cut=3
)  # fmt: skip


def test_it_is_recorded_with_what_is_lost():
    run.given(*PREPARING).when(CARRY).then(e.RunWarning(lease_generation=1, warning=LOSS), CARRIED)
    state = run.given(*PREPARING, CARRIED).state
    assert state.carried is not None
    assert (state.carried.told, state.carried.resume_session_id) == (TOLD, "")


def test_a_later_attempt_begins_with_the_very_same():
    run.given(*CLAIMED, CARRIED).when(CARRY).then_nothing()
    again = run.given(*RETRYING, claimed(1, 2), CARRIED, claimed(2, 3))
    again.when(c.InheritConversation(lease_generation=2, carried=RETOLD)).then_nothing()
    assert again.state.carried is not None


def test_an_agent_that_was_started_is_told_nothing_more():
    run.given(*RUNNING).when(CARRY).then_nothing()
    run.given(*FINISHED).when(CARRY).then_nothing()
