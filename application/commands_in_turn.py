"""Commands to several aggregates that follow one another, in one commit instead of one each.

It is the same as sending them one after the other: each counts only when the one before it was written, and what the
fast way can't do (a lost race, an aggregate that this process has not seen) is done in the ordinary one, step by step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from application.aggregates import Aggregates, Handled, Planned
from application.command_context import CommandContext
from application.ports import AppendResult
from domain.errors import DomainError


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Commands to one aggregate, as `Aggregates.handle_batch` takes them. `when`: given the state after the step
    before, whether this one is to be done at all. `may_be_refused`: then the steps end before it, without an error."""

    aggregates: Aggregates[Any, Any]
    key: str
    commands: Sequence[tuple[Any, str]]
    context: CommandContext
    when: Callable[[Any], bool] = lambda _state: True
    may_be_refused: bool = False


async def handle_in_turn(steps: Sequence[Step]) -> list[Handled[Any]]:
    """What the steps led to, as far as they went. Raises what their aggregates' `decide` raises."""
    plans = _planned(steps)
    handled: list[Handled[Any]] = []
    if len(plans) > 1:
        appends = [plan.append for plan in plans]
        for step, plan, result in zip(
            steps, plans, await steps[0].aggregates.store.append_in_turn(appends), strict=False
        ):
            if isinstance(result, AppendResult) and not result.duplicate:
                handled.append(step.aggregates.written(plan, result))
    for step in steps[len(handled) :]:
        if handled and not step.when(handled[-1].state):
            break
        try:
            handled.append(await step.aggregates.handle_batch(step.key, step.commands, step.context))
        except DomainError:
            if step.may_be_refused:
                break
            raise
    return handled


def _planned(steps: Sequence[Step]) -> list[Planned[Any]]:
    """The steps as far as they can be decided on what this process last saw."""
    plans: list[Planned[Any]] = []
    for step in steps:
        if plans and not step.when(plans[-1].state):
            break
        before = next(
            (plan for plan in reversed(plans) if plan.append.stream == step.aggregates.stream(step.key)), None
        )
        plan = step.aggregates.planned(step.key, step.commands, step.context, before)
        if plan is None:
            break
        plans.append(plan)
    return plans
