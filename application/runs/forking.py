"""Forks: a new session begins with the files and the conversation of a run as they were after one of its events."""

from collections.abc import Sequence

import msgspec

from application.aggregates.aggregates import Loaded
from application.aggregates.stream_pages import events_of
from application.aggregates.waiting import wait_for_state
from application.command_context import CommandContext
from application.ports.event_store import EventStore
from application.ports.log_tail import LogTail
from application.ports.providers import Providers
from application.ports.recorded_workspaces import RecordedWorkspaces
from application.runs.commands import Runs
from application.sessions.commands import Sessions
from domain.errors import Conflict, InvalidInput, NotFound
from domain.identifiers import check_id, run_stream, session_stream
from domain.record import RecordedEvent
from domain.run import events as run_events
from domain.run.evolve import evolve
from domain.run.state import Finished, Finishing, Run
from domain.run.values import Warn
from domain.session.commands import ForkSession
from domain.session.forking import OF_NEAREST_SYNC, NearestSync, check_copied, check_is_this_fork, nearest_sync
from domain.session.origin import ForkOrigin
from domain.session.state import SessionWorker
from domain.workspace.sync import ManifestEntry

MOST_NAMED = 5
_WORK = (
    run_events.RunStarted,
    run_events.MessageDelta,
    run_events.MessageStopped,
    run_events.ReasoningDelta,
    run_events.ToolStarted,
    run_events.ToolEnded,
    run_events.TodoUpdated,
    run_events.TodosReplaced,
)
"""Events that show that an agent is at work, and may have changed files."""


class Forked(msgspec.Struct, frozen=True, kw_only=True):
    """The forked session, at `seq` and `position`. `created`: by this command. `pending`: its files were still being
    copied when the wait ended."""

    state: SessionWorker
    seq: int
    position: int
    created: bool
    pending: bool


