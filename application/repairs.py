"""What repairs itself says so: one line of the log for each thing that was put right, and a counter.

docs/how-to/observe.md has the table of all kinds; a test compares it with KINDS.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from application.observation.instruments import REPAIRS
from application.ports.telemetry import NO_MEASUREMENTS, Measurements
from application.trace_context import w3c_trace_id

MOST_LINES = 10
"""Of one round. What it has repaired beyond them is one more line, with their number."""
log = logging.getLogger(__name__)


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """`kind`: the label of the counter, and the member `repair` of the line. `message`: what was found, and what was
    done; `{…}` is a member of the line. `look`: what an operator may look at. `level`: a warning where something was
    wrong."""

    kind: str
    message: str
    look: str
    level: int = logging.WARNING


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was repaired, by the ids that are known of it. `trace_id`: of what it belongs to, in place of the round's.
    `about`: further members of the line."""

    session_id: str = ""
    run_id: str = ""
    effect_id: str = ""
    container_id: str = ""
    trace_id: str = ""
    about: Mapping[str, object] = {}


STALE_RUN = Repair(
    kind="stale_run",
    message="the lease of a run had run out: another run worker goes on with it where the log stands",
    look="fleetlog history RUN; the log of the process that held it",
)
STALE_EFFECT = Repair(
    kind="stale_effect",
    message="the lease of an effect had run out: another effect worker performs it",
    look="fleetlog effects list; the log of the process that held it",
)
LOST_QUEUE_ROW = Repair(
    kind="lost_queue_row",
    message="a run that has not ended was not in the queue: it enters it again as the log has it",
    look="fleetlog history RUN; who deletes rows of run_queue",
)
LOST_QUEUE_PLACE = Repair(
    kind="lost_queue_place",
    message="a run in the queue was not in its line: it can be claimed now",
    look="GET /api/runs/queue/RUN; ordinary after an upgrade",
    level=logging.INFO,
)
STALE_SYNC = Repair(
    kind="stale_sync",
    message="the last sync of a session worker was too old: another one is requested",
    look="GET /api/session-workers/SESSION",
)
OUTSIDE_RUN = Repair(
    kind="outside_run",
    message="nothing was heard of an external run for too long, or it went on for too long: it is ended",
    look="fleetlog history RUN; the program that executes it",
)
EXPIRED_QUESTION = Repair(
    kind="expired_question",
    message="nobody has answered a question in time: it is closed",
    look="GET /api/human-loop/requests?runId=RUN",
    level=logging.INFO,
)
ORPHAN_CONTAINER = Repair(
    kind="orphan_container",
    message="no session named a container, which held nothing: it is removed",
    look="fleetlog history SESSION",
)
EXECUTOR_DIED = Repair(
    kind="executor_died",
    message="the executor of a session worker had died: it is started again",
    look="fleetlog logs --worker SESSION",
)
CONTAINER_LOST = Repair(
    kind="container_lost",
    message="the container of a session worker was gone: the next run gets another one, with what was synced",
    look="GET /api/session-workers/SESSION; who removes containers",
)
PARKED_RUN = Repair(
    kind="parked_run",
    message="a parked run waits no more, which no event told: it can be claimed now",
    look="fleetlog history RUN",
    level=logging.INFO,
)
FULL_DISK = Repair(
    kind="full_disk",
    message="a container has written more than it may: its run is ended, it is synced and stopped",
    look="WORKER_DISK_MB; GET /api/session-workers/SESSION",
)
OUTAGE = Repair(
    kind="outage",
    message="{dependency} works again, after {seconds} s",
    look="GET /ready; the line that said that it is down",
)
EMBEDDED_SERVER = Repair(
    kind="embedded_server",
    message="the embedded {server} had ended: it runs again",
    look="its log in FLEETLOG_HOME",
)
SNAPSHOT = Repair(
    kind="snapshot",
    message="snapshot of {stream} ignored: {reason}; the state is folded from the log",
    look="fleetlog doctor; was a copy of the database restored?",
)
EGRESS_RULES = Repair(
    kind="egress_rules",
    message="the firewall's rules for containers were gone: they are in force again",
    look="GET /ready; who changes the host's firewall",
)
ORPHAN_RULES = Repair(
    kind="orphan_rules",
    message="firewall rules of an installation that is gone were found: they are removed",
    look="iptables -S DOCKER-USER",
    level=logging.INFO,
)
KINDS: Final = (
    STALE_RUN,
    STALE_EFFECT,
    LOST_QUEUE_ROW,
    LOST_QUEUE_PLACE,
    STALE_SYNC,
    OUTSIDE_RUN,
    EXPIRED_QUESTION,
    ORPHAN_CONTAINER,
    EXECUTOR_DIED,
    CONTAINER_LOST,
    PARKED_RUN,
    FULL_DISK,
    OUTAGE,
    EMBEDDED_SERVER,
    SNAPSHOT,
    EGRESS_RULES,
    ORPHAN_RULES,
)


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
        if more := len(found) - MOST_LINES if len(found) > MOST_LINES else 0:
            members = _members(repair, Found(), trace_id, command_id) | {"more": more}
            log.log(repair.level, "and %d more: %s", more, repair.message, extra=members)


UNCOUNTED = Repairs()


def trace_of_round(trace_id: str, correlation_id: str) -> str:
    """Of a command by its context: what no request from outside has caused has a trace of its own."""
    return trace_id or w3c_trace_id(correlation_id)


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
