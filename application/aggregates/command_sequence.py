"""A sequence of commands to several aggregates, appended in one commit instead of one each.

The result is that of handling them one after the other: a step is written only when the one before it was. From the
first step that can't join the commit (a lost race, an aggregate that is not in the cache), they are handled one by one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from application.aggregates.aggregates import Aggregates, CommandResult, PlannedAppend
from application.command_context import CommandContext
from application.ports.event_store import AppendResult
from domain.errors import DomainError


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Commands to one aggregate, as `Aggregates.handle_batch` takes them. `when` is given the state after the step
    before: if it answers False, the sequence ends before this step. `may_be_refused`: a refusal by `decide` ends the
    sequence before this step instead of being raised."""

    aggregates: Aggregates[Any, Any]
    key: str
    commands: Sequence[tuple[Any, str]]
    context: CommandContext
    when: Callable[[Any], bool] = lambda _state: True
    may_be_refused: bool = False


async def handle_sequence(steps: Sequence[Step]) -> list[CommandResult[Any]]:
    """The results of the steps that were done, in order; fewer than `steps` if the sequence ended early. Raises what
    the aggregates' `decide` raises."""
    plans = _plan_leading_steps(steps)
    results: list[CommandResult[Any]] = []
    if len(plans) > 1:
        appends = [plan.append for plan in plans]
        for step, plan, result in zip(
            steps, plans, await steps[0].aggregates.store.append_sequence(appends), strict=False
        ):
            if isinstance(result, AppendResult) and not result.duplicate:
                results.append(step.aggregates.appended(plan, result))
    for step in steps[len(results) :]:
        if results and not step.when(results[-1].state):
            break
        try:
            results.append(await step.aggregates.handle_batch(step.key, step.commands, step.context))
        except DomainError:
            if step.may_be_refused:
                break
            raise
    return results


def _plan_leading_steps(steps: Sequence[Step]) -> list[PlannedAppend[Any]]:
    """The leading steps, as far as they can be decided on cached states."""
    plans: list[PlannedAppend[Any]] = []
    for step in steps:
        if plans and not step.when(plans[-1].state):
            break
        before = next(
            (plan for plan in reversed(plans) if plan.append.stream == step.aggregates.stream(step.key)), None
        )
        plan = step.aggregates.plan(step.key, step.commands, step.context, before)
        if plan is None:
            break
        plans.append(plan)
    return plans