class _Point(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it was after the event `at`. `worked`: the last event up to there that shows its agent at work; `ended`:
    the last one by which its agent ended."""

    run_id: str
    at: RecordedEvent
    run: Run
    worked: RecordedEvent | None = None
    ended: RecordedEvent | None = None


class ForkSessions:
    """Forks sessions. Neither the streams nor the stored objects of the origin are changed."""

    def __init__(
        self,
        *,
        runs: Runs,
        sessions: Sessions,
        store: EventStore,
        tail: LogTail,
        recorded: RecordedWorkspaces,
        providers: Providers,
    ) -> None:
        self._runs, self._sessions, self._store, self._tail = runs, sessions, store, tail
        self._recorded, self._providers = recorded, providers

    async def fork(
        self, run_id: str, at_seq: int, session_id: str, context: CommandContext, *, wait_s: float
    ) -> Forked:
        """Make session `session_id` a fork of the run after its event `at_seq`, and wait until its files are there.
        Raises NotFound, InvalidInput (`atSeq`, `sessionId`), IdentityConflict, Conflict (`origin_unknown`,
        `fork_failed`), and what reading the recorded workspace raises."""
        check_id("sessionId", session_id)
        loaded = await self._runs.load(run_id)
        if loaded.state is None:
            raise NotFound(f"no run {run_id!r} is known")
        if not 1 <= at_seq <= loaded.seq:
            raise InvalidInput("atSeq", f"{at_seq} is not between 1 and {loaded.seq}, the run's last event")
        known = await self._sessions.load(session_id)
        if known.state is not None:
            check_is_this_fork(known.state, session_id, run_id, at_seq)
            return await self._settled(session_id, known, created=False, wait_s=wait_s)
        command = await self._command(await self._point(run_id, at_seq), session_id)
        handled = await self._sessions.handle(session_id, command, context, likely_new=True)
        now = Loaded(state=handled.state, seq=handled.seq, position=handled.position)
        return await self._settled(session_id, now, created=bool(handled.events), wait_s=wait_s)

    async def _settled(self, session_id: str, known: Loaded[SessionWorker], *, created: bool, wait_s: float) -> Forked:
        loaded = await wait_for_state(
            self._sessions,
            self._tail,
            key=session_id,
            stream=session_stream(session_id),
            reached=lambda state: state is not None and state.fork is not None and state.fork.content != "copying",
            timeout_s=wait_s,
        )
        present = loaded or known
        assert present.state is not None
        assert present.state.fork is not None
        if present.state.fork.content == "failed":
            raise Conflict(
                f"the files of {session_id!r} could not be copied ({present.state.fork.error}); "
                "fork again, into another session",
                "fork_failed",
            )
        return Forked(
            state=present.state,
            seq=present.seq,
            position=present.position,
            created=created,
            pending=loaded is None,
        )

    async def _point(self, run_id: str, at_seq: int) -> _Point:
        run: Run | None = None
        last = worked = ended = None
        async for last in events_of(self._store, run_stream(run_id), up_to_seq=at_seq):
            run = evolve(run, last)
            if isinstance(last.event, _WORK):
                worked = last
            elif isinstance(last.event, run_events.RunAgentFinished):
                ended = last
        assert run is not None
        assert last is not None
        return _Point(run_id=run_id, at=last, run=run, worked=worked, ended=ended)

    async def _command(self, point: _Point, session_id: str) -> ForkSession:
        from_session = point.run.session_id
        state = (await self._sessions.load(from_session)).state
        identity = state or point.run.spec
        if identity is None:
            raise Conflict(
                f"session {from_session!r} of this run has never had a worker: "
                "its app, project and user are unknown; activate it first",
                "origin_unknown",
            )
        nearest = NearestSync(found=None)
        entries: Sequence[ManifestEntry] = ()
        if state is not None:
            check_copied(from_session, state)
            history = events_of(self._store, session_stream(from_session))
            syncs = [each async for each in history if isinstance(each.event, OF_NEAREST_SYNC)]
            nearest = nearest_sync(syncs, point.at.position, state.kept_since)
        if nearest.found is not None:
            entries = await self._recorded.entries(nearest.found.sync)
        provider, conversation = await self._native_conversation(point, nearest, entries)
        return ForkSession(
            session_id=session_id,
            origin=ForkOrigin(
                run_id=point.run_id,
                session_id=from_session,
                at_seq=point.at.seq,
                position=point.at.position,
                sync=nearest.found.sync if nearest.found else None,
                sync_position=nearest.found.position if nearest.found else 0,
                provider=provider,
                provider_session_id=conversation,
            ),
            origin_prefix=state.workspace_prefix if state else "",
            app_id=identity.app_id,
            project_name=identity.project_name,
            user_login_name=identity.user_login_name,
            manifest=state.manifest if state else None,
            warnings=losses(point, nearest),
        )

    async def _native_conversation(
        self, point: _Point, nearest: NearestSync, entries: Sequence[ManifestEntry]
    ) -> tuple[str, str]:
        """The provider and the id of its own conversation, if that ends at the point and is among the files; else
        empty."""
        stage, spec, found = point.run.stage, point.run.spec, nearest.found
        conversation = point.run.provider_session_id
        if spec is None or found is None or point.ended is None or not conversation:
            return "", ""
        if not isinstance(stage, Finishing | Finished) or stage.outcome != "succeeded":
            return "", ""
        if found.requested_position < point.ended.position:
            return "", ""
        try:
            capabilities = await self._providers.capabilities_of(spec)
        except InvalidInput:
            return "", ""
        files = (entry.path for entry in entries if entry.kind == "file")
        if not capabilities.resume or not self._providers.holds_conversation(spec.provider, conversation, files):
            return "", ""
        return capabilities.provider, conversation


def losses(point: _Point, nearest: NearestSync) -> tuple[Warn, ...]:
    """Warnings about what the fork can't take over, as far as it is known now."""
    found, warnings = nearest.found, []
    at = f"seq {point.at.seq} of run {point.run_id}"
    if nearest.not_kept:
        message = f"the sync of position {nearest.not_kept}, the nearest before {at}, is not kept any more: "
        message += (
            f"the files are those of position {found.position}" if found else "the workspace begins without files"
        )
        warnings.append(Warn(code="sync_not_kept", message=message))
    elif found is None:
        message = f"no sync was recorded before {at}: the workspace begins without the files of that time"
        warnings.append(Warn(code="no_sync_before", message=message))
    if found is not None and point.worked is not None and point.worked.position > found.requested_position:
        message = (
            f"the files are those of the sync at position {found.position}; what the agent changed after that was "
            f"asked for, up to {at}, is not among them"
        )
        warnings.append(Warn(code="files_older", message=message))
    if found is not None and found.left_out:
        named = ", ".join(found.left_out[:MOST_NAMED])
        more = f" and {len(found.left_out) - MOST_NAMED} more" if len(found.left_out) > MOST_NAMED else ""
        message = f"that sync had left these out, or they changed while it was made: {named}{more}"
        warnings.append(Warn(code="files_left_out", message=message))
    if point.run.open_questions:
        message = f"these questions were open, and are not asked again: {', '.join(point.run.open_questions)}"
        warnings.append(Warn(code="question_not_carried", message=message))
    return tuple(warnings)
