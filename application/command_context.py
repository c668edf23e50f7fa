"""Who sends a command and why: the metadata of every event that it leads to."""

import msgspec

from domain.record import Metadata


class CommandContext(msgspec.Struct, frozen=True, kw_only=True):
    """`command_id` names the command: its events get the ids `{command_id}` and `{command_id}/{n}`, so that the same
    command sent again changes nothing. `causation_id` defaults to it."""

    actor: str
    command_id: str
    correlation_id: str
    causation_id: str = ""
    trace_id: str = ""
    span_id: str = ""

    def metadata(self) -> Metadata:
        return Metadata(
            actor=self.actor,
            correlation_id=self.correlation_id,
            causation_id=self.causation_id or self.command_id,
            trace_id=self.trace_id,
            span_id=self.span_id,
        )

    def caused_by(self, cause: str, command_id: str) -> "CommandContext":
        """The context of a further command that `cause` (an event or effect id) led to."""
        return CommandContext(
            actor=self.actor,
            command_id=command_id,
            correlation_id=self.correlation_id,
            causation_id=cause,
            trace_id=self.trace_id,
            span_id=self.span_id,
        )
