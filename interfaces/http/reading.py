"""What all reads share: waiting for a read model, the point in time, a value that must be there."""

from typing import Any, TypeVar

import msgspec

from domain.errors import InvalidInput, NotFound
from interfaces.http.endpoint import Call
from interfaces.http.problems import unavailable
from interfaces.http.queries import AsOfQuery, ListAsOfQuery, ReadQuery
from projections.ports import WORK, AtPosition, AtSeq, AtTime, Moment

Value = TypeVar("Value")
Shown = TypeVar("Shown", bound=msgspec.Struct)
LONGEST_WAIT_S = 10.0


async def caught_up(call: Call[Any, ReadQuery], projection: str) -> None:
    """Wait until the read model holds the query's minPosition. Raises InvalidInput for one beyond the end of the log,
    Problem 503 when the read model doesn't get there in time."""
    position = call.query.min_position
    if position is None:
        return
    await within_log(call, "minPosition", position)
    if not await call.deps.progress.wait_for(projection, position, LONGEST_WAIT_S):
        raise unavailable(
            f"the read model {projection} has not got to position {position} yet", reason="read_model_behind"
        )


async def work_caught_up(call: Call[Any, ReadQuery]) -> None:
    """Wait until the effect ledger and the run queue have followed the log to the query's minPosition. Raises as
    `caught_up` does."""
    await caught_up(call, WORK)


async def within_log(call: Call[Any, Any], field: str, position: int) -> int:
    """The end of the log. Raises InvalidInput for a position beyond it."""
    end = await call.deps.store.last_position()
    if position > end:
        raise InvalidInput(field, f"{position} is beyond the end of the log, which is at {end}")
    return end


def moment_of(query: AsOfQuery | ListAsOfQuery) -> Moment | None:
    """The moment that a query asks for, None for now. Raises InvalidInput when it names two."""
    given: list[tuple[str, Moment]] = []
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
    """The value. Raises NotFound with the message when there is none."""
    if value is None:
        raise NotFound(message)
    return value


def shown_as(shown: type[Shown], view: msgspec.Struct, as_of_position: int) -> Shown:
    """The view's fields with `asOfPosition` beside them."""
    return shown(**msgspec.structs.asdict(view), as_of_position=as_of_position)
