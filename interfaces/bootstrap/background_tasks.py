"""Composes the background tasks of `fleetlog up` and `fleetlog worker`."""

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from application.aggregates.reconcile_log import TakeoverLog
from application.effects.observed_effects import ObservedEffects
from application.effects.table import effect_handlers
from application.effects.worker import EffectWorker
from application.operations.disk_watch import DiskWatch
from application.operations.presence import Presence
from application.ports.telemetry import NO_SPANS
from application.process_managers.table import PROCESS_MANAGERS, outcomes_of, wire_names
from application.runs.parked import LookAtParkedRuns
from application.sessions.executor_logs import ForwardExecutorLogs
from infrastructure.operations.readiness import ObjectStoreReadiness
from infrastructure.postgres.log_observation import LogObservation
from infrastructure.postgres.process_managers.runner import ProcessManagerRunner
from infrastructure.postgres.search.indexer import EventIndexer
from infrastructure.stored_workspaces.collection import S3ContentCollector
from infrastructure.stored_workspaces.copying import S3WorkspaceCopier
from infrastructure.system_clock import new_id, now
from interfaces.bootstrap.control_plane import ControlPlane
from interfaces.bootstrap.operations import schedule


def background_tasks(plane: ControlPlane) -> dict[str, Coroutine[Any, Any, None]]:
    """The tasks by name; each runs until it is cancelled."""
    settings, repairs = plane.backing.settings, plane.telemetry.repairs
    process_managers = ProcessManagerRunner(
        dsn=plane.backing.dsn,
        store=plane.store,
        position=plane.listener.position,
        outcomes_of=outcomes_of,
        managers={name: wire_names(name) for name in PROCESS_MANAGERS},
        control=plane.process_managers,
        commands=plane.process_manager_commands,
        continuity=plane.continuity,
    )
    effects = EffectWorker(
        ledger=plane.ledger,
        handlers=effect_handlers(
            run_aggregates=plane.runs,
            workers=plane.session_workers,
            store=plane.store,
            collector=S3ContentCollector(plane.objects, plane.object_threads, clock=now),
            copier=S3WorkspaceCopier(plane.objects),
            syncs=plane.syncs,
            commands=plane.process_manager_commands,
        ),
        given_up=plane.operator_commands.given_up,
        takeover_log=TakeoverLog(plane.reconcile_log),
        owner=plane.owner,
        slots={
            "short": settings.effect_slots,
            "long": settings.long_effect_slots,
            "stop": settings.long_effect_slots,
        },
        lease=timedelta(milliseconds=settings.run_queue_lock_ms),
        outages=plane.outages,
        check_store=ObjectStoreReadiness(plane.objects, plane.object_threads).check,
        observed=ObservedEffects(plane.telemetry.spans, plane.telemetry.measurements),
        repairs=repairs,
    )
    observation = LogObservation(
        dsn=plane.backing.dsn,
        store=plane.store,
        end_of_log=plane.listener.position,
        measurements=plane.telemetry.measurements,
        spans=plane.telemetry.spans,
        traces=plane.telemetry.spans is not NO_SPANS,
        pace=plane.telemetry.pace,
        continuity=plane.continuity,
    )
    exports = plane.telemetry.exports
    logs = exports.logs if exports is not None else None
    disk_watch = DiskWatch(
        sessions=plane.sessions, runs=plane.runs, runtime=plane.runtime, new_id=new_id, repairs=repairs
    )
    return {
        "process managers": process_managers.run(),
        "effects": effects.run(),
        "runs": plane.run_worker.run(),
        "parked runs": LookAtParkedRuns(
            parked=plane.parked_runs, runs=plane.runs, workers=plane.session_workers, repairs=repairs
        ).run(),
        "projections": plane.reads.projector.run(),
        "observation": observation.run(),
        "event index": EventIndexer(plane.backing.dsn, plane.listener.position, plane.continuity).run(),
        "schedule": schedule(plane).run(),
        "presence": Presence(
            processes=plane.worker_processes,
            outages=plane.outages,
            check_runtime=plane.runtime.check,
            owner=plane.owner,
        ).run(),
        "disk watch": disk_watch.run(),
        **({"logs of executors": ForwardExecutorLogs(plane.session_workers, logs.write_of).run()} if logs else {}),
    }
