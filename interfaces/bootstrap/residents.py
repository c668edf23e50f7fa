"""The tasks that work all the time: process managers, effects, runs, projections, the schedule."""

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from application.content_collection import RequestCollections
from application.effect_worker import EffectWorker
from application.effects.table import effect_handlers
from application.findings import Takeovers
from application.missing_runs import RestoreMissingRuns
from application.orphans import CleanOrphans
from application.process_managers.table import PROCESS_MANAGERS, react, wire_names
from application.schedule import Schedule
from infrastructure.process_managers.runner import ProcessManagerRunner
from infrastructure.search.indexer import EventIndexer
from infrastructure.workspace.collect import S3ContentCollector
from infrastructure.workspace.copying import S3WorkspaceCopier
from interfaces.bootstrap.control_plane import ControlPlane, new_id, now


def scheduled(plane: ControlPlane) -> Schedule:
    """What is done by the clock, or on request."""
    settings = plane.foundation.settings
    return Schedule(
        sessions=plane.session_commands,
        runs=plane.run_commands,
        candidates=plane.reads.candidates,
        questions=plane.reads.questions,
        orphans=CleanOrphans(sessions=plane.sessions, store=plane.store, runtime=plane.runtime, clock=now),
        effects=plane.ledger,
        collections=RequestCollections(
            sessions=plane.sessions,
            candidates=plane.reads.candidates,
            clock=now,
            retention=timedelta(milliseconds=settings.workspace_retention_ms),
        ),
        missing_runs=RestoreMissingRuns(runs=plane.runs, queue=plane.queue, store=plane.store, findings=plane.findings),
        findings=plane.findings,
        clock=now,
        new_id=new_id,
        idle_timeout=timedelta(milliseconds=settings.idle_timeout_ms),
        remove_after=timedelta(milliseconds=settings.remove_after_ms),
        stale_sync_after=timedelta(milliseconds=settings.stale_sync_after_ms),
    )


def residents(plane: ControlPlane) -> dict[str, Coroutine[Any, Any, None]]:
    """By name; each runs until it is cancelled."""
    process_managers = ProcessManagerRunner(
        dsn=plane.foundation.dsn,
        store=plane.store,
        position=plane.listener.position,
        react=react,
        managers={name: wire_names(name) for name in PROCESS_MANAGERS},
        controls=plane.process_managers,
    )
    effects = EffectWorker(
        ledger=plane.ledger,
        handlers=effect_handlers(
            run_aggregates=plane.runs,
            workers=plane.workers,
            store=plane.store,
            collector=S3ContentCollector(plane.objects, clock=now),
            copier=S3WorkspaceCopier(plane.objects),
            syncs=plane.syncs,
        ),
        given_up=plane.work_control.given_up,
        takeovers=Takeovers(plane.findings),
        owner=plane.owner,
        lease=timedelta(milliseconds=plane.foundation.settings.run_queue_lock_ms),
    )
    return {
        "process managers": process_managers.run(),
        "effects": effects.run(),
        "runs": plane.run_worker.run(),
        "projections": plane.reads.projector.run(),
        "event index": EventIndexer(plane.foundation.dsn, plane.listener.position).run(),
        "schedule": scheduled(plane).run(),
    }
