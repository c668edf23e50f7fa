"""Commands to sessions that earlier versions recorded as rows of the effect ledger.

Rows that are still open are performed here by sending the command that a process manager sends now, with the same
command id. A migration can't convert them once and for all: during an upgrade, an older process may lead the process
managers and write more. This version writes none. The next version removes this module, and its migration deletes the
rows that are left.
"""

from typing import Any

from application.ports.effect_handler import EffectObsolete
from application.ports.effect_ledger import ClaimedEffect
from application.process_managers.commands import ProcessManagerCommands
from application.process_managers.outcomes import SendToSession
from domain.errors import DomainError
from domain.session.commands import DetachRun, RequestSync


class SendCommand:
    def __init__(self, commands: ProcessManagerCommands) -> None:
        self._commands = commands

    async def perform(self, effect: ClaimedEffect) -> None:
        command = command_of(effect.kind, effect.effect_id, effect.params)
        context = effect.context(command.command_id.removeprefix(f"{effect.effect_id}:"))
        try:
            await self._commands.send(command, context)
        except DomainError as error:
            raise EffectObsolete(str(error)) from error

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        """Nothing to record: the dead letter shows it."""


def command_of(kind: str, effect_id: str, params: dict[str, Any]) -> SendToSession:
    run_id = params["runId"]
    if kind == "session.detach_run":
        return SendToSession(command_id=f"{effect_id}:detached", run_id=run_id, command=DetachRun(run_id=run_id))
    request = RequestSync(sync_id=params["syncId"], reason="message.stop", run_id=run_id)
    return SendToSession(command_id=f"{effect_id}:requested", run_id=run_id, command=request)
