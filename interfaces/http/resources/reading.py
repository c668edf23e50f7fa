"""What all reads share: waiting for a position, the point in time to read as of, and 404 for a missing value."""

from typing import Any, TypeVar

import msgspec

from domain.errors import InvalidInput, NotFound
from interfaces.http.edge.endpoint import ApiCall
from interfaces.http.edge.queries import AsOfQuery, ListAsOfQuery, ReadQuery
from interfaces.http_conventions.problems import unavailable
from projections.ports import WORK, AsOf, AtPosition, AtSeq, AtTime

Value = TypeVar("Value")
Shown = TypeVar("Shown", bound=msgspec.Struct)
MAX_CATCH_UP_S = 10.0


async def caught_up(call: ApiCall[Any, ReadQuery], projection: str) -> None:
    """Wait until the read model has reached the query's minPosition. Raises InvalidInput for a position beyond the end
    of the log, Problem 503 if the read model does not reach it within 10 s."""
    position = call.query.min_position
    if position is None:
        return
    await within_log(call, "minPosition", position)
    await reached(call, projection, position)


async def reached(call: ApiCall[Any, Any], projection: str, position: int) -> None:
    """Wait until the read model has reached a position of the log. Raises Problem 503 if it does not within 10 s."""
    if not await call.deps.progress.wait_for(projection, position, MAX_CATCH_UP_S):
        raise unavailable(
            f"the read model {projection} has not got to position {position} yet", reason="read_model_behind"
        )


async def work_caught_up(call: ApiCall[Any, ReadQuery]) -> None:
    """Wait until the effect ledger and the run queue have reached minPosition. Raises as `caught_up` does."""
    await caught_up(call, WORK)


async def within_log(call: ApiCall[Any, Any], field: str, position: int) -> int:
    """The end of the log. Raises InvalidInput for a position beyond it."""
    end = await call.deps.store.last_position()
    if position > end:
        raise InvalidInput(field, f"{position} is beyond the end of the log, which is at {end}")
    return end


def as_of(query: AsOfQuery | ListAsOfQuery) -> AsOf | None:
    """The point in time to read as of; None: now. Raises InvalidInput if the query names more than one."""
    given: list[tuple[str, AsOf]] = []
    if isinstance(query, AsOfQuery) and query.at_seq is not None:
        given.append(("atSeq", AtSeq(query.at_seq)))
    if query.at is not None:
        given.append(("at", AtTime(query.at)))
    if query.at_position is not None:
        given.append(("atPosition", AtPosition(query.at_position)))
    if len(given) > 1:
        raise InvalidInput(given[1][0], f"goes without {given[0][0]}: the state is read as it was at one moment")
    return given[0][1] if given else None


def found(value: Value | None, message: str) -> Value:
    """The value. Raises NotFound with the message if it is None."""
    if value is None:
        raise NotFound(message)
    return value


def shown_as(shown: type[Shown], view: msgspec.Struct, as_of_position: int) -> Shown:
    """The view's fields and `asOfPosition`, as the given type."""
    return shown(**msgspec.structs.asdict(view), as_of_position=as_of_position)
