"""The effect that copies the files that a forked session begins with."""

from application.ports.effect_handler import EffectObsolete
from application.ports.effect_ledger import ClaimedEffect
from application.ports.workspace_copier import WorkspaceCopier, WorkspaceGone
from application.sessions.commands import Sessions
from domain.session.commands import FailFork, RecordWorkspaceCopied


class CopyWorkspace:
    """Its effect key is the forked session's, so the effects that bring up its session worker wait for the files."""

    def __init__(self, *, sessions: Sessions, copier: WorkspaceCopier) -> None:
        self._sessions, self._copier = sessions, copier

    async def perform(self, effect: ClaimedEffect) -> None:
        session_id = effect.params["sessionId"]
        state = (await self._sessions.load(session_id)).state
        fork = state.fork if state is not None else None
        if (
            state is None
            or fork is None
            or fork.content != "copying"
            or fork.origin.sync is None
            or state.last_sync is None
        ):
            raise EffectObsolete("the files of this fork have been copied, or never will be")
        try:
            copied = await self._copier.copy(fork.origin.sync, state.last_sync)
        except WorkspaceGone as error:
            await self.give_up(effect, str(error))
            return
        command = RecordWorkspaceCopied(files=copied.files, contents=copied.contents, bytes=copied.bytes)
        await self._sessions.handle(session_id, command, effect.context("copied"))

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        await self._sessions.handle(effect.params["sessionId"], FailFork(error=error), effect.context("given_up"))
