"""Commands of process managers that an aggregate refused: stream `refused_commands:{process manager}`. Pure."""

from collections.abc import Sequence

import msgspec

from domain.event import Event
from domain.operations import events as e
from domain.record import Occurrence


def refused_commands_stream(process_manager: str) -> str:
    return f"refused_commands:{process_manager}"


class RefusedCommands(msgspec.Struct, frozen=True, kw_only=True):
    """`up_to`: all refusals are recorded of commands that an event at or before this position caused."""

    up_to: int = 0


class RecordRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """`at_position`: of the event that caused the command. Refusals are recorded in the order of these positions."""

    at_position: int
    command_id: str
    refused_by: str
    error: str


def decide(state: RefusedCommands | None, command: RecordRefusal) -> Sequence[Event]:
    """No event for a refusal that is recorded already: processing a page again sends the same commands again."""
    if state is not None and command.at_position <= state.up_to:
        return ()
    return (
        e.ProcessManagerCommandRefused(
            at_position=command.at_position,
            command_id=command.command_id,
            refused_by=command.refused_by,
            error=command.error,
        ),
    )


def evolve(state: RefusedCommands | None, occurrence: Occurrence) -> RefusedCommands | None:
    """The state after one more event."""
    match occurrence.event:
        case e.ProcessManagerCommandRefused(at_position=position):
            return RefusedCommands(up_to=max(position, state.up_to if state else 0))
        case _:
            return state
