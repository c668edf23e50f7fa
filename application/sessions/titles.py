"""The command that gives a session a title, whether the session has a worker or not."""

from application.aggregates.aggregates import Aggregates, CommandResult
from application.command_context import CommandContext
from application.ports.redaction import Redact
from domain.session.title import SessionTitle, TitleSession

SessionTitles = Aggregates[SessionTitle, TitleSession]


class TitleSessions:
    """Records titles without secrets, as every text of a caller."""

    def __init__(self, titles: SessionTitles, redact: Redact) -> None:
        self._titles, self._redact = titles, redact

    async def title(self, command: TitleSession, context: CommandContext) -> CommandResult[SessionTitle]:
        """Raises InvalidInput."""
        return await self._titles.handle(command.session_id, self._redact(command), context)
