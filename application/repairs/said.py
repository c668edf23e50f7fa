"""What repairs itself says so: one line of the log for each thing that was put right, and a counter."""

import logging
from collections.abc import Mapping, Sequence

import msgspec

from application.command_context import CommandContext
from application.observation.instruments import REPAIRS
from application.ports.telemetry import NO_MEASUREMENTS, Measurements
from application.repairs.kinds import OUTAGE, Repair
from application.trace_context import w3c_trace_id

MOST_LINES = 10
"""Of one round. What it has repaired beyond them is one more line, with their number."""
log = logging.getLogger(__name__)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was repaired, by the ids that are known of it. `trace_id`: of what it belongs to, in place of the round's.
    `about`: further members of the line."""

    session_id: str = ""
    run_id: str = ""
    effect_id: str = ""
    container_id: str = ""
    trace_id: str = ""
    about: Mapping[str, object] = {}


class Repairs:
    """Says and counts what this process has repaired. From any thread."""

    def __init__(self, measurements: Measurements = NO_MEASUREMENTS) -> None:
        self._measurements = measurements

    def made(self, repair: Repair, *found: Found, trace_id: str = "", command_id: str = "") -> None:
        """`trace_id` and `command_id`: of the round, as the events have them that it led to. Of many, the first
        MOST_LINES have a line of their own."""
        if not found:
            return
        self._measurements.add(
            REPAIRS, repair.kind, value=len(found), trace_id=_exemplar(found[0].trace_id or trace_id)
        )
        for each in found[:MOST_LINES]:
            members = _members(repair, each, trace_id, command_id)
            log.log(repair.level, "%s", repair.message.format_map(each.about), extra=members)
        more = len(found) - MOST_LINES
        if more > 0:
            members = _members(repair, Found(), trace_id, command_id) | {"more": more}
            log.log(repair.level, "and %d more: %s", more, repair.message, extra=members)

    def of_round(self, repair: Repair, context: CommandContext, *found: Found) -> None:
        """What the command of this context led to. One that no request from outside has caused has a trace of its
        own."""
        trace_id = context.trace_id or w3c_trace_id(context.correlation_id)
        self.made(repair, *found, trace_id=trace_id, command_id=context.command_id)

    def outage_over(self, dependency: str, seconds: int) -> None:
        self.made(OUTAGE, Found(about={"dependency": dependency, "seconds": seconds}))


UNCOUNTED = Repairs()


def _members(repair: Repair, found: Found, trace_id: str, command_id: str) -> dict[str, object]:
    ids = {
        "traceId": found.trace_id or trace_id,
        "sessionId": found.session_id,
        "runId": found.run_id,
        "effectId": found.effect_id,
        "containerId": found.container_id,
        "commandId": command_id,
    }
    known = {name: value for name, value in ids.items() if value}
    return {"repair": repair.kind, **known, **found.about, "look": repair.look}


def _exemplar(trace_id: str) -> str:
    return w3c_trace_id(trace_id) if trace_id else ""


def runs_of(run_ids: Sequence[str]) -> tuple[Found, ...]:
    return tuple(Found(run_id=run_id) for run_id in run_ids)
