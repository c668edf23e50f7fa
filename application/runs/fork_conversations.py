"""The conversation that a forked session inherits from its origin.

Its first run continues it, and so does each next one until one has succeeded: either the agent resumes its own recorded
conversation, or the conversation is given to it again as messages that are replayed from the log.
"""

import contextlib
from collections.abc import AsyncIterator

import msgspec

from application.aggregates.stream_pages import events_of
from application.ports.event_store import EventStore
from application.ports.providers import Providers
from application.runs.commands import Runs
from domain.errors import InvalidInput
from domain.event import Event
from domain.identifiers import run_stream, session_stream
from domain.run.events import ConversationCarried
from domain.run.state import Finished, Run
from domain.run.transcript import TranscriptBuilder
from domain.run.values import RunSpec, Warn
from domain.session.events import SessionRunAttached
from domain.session.origin import ForkOrigin
from domain.session.state import Fork, SessionWorker

MAX_RUNS = 50
"""The limit of runs over which a conversation is traced back."""


class ConversationInheritance(msgspec.Struct, frozen=True, kw_only=True):
    """The event to record for the run that continues the conversation, and warnings about what could not be kept."""

    carried: ConversationCarried
    warnings: tuple[Warn, ...]


class _Turn(msgspec.Struct, frozen=True):
    """One run of the conversation, up to and including seq `up_to`; None: the whole run."""

    run_id: str
    up_to: int | None


class ForkConversations:
    def __init__(self, *, runs: Runs, store: EventStore, providers: Providers) -> None:
        self._runs, self._store, self._providers = runs, store, providers

    async def for_run(self, run_id: str, run: Run, session: SessionWorker) -> ConversationInheritance | None:
        """What this run inherits. None if its session is no fork, an earlier run of the fork has succeeded, the
        conversation is recorded already, or the caller names one to resume."""
        fork = session.fork
        if fork is None or run.spec is None or run.carried is not None or run.spec.resume_session_id:
            return None
        earlier = await self._ended_before(run_id, fork)
        if any(outcome == "succeeded" for outcome, _ in earlier):
            return None
        in_vain = any(outcome == "failed" and resumed for outcome, resumed in earlier)
        origin, provider, resumes = fork.origin, run.spec.provider, False
        with contextlib.suppress(InvalidInput):  # a spec that is no longer valid is refused when the agent starts
            capabilities = await self._providers.capabilities_of(run.spec)
            provider, resumes = capabilities.provider, capabilities.resume
        if origin.provider_session_id and resumes and provider == origin.provider and not in_vain:
            carried = ConversationCarried(
                how="resumed",
                origin_run_id=origin.run_id,
                origin_seq=origin.at_seq,
                resume_session_id=origin.provider_session_id,
            )
            return ConversationInheritance(carried=carried, warnings=fork.warnings)
        if not resumes:
            why = f"{provider} can't resume a conversation"
        elif in_vain:
            why = "a run before this one failed while it went on with the agent's own"
        elif origin.provider_session_id:
            why = f"it is {origin.provider}'s, which {provider} can't resume"
        else:
            why = "no conversation of the agent's own that ends at this point came along with the files"
        message = f"the conversation is replayed from the log as text: {why}"
        return await self._replayed(origin, (*fork.warnings, Warn(code="conversation_retold", message=message)))

    async def _ended_before(self, run_id: str, fork: Fork) -> list[tuple[str, bool]]:
        """Outcomes of the fork's earlier runs, each with whether the agent had resumed its own conversation."""
        found = []
        for earlier in fork.runs:
            state = (await self._runs.load(earlier)).state if earlier != run_id else None
            if state is not None and isinstance(state.stage, Finished):
                resumed = state.carried is not None and state.carried.resume_session_id != ""
                found.append((str(state.stage.outcome), resumed))
        return found

    async def _replayed(self, origin: ForkOrigin, known: tuple[Warn, ...]) -> ConversationInheritance:
        builder = TranscriptBuilder()
        turns, whole = await self._turns(_Turn(origin.run_id, origin.at_seq))
        for turn in turns:
            async for event in self._events(turn):
                builder.add(event)
        transcript = builder.transcript()
        warnings = list(known)
        if transcript.cut:
            message = f"{transcript.cut} characters of the conversation were left out: it exceeds the limit"
            warnings.append(Warn(code="conversation_cut", message=message))
        if not whole:
            message = "the conversation continues one that began elsewhere; its earlier part is not included"
            warnings.append(Warn(code="conversation_begins_elsewhere", message=message))
        carried = ConversationCarried(
            how="retold",
            origin_run_id=origin.run_id,
            origin_seq=origin.at_seq,
            told=transcript.messages,
            cut=transcript.cut,
        )
        return ConversationInheritance(carried=carried, warnings=tuple(warnings))

    async def _turns(self, last: _Turn) -> tuple[list[_Turn], bool]:
        """The chain of runs that each continued the one before, ending with `last`, and whether it is complete."""
        turns, present = [last], last
        while len(turns) < MAX_RUNS:
            run = (await self._runs.load(present.run_id)).state
            if run is None or run.spec is None:
                return turns, True
            if run.carried is not None:
                if not run.carried.resume_session_id:
                    return turns, True  # its own stream holds the messages that were replayed to it
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
        """The last run of the session before this one that ended with the conversation which this one resumes."""
        history = events_of(self._store, session_stream(spec.session_id))
        attached = [
            each.event.attached_run_id
            async for each in history
            if isinstance(each.event, SessionRunAttached) and not each.event.outside
        ]
        if run_id in attached:
            attached = attached[: attached.index(run_id)]
        for earlier in reversed(attached[-MAX_RUNS:]):
            state = (await self._runs.load(earlier)).state
            if state is not None and state.provider_session_id == spec.resume_session_id:
                return _Turn(earlier, None)
        return None

    async def _events(self, turn: _Turn) -> AsyncIterator[Event]:
        async for recorded in events_of(self._store, run_stream(turn.run_id), up_to_seq=turn.up_to):
            yield recorded.event


def with_inherited_conversation(spec: RunSpec, run: Run) -> RunSpec:
    """The spec that the agent is started with: that of the run, plus the conversation it inherits."""
    carried = run.carried
    if carried is None:
        return spec
    if carried.resume_session_id:
        return msgspec.structs.replace(spec, resume_session_id=carried.resume_session_id)
    has_system = any(message.role == "system" for message in spec.messages)
    told = tuple(message for message in carried.told if message.role != "system" or not has_system)
    return msgspec.structs.replace(spec, messages=(*told, *spec.messages))
