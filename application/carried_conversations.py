"""The conversation of a fork: taken up by its first run, and by the next ones until one of them has succeeded."""

import contextlib
from collections.abc import AsyncIterator

import msgspec

from application.aggregates import EVENTS_PER_PAGE
from application.ports import EventStore
from application.providers import Providers
from application.run_commands import Runs
from domain.errors import InvalidInput
from domain.event import Event
from domain.identifiers import run_stream, session_stream
from domain.run.events import ConversationCarried
from domain.run.retelling import Retelling
from domain.run.state import Finished, Run
from domain.run.values import RunSpec, Warn
from domain.session.events import SessionRunAttached
from domain.session.origin import ForkOrigin
from domain.session.state import Fork, SessionWorker

MOST_RUNS = 50
"""A conversation is followed back over so many runs at most."""


class Carry(msgspec.Struct, frozen=True, kw_only=True):
    """What a run begins with, and what is lost on the way."""

    carried: ConversationCarried
    warnings: tuple[Warn, ...]


class _Turn(msgspec.Struct, frozen=True):
    """A run of the conversation, up to a seq; None: all of it."""

    run_id: str
    up_to: int | None


class CarriedConversations:
    def __init__(self, *, runs: Runs, store: EventStore, providers: Providers) -> None:
        self._runs, self._store, self._providers = runs, store, providers

    async def for_run(self, run_id: str, run: Run, session: SessionWorker) -> Carry | None:
        """What a run of this session takes up; None where it begins a conversation of its own, or goes on with one that
        its caller names."""
        fork = session.fork
        if fork is None or run.spec is None or run.carried is not None or run.spec.resume_session_id:
            return None
        earlier = await self._ended_before(run_id, fork)
        if any(outcome == "succeeded" for outcome, _ in earlier):
            return None
        in_vain = any(outcome == "failed" and resumed for outcome, resumed in earlier)
        origin, provider, resumes = fork.origin, run.spec.provider, False
        with contextlib.suppress(
            InvalidInput
        ):  # what a newer version does not accept any more, the agent's start tells
            capabilities = await self._providers.capabilities_of(run.spec)
            provider, resumes = capabilities.provider, capabilities.resume
        if origin.provider_session_id and resumes and provider == origin.provider and not in_vain:
            carried = ConversationCarried(
                how="resumed",
                origin_run_id=origin.run_id,
                origin_seq=origin.at_seq,
                resume_session_id=origin.provider_session_id,
            )
            return Carry(carried=carried, warnings=fork.warnings)
        if not resumes:
            why = f"{provider} can't resume a conversation"
        elif in_vain:
            why = "a run before this one failed while it went on with the agent's own"
        elif origin.provider_session_id:
            why = f"it is {origin.provider}'s, which {provider} can't resume"
        else:
            why = "no conversation of the agent's own that ends at this point came along with the files"
        message = f"the conversation is told again from the log: {why}"
        return await self._retold(origin, (*fork.warnings, Warn(code="conversation_retold", message=message)))

    async def _ended_before(self, run_id: str, fork: Fork) -> list[tuple[str, bool]]:
        """How the fork's earlier runs ended, and whether they had resumed the agent's own conversation."""
        found = []
        for earlier in fork.runs:
            state = (await self._runs.load(earlier)).state if earlier != run_id else None
            if state is not None and isinstance(state.stage, Finished):
                resumed = state.carried is not None and state.carried.resume_session_id != ""
                found.append((str(state.stage.outcome), resumed))
        return found

    async def _retold(self, origin: ForkOrigin, known: tuple[Warn, ...]) -> Carry:
        retelling = Retelling()
        turns, whole = await self._turns(_Turn(origin.run_id, origin.at_seq))
        for turn in turns:
            async for event in self._events(turn):
                retelling.take(event)
        told = retelling.told()
        warnings = list(known)
        if told.cut:
            message = f"{told.cut} characters of the conversation were left out: it is too long to be told whole"
            warnings.append(Warn(code="conversation_cut", message=message))
        if not whole:
            message = "the conversation went on with one that began elsewhere; what was said there is not told"
            warnings.append(Warn(code="conversation_begins_elsewhere", message=message))
        carried = ConversationCarried(
            how="retold", origin_run_id=origin.run_id, origin_seq=origin.at_seq, told=told.messages, cut=told.cut
        )
        return Carry(carried=carried, warnings=tuple(warnings))

    async def _turns(self, last: _Turn) -> tuple[list[_Turn], bool]:
        """The runs whose conversation the last one went on with, in order, and whether that leads to its beginning."""
        turns, present = [last], last
        while len(turns) < MOST_RUNS:
            run = (await self._runs.load(present.run_id)).state
            if run is None or run.spec is None:
                return turns, True
            if run.carried is not None:
                if not run.carried.resume_session_id:
                    return turns, True  # it was told what came before, and its own stream holds that
                before: _Turn | None = _Turn(run.carried.origin_run_id, run.carried.origin_seq)
            elif run.spec.resume_session_id:
                before = await self._turn_before(present.run_id, run.spec)
            else:
                return turns, True
            if before is None:
                return turns, False
            turns.insert(0, before)
            present = before
        return turns, False

    async def _turn_before(self, run_id: str, spec: RunSpec) -> _Turn | None:
        """The last run of the session before this one that left the conversation which it resumed."""
        history = await self._store.read_stream(session_stream(spec.session_id))
        attached = [each.event.attached_run_id for each in history if isinstance(each.event, SessionRunAttached)]
        if run_id in attached:
            attached = attached[: attached.index(run_id)]
        for earlier in reversed(attached[-MOST_RUNS:]):
            state = (await self._runs.load(earlier)).state
            if state is not None and state.provider_session_id == spec.resume_session_id:
                return _Turn(earlier, None)
        return None

    async def _events(self, turn: _Turn) -> AsyncIterator[Event]:
        after = 0
        while True:
            page = await self._store.read_stream(
                run_stream(turn.run_id), after_seq=after, up_to_seq=turn.up_to, limit=EVENTS_PER_PAGE
            )
            for recorded in page:
                yield recorded.event
            if len(page) < EVENTS_PER_PAGE:
                return
            after = page[-1].seq


def begun_with(spec: RunSpec, run: Run) -> RunSpec:
    """What the agent of a run is started with: its spec, and what it takes up."""
    carried = run.carried
    if carried is None:
        return spec
    if carried.resume_session_id:
        return msgspec.structs.replace(spec, resume_session_id=carried.resume_session_id)
    has_system = any(message.role == "system" for message in spec.messages)
    told = tuple(message for message in carried.told if message.role != "system" or not has_system)
    return msgspec.structs.replace(spec, messages=(*told, *spec.messages))
