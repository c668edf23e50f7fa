"""What repairs itself: the kinds, and what is said of each. docs/how-to/observe.md has them as a table."""

import logging
from typing import Final

import msgspec


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """`kind`: the label of the counter, and the member `repair` of the line. `message`: what was found, and what was
    done; `{…}` is a member of the line. `look`: what an operator may look at. `level`: a warning where something was
    wrong."""

    kind: str
    message: str
    look: str
    level: int = logging.WARNING


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
