"""Where one process manager stands in the log, as the process that runs it sees it."""

from collections.abc import Callable, Sequence

from application.process_managers.outcomes import Outcome
from domain.identifiers import DEFAULT_TENANT
from domain.operations.log_consumer import BlockingEvent, blocking_event
from domain.record import RecordedEvent
from infrastructure.postgres.event_store.reading import StoredRow, recorded_event

OutcomesOf = Callable[[RecordedEvent], Sequence[Outcome]]
Caused = tuple[RecordedEvent, Outcome]
"""An outcome and its event."""


class ProcessManagerCursor:
    """`position`: everything up to there is dealt with. `blocking`: the event that can't be taken, or whose command has
    failed; right behind `position`, or before it if the command was pending. `blocked_at`: since when, by the clock of
    the event loop. `full`: too many commands are pending."""

    def __init__(
        self, name: str, types: Sequence[str], outcomes_of: OutcomesOf, *, position: int, skips: frozenset[int]
    ) -> None:
        self.name, self.types, self._outcomes_of = name, frozenset(types), outcomes_of
        self.position, self.skips = position, skips
        self.blocking: BlockingEvent | None = None
        self.blocked_at = 0.0
        self.full = False

    @property
    def runs(self) -> bool:
        return self.blocking is None and not self.full

    def outcomes(self, rows: Sequence[StoredRow]) -> tuple[list[Caused], BlockingEvent | None]:
        """The outcomes of the events, up to the one that can't be taken, if there is one."""
        outcomes: list[Caused] = []
        for row in rows:
            if row.type not in self.types or row.position in self.skips:
                continue
            try:
                event = recorded_event(row, DEFAULT_TENANT)
                outcomes += [(event, outcome) for outcome in self._outcomes_of(event)]
            except Exception as error:  # noqa: BLE001  # whatever it is, it stops this process manager alone
                return outcomes, blocking_event(row.position, row.type, error)
        return outcomes, None
