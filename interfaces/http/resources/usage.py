"""Usage (tokens, cost): of one run, and summed over runs that have ended."""

from datetime import date

from domain.errors import InvalidInput
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import AsOfQuery, ListAsOfQuery, Text
from interfaces.http.resources.reading import as_of, caught_up, found, shown_as
from projections.ports import UsageFilter, UsageReport
from projections.usage import USAGE, Dimension, RunUsage


class RunUsageRead(RunUsage, frozen=True, kw_only=True):
    as_of_position: int


class UsageQuery(ListAsOfQuery, frozen=True, kw_only=True):
    """`groupBy` may be repeated. `fromDay` and `toDay`: days in UTC, inclusive, such as 2026-03-04."""

    group_by: tuple[Dimension, ...] = ()
    session_id: Text | None = None
    app_id: Text | None = None
    project_name: Text | None = None
    user_login_name: Text | None = None
    provider: Text | None = None
    model: Text | None = None
    from_day: Text | None = None
    to_day: Text | None = None


async def usage_of_run(call: ApiCall[None, AsOfQuery]) -> JsonAnswer:
    run_id = call.path["runId"]
    await caught_up(call, USAGE.name)
    read = await call.deps.reads.usage_of_run(run_id, at=as_of(call.query))
    return JsonAnswer(shown_as(RunUsageRead, found(read.value, f"no run {run_id!r} is known"), read.as_of_position))


async def usage(call: ApiCall[None, UsageQuery]) -> JsonAnswer:
    query = call.query
    for field, day in (("fromDay", query.from_day), ("toDay", query.to_day)):
        if day is not None and not _is_day(day):
            raise InvalidInput(field, f"{day!r} is not a day such as 2026-03-04")
    await caught_up(call, USAGE.name)
    matching = UsageFilter(
        session_id=query.session_id,
        app_id=query.app_id,
        project_name=query.project_name,
        user_login_name=query.user_login_name,
        provider=query.provider,
        model=query.model,
        from_day=query.from_day,
        to_day=query.to_day,
    )
    group_by, at = tuple(dict.fromkeys(query.group_by)), as_of(query)
    return JsonAnswer(await call.deps.reads.usage(matching, group_by=group_by, at=at))


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


ENDPOINTS = (
    Endpoint(
        name="getUsage",
        method="GET",
        path="/api/usage",
        handler=usage,
        tag="usage",
        summary="Usage of ended runs, summed, now or as it was",
        query=UsageQuery,
        answers={200: UsageReport},
        errors=(503,),
        example=Example(query={"groupBy": ["appId", "provider"]}),
    ),
    Endpoint(
        name="getRunUsage",
        method="GET",
        path="/api/runs/{runId}/usage",
        handler=usage_of_run,
        tag="usage",
        summary="A run's usage; 0 or null until it has ended",
        query=AsOfQuery,
        answers={200: RunUsageRead},
        errors=(404,),
    ),
)
