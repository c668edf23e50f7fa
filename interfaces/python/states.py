"""The library's Repository on Fleetlog's folds: the state of a session or a run, now or after any of its events."""

from collections.abc import Callable
from typing import Any

from eventsourcing.application import AggregateNotFoundError, Repository, project_aggregate

from domain.record import RecordedEvent
from domain.run.evolve import evolve as evolve_run
from domain.session.evolve import evolve as evolve_session

EVENTS_PER_PAGE = 100
"""A page is in memory as a whole, and an event has 256 KiB at most."""
FOLDS: dict[str, Callable[[Any, RecordedEvent], Any]] = {"session": evolve_session, "run": evolve_run}
"""By the kind of stream, which its name begins with."""


class StateRepository(Repository[str]):
    """`get("run:…")` is a domain.run.state.Run, `get("session:…")` a domain.session.state.SessionWorker."""

    def get(
        self,
        aggregate_id: str,
        *,
        version: int | None = None,
        projector_func: Any = project_aggregate,
        fastforward_skipping: bool = False,  # noqa: ARG002  nothing is cached here
        deepcopy_from_cache: bool = True,  # noqa: ARG002
    ) -> Any:
        """The state after the event with seq `version`, or after the last one before it; without a version, the present
        state. Streams of other kinds, such as those of the library's own aggregates, need a `projector_func`, or events
        that have `mutate`. Raises AggregateNotFoundError."""
        evolve = FOLDS.get(aggregate_id.partition(":")[0])
        if evolve is None and projector_func is project_aggregate:
            self._check_mutates(aggregate_id)
        if evolve is None or projector_func is not project_aggregate:
            return super().get(aggregate_id, version=version, projector_func=projector_func)
        state, after = None, 0
        while True:
            page: list[Any] = list(self.event_store.get(aggregate_id, gt=after, lte=version, limit=EVENTS_PER_PAGE))
            if after == 0 and page and page[0].seq > 1:
                raise AggregateNotFoundError(f"the first {page[0].seq - 1} events of {aggregate_id} are not here")
            for recorded in page:
                state, after = evolve(state, recorded), recorded.seq
            if len(page) < EVENTS_PER_PAGE:
                break
        if state is None:
            at = "" if version is None else f" as of version {version}"
            raise AggregateNotFoundError(f"there is no {aggregate_id}{at}")
        return state

    def _check_mutates(self, aggregate_id: str) -> None:
        first: Any = next(self.event_store.get(aggregate_id, limit=1), None)
        if isinstance(first, RecordedEvent):
            raise AggregateNotFoundError(
                f"{aggregate_id} has events, and no state: only {' and '.join(FOLDS)} streams are folded here; "
                "give a projector_func, or read the events with `application.events.get`"
            )
