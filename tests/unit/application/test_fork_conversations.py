"""Which run of a fork takes up the conversation, and how: resumed, replayed as text, or not at all."""

from typing import Any

import pytest
from msgspec.structs import replace

from application.aggregates.aggregates import Loaded
from application.ports.event_store import StreamPage
from application.runs.fork_conversations import ConversationInheritance, ForkConversations, with_inherited_conversation
from domain.event import Event
from domain.identifiers import run_stream, session_stream
from domain.run import events as e
from domain.run.capabilities import Capabilities
from domain.run.state import InheritedConversation, Run
from domain.run.values import Message, RunSpec, Warn
from domain.session.events import SessionForked, SessionRunAttached
from domain.session.origin import ForkOrigin
from domain.session.state import SessionWorker
from tests.support.async_run import run as run_async
from tests.support.recorded import recorded
from tests.support.runs import AGENT_DONE, FINISHED, FINISHED_NOW, QUEUED_NOW, SPEC, run
from tests.support.sessions import PREFIX, session

OLDER = Warn(code="files_older", message="older")
ORIGIN = ForkOrigin(run_id="r0", session_id="s0", at_seq=3, position=40)
RESUMABLE = replace(ORIGIN, provider="talker", provider_session_id="ps1")
HEARD = (
    e.RunQueued(spec=replace(SPEC, session_id="s0", messages=(Message(role="user", content="hello"),))),
    e.MessageDelta(text="good day"),
    e.MessageStopped(),
    e.MessageDelta(text="that came later"),
)
FAILED_NOW = replace(FINISHED_NOW, outcome="failed")


class Everything:
    """Runs, their events and a provider that resumes, by hand."""

    def __init__(self, *, resume: bool = True, **histories: tuple[Event, ...]) -> None:
        self._histories = {run_stream("r0"): HEARD} | {run_stream(name): told for name, told in histories.items()}
        self._resume = resume
        self.attached: tuple[str, ...] = ()

    async def load(self, run_id: str) -> Loaded[Run]:
        history = self._histories.get(run_stream(run_id), ())
        state = run.given(*history).state if history else None
        return Loaded(state=state, seq=len(history), position=1)

    async def read_page(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int
    ) -> StreamPage:
        events: tuple[Event, ...] = self._histories.get(stream, ())
        if stream == session_stream("s0"):
            events = tuple(SessionRunAttached(generation=1, attached_run_id=name) for name in self.attached)
        page = recorded(stream, events, first_position=1)[after_seq:up_to_seq][:limit]
        return StreamPage(events=page, more=len(page) == limit)

    async def capabilities_of(self, spec: RunSpec) -> Capabilities:
        return Capabilities(provider=spec.provider, resume=self._resume)


def forked(origin: ForkOrigin, *attached: str) -> SessionWorker:
    first = SessionForked(
        origin=origin, app_id="shop", project_name="web", user_login_name="ann", workspace_prefix=PREFIX,
        warnings=(OLDER,),
    )  # fmt: skip
    runs = (SessionRunAttached(generation=1, attached_run_id=run_id) for run_id in attached)
    return session.given(first, *runs).state


def carry(everything: Everything, worker: SessionWorker, **spec: Any) -> ConversationInheritance | None:
    known: Any = everything
    conversations = ForkConversations(runs=known, store=known, providers=known)
    queued = run.given(replace(QUEUED_NOW, spec=replace(SPEC, provider="talker", **spec))).state
    return run_async(conversations.for_run("r1", queued, worker))


def codes(found: ConversationInheritance | None) -> list[str]:
    assert found is not None
    return [warning.code for warning in found.warnings]


def test_the_agents_own_conversation_is_resumed_where_it_came_along():
    found = carry(Everything(), forked(RESUMABLE, "r1"))
    assert found is not None
    assert (found.carried.how, found.carried.resume_session_id) == ("resumed", "ps1")
    assert codes(found) == ["files_older"]


@pytest.mark.parametrize(
    ("everything", "origin", "why"),
    [
        (Everything(), ORIGIN, "no conversation of the agent's own"),
        (Everything(resume=False), RESUMABLE, "can't resume a conversation"),
        (Everything(), replace(RESUMABLE, provider="other"), "it is other's"),
    ],
)
def test_else_it_is_told_up_to_the_point(everything, origin, why):
    found = carry(everything, forked(origin, "r1"))
    assert found is not None
    assert [message.content for message in found.carried.told] == ["hello", "good day"]
    assert codes(found) == ["files_older", "conversation_retold"]
    assert why in found.warnings[-1].message


def test_until_a_run_of_the_fork_has_succeeded():
    failed = (*FINISHED[:-1], FAILED_NOW)
    assert carry(Everything(r2=failed), forked(ORIGIN, "r2", "r1")) is not None
    assert carry(Everything(r2=FINISHED), forked(ORIGIN, "r2", "r1")) is None


def test_it_is_not_resumed_in_vain_again_and_again():
    resumed = e.ConversationCarried(
        lease_generation=1, how="resumed", origin_run_id="r0", origin_seq=3, resume_session_id="ps1"
    )
    failed = (*FINISHED[:1], resumed, *FINISHED[1:-1], FAILED_NOW)
    found = carry(Everything(r2=failed), forked(RESUMABLE, "r2", "r1"))
    assert found is not None
    assert found.carried.how == "retold"


def test_a_run_that_names_a_conversation_itself_and_one_of_no_fork_are_left_alone():
    assert carry(Everything(), forked(RESUMABLE, "r1"), resume_session_id="mine") is None
    assert carry(Everything(), replace(forked(ORIGIN), fork=None)) is None


def test_turns_that_the_run_had_resumed_come_first():
    first = (*HEARD[:3], replace(AGENT_DONE, provider_session_id="ps0"))
    later = (
        replace(QUEUED_NOW, spec=replace(SPEC, session_id="s0", resume_session_id="ps0")),
        e.MessageStopped(text="again"),
    )
    everything = Everything(first=first, later=later)
    everything.attached = ("first", "between", "later")
    found = carry(everything, forked(replace(ORIGIN, run_id="later", at_seq=2), "r1"))
    assert found is not None
    assert [message.content for message in found.carried.told] == ["hello", "good day", "echo hello", "again"]
    everything.attached = ()
    assert "conversation_begins_elsewhere" in codes(carry(everything, forked(replace(ORIGIN, run_id="later"), "r1")))


def test_what_the_agent_begins_with():
    state = run.given(QUEUED_NOW).state
    told = (Message(role="system", content="be brief"), Message(role="user", content="hello"))
    with_told = replace(state, carried=InheritedConversation(origin_run_id="r0", origin_seq=3, told=told))
    own_system = replace(SPEC, messages=(Message(role="system", content="be long"), *SPEC.messages))

    assert with_inherited_conversation(SPEC, state) == SPEC
    assert with_inherited_conversation(SPEC, with_told).messages == (*told, *SPEC.messages)
    assert with_inherited_conversation(own_system, with_told).messages == (told[1], *own_system.messages)
    resumed = InheritedConversation(origin_run_id="r0", origin_seq=3, resume_session_id="ps1")
    assert with_inherited_conversation(SPEC, replace(state, carried=resumed)).resume_session_id == "ps1"
