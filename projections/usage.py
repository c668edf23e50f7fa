"""Tokens and cost of each run, as the event that ends it reports them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec.structs import replace

from domain.record import RecordedEvent
from domain.run import events as e
from domain.run.values import RunOutcome, Usage
from projections.projection import Column, Projection, RowStruct, View, id_of_stream

MAX_TOKENS = 2**62
Dimension = Literal["runId", "sessionId", "appId", "projectName", "userLoginName", "provider", "model", "day"]


class UsageRow(RowStruct, frozen=True, kw_only=True):
    """`outcome`: None until the run has ended. Provider and model of an external run are empty; so are app, project and
    user where its session was not known when it was bound."""

    run_id: str
    session_id: str
    app_id: str = ""
    project_name: str = ""
    user_login_name: str = ""
    provider: str = ""
    model: str = ""
    outcome: RunOutcome | None = None
    usage: Usage = Usage()
    finished_at: datetime | None = None


class RunUsage(View, frozen=True, kw_only=True):
    """`settled`: the run has ended. Until then `day` (UTC) and `finishedAt` are null, and all numbers 0 or null."""

    run_id: str
    session_id: str
    app_id: str
    project_name: str
    user_login_name: str
    provider: str
    model: str
    settled: bool
    outcome: RunOutcome | None
    day: str | None
    finished_at: datetime | None
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None
    cost_usd: float | None


def fold(row: UsageRow | None, recorded: RecordedEvent) -> UsageRow | None:
    event = recorded.event
    match event:
        case e.RunQueued(spec=spec) | e.RunBlocked(spec=spec) if row is None:
            return UsageRow(
                run_id=id_of_stream(recorded),
                session_id=spec.session_id,
                app_id=spec.app_id,
                project_name=spec.project_name,
                user_login_name=spec.user_login_name,
                provider=spec.provider,
                model=spec.model,
            )
        case e.RunBound() if row is None:
            return UsageRow(
                run_id=id_of_stream(recorded),
                session_id=event.bound_session_id,
                app_id=event.app_id,
                project_name=event.project_name,
                user_login_name=event.user_login_name,
            )
        case e.RunFinished() if row is not None and row.outcome is None:
            return replace(row, outcome=event.outcome, usage=event.usage, finished_at=recorded.occurred_at)
        case _:
            return row


def columns(row: UsageRow) -> tuple[Column, ...]:
    """In the order of the table; the day is null until the run has ended."""
    return (
        row.session_id,
        row.app_id,
        row.project_name,
        row.user_login_name,
        row.provider,
        row.model,
        day(row),
        _bounded(row.usage.input_tokens),
        _bounded(row.usage.output_tokens),
        None if row.usage.cached_input_tokens is None else _bounded(row.usage.cached_input_tokens),
        row.usage.cost_usd,
    )


def _bounded(tokens: int) -> int:
    """Bounded, so that sums fit into Postgres' numbers, whatever a provider reports."""
    return max(-MAX_TOKENS, min(tokens, MAX_TOKENS))


def day(row: UsageRow) -> str | None:
    """The day in UTC on which the run ended, such as 2026-03-04."""
    return row.finished_at.date().isoformat() if row.finished_at else None


def view(row: UsageRow) -> RunUsage:
    return RunUsage(
        run_id=row.run_id,
        session_id=row.session_id,
        app_id=row.app_id,
        project_name=row.project_name,
        user_login_name=row.user_login_name,
        provider=row.provider,
        model=row.model,
        settled=row.outcome is not None,
        outcome=row.outcome,
        day=day(row),
        finished_at=row.finished_at,
        input_tokens=row.usage.input_tokens,
        output_tokens=row.usage.output_tokens,
        cached_input_tokens=row.usage.cached_input_tokens,
        cost_usd=row.usage.cost_usd,
    )


_DIMENSIONS: tuple[Dimension, ...] = (
    "runId",
    "sessionId",
    "appId",
    "projectName",
    "userLoginName",
    "provider",
    "model",
    "day",
)


def report(
    group_by: Sequence[Dimension], sums: Iterable[Sequence[Any]]
) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """The groups of a report, and their total. `sums`: rows of the eight dimensions, then the number of runs, input,
    output and cached tokens, and the cost; the last two are None if no run reported them."""
    rows = [list(row) for row in sums]
    groups = tuple(
        {
            **{name: value for name, value in zip(_DIMENSIONS, row, strict=False) if name in group_by},
            **_numbers([row[len(_DIMENSIONS) :]]),
        }
        for row in rows
    )
    return groups, _numbers([row[len(_DIMENSIONS) :] for row in rows])


def _numbers(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    added: list[Any] = []
    for column in range(5):
        known = [row[column] for row in rows if row[column] is not None]
        added.append(sum(known) if known or column < 3 else None)
    runs, tokens_in, tokens_out, cached, cost = added
    return {
        "runs": runs,
        "inputTokens": int(tokens_in),
        "outputTokens": int(tokens_out),
        "cachedInputTokens": None if cached is None else int(cached),
        "costUsd": None if cost is None else float(cost),
    }


USAGE: Projection[UsageRow] = Projection(
    name="usage",
    version=2,
    row_type=UsageRow,
    events=[e.RunQueued, e.RunBlocked, e.RunBound, e.RunFinished],
    key=id_of_stream,
    fold=fold,
    columns=columns,
    row_per_stream=True,
)
