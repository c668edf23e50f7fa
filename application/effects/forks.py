"""The effect that gives a forked session the files that it begins with."""

from application.effects.effect import ClaimedEffect, EffectObsolete
from application.forked_workspaces import WorkspaceCopier, WorkspaceGone
from application.session_commands import Sessions
from domain.session.commands import FailFork, RecordWorkspaceCopied


class CopyWorkspace:
    """It stands in the fork's lane: a worker that is wanted meanwhile comes up with the files that it brings."""

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
