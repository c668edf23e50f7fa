"""Composes what the API and the background tasks share: the log, its tail, the aggregates, the commands."""

import os
import random
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import psycopg
from psycopg_pool import PoolTimeout

from application.aggregates.aggregates import Aggregates
from application.aggregates.reconcile_log import ReconcileLog, TakeoverLog
from application.operations.consumer_control import ProcessManagerControl
from application.operations.operator_commands import OperatorCommands
from application.outages import Outages
from application.ports.object_store import ObjectStore
from application.ports.providers import Providers
from application.ports.worker_processes import WorkerProcesses
from application.ports.worker_runtime import OwnedWorkerRuntime
from application.process_managers.commands import ProcessManagerCommands
from application.repairs.said import Repairs
from application.runs.callbacks import RecordCallbacks
from application.runs.commands import RunCommands, Runs
from application.runs.execution import RunExecutions
from application.runs.execution_context import ExecutionPorts
from application.runs.fork_conversations import ForkConversations
from application.runs.limits import RunLimits
from application.runs.provider_catalog import ProviderCatalog
from application.runs.session_quotas import SessionQuotas
from application.runs.worker import RunWorker
from application.sessions.commands import SessionCommands, Sessions
from application.sessions.session_workers import SessionWorkers
from application.sessions.titles import SessionTitles, TitleSessions
from application.sessions.worker_storage import WorkerStorage
from application.sessions.workspace_syncs import WorkspaceSyncs
from domain.identifiers import run_stream, session_stream
from domain.run.decide import decide as decide_run
from domain.run.quotas import RunQuotas, evolve_counting
from domain.run.state import Run
from domain.run.values import RunSpec
from domain.session.decide import decide as decide_session
from domain.session.evolve import evolve as evolve_session
from domain.session.state import SessionWorker
from domain.session.title import decide as decide_title
from domain.session.title import evolve as evolve_title
from infrastructure.boto3_store.store import calling_threads
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.directory import HttpExecutorDirectory, SharedExecutor
from infrastructure.executor_client.observed_calls import ObservedCalls
from infrastructure.freed_memory import return_freed_memory
from infrastructure.postgres.connections import open_untried_pool
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.effect_ledger.ledger import EFFECTS_CHANNEL, PostgresEffectLedger
from infrastructure.postgres.effect_ledger.records import PostgresEffectRecords
from infrastructure.postgres.event_store.aggregate_snapshots import PostgresAggregateSnapshots, open_snapshot_pool
from infrastructure.postgres.event_store.errors import EventStoreUnavailable
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.parked_runs import PARKED_RUNS_CHANNEL, PostgresParkedRuns
from infrastructure.postgres.process_managers.records import PostgresProcessManagerRecords
from infrastructure.postgres.run_queue import RUN_QUEUE_CHANNEL, PostgresRunQueue
from infrastructure.postgres.run_secrets import PostgresRunSecrets
from infrastructure.postgres.session_traffic import PostgresSessionTraffic
from infrastructure.postgres.worker_processes import PostgresWorkerProcesses
from infrastructure.streams.hub import StreamHub
from infrastructure.system_clock import monotonic, new_id, now
from interfaces.bootstrap.backing import BackingServices
from interfaces.bootstrap.object_store import object_store_session, open_object_store
from interfaces.bootstrap.quotas import hourly_quotas, run_quotas, workspace_limits
from interfaces.bootstrap.reads import ReadSide, open_reads
from interfaces.bootstrap.runtime import installation_redaction, worker_runtime
from interfaces.bootstrap.startup_errors import startup_errors
from interfaces.bootstrap.telemetry import Telemetry
from interfaces.bootstrap.worker_store import WorkerStore, serve_store, worker_store
from interfaces.http.compatibility.run_frames import OLDER_FORMS
from interfaces.store_server import StoreServer

POOL_SIZE = 8
LOG_OUT_OF_REACH = (EventStoreUnavailable, psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, OSError)
"""The errors of commands while the database can't be reached."""


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """The open parts of one process. `owner`: the name under which it claims work, unique in an installation."""

    backing: BackingServices
    owner: str
    continuity: LogContinuity
    store: GroupCommitEventStore
    listener: PostgresListener
    hub: StreamHub
    reads: ReadSide
    runtime: OwnedWorkerRuntime
    providers: Providers
    directory: HttpExecutorDirectory
    ledger: PostgresEffectLedger
    queue: PostgresRunQueue
    parked_runs: PostgresParkedRuns
    sessions: Sessions
    runs: Runs
    session_workers: SessionWorkers
    syncs: WorkspaceSyncs
    session_commands: SessionCommands
    session_titles: TitleSessions
    run_commands: RunCommands
    callbacks: RecordCallbacks
    run_worker: RunWorker
    operator_commands: OperatorCommands
    process_managers: ProcessManagerControl
    process_manager_commands: ProcessManagerCommands
    process_manager_records: PostgresProcessManagerRecords
    reconcile_log: ReconcileLog
    objects: ObjectStore
    object_threads: Executor
    outages: Outages
    worker_processes: WorkerProcesses
    store_server: StoreServer | None
    telemetry: Telemetry


@asynccontextmanager
async def control_plane(backing: BackingServices, telemetry: Telemetry | None = None) -> AsyncIterator[ControlPlane]:
    """Raises StartRefused when the database can't be used."""
    async with AsyncExitStack() as stack:
        with startup_errors():
            plane = await _open(backing, telemetry or Telemetry(), stack)
        yield plane


async def _open(backing: BackingServices, telemetry: Telemetry, stack: AsyncExitStack) -> ControlPlane:
    settings, dsn = backing.settings, backing.dsn
    return_freed_memory()
    continuity = LogContinuity()
    store = await stack.enter_async_context(GroupCommitEventStore(dsn, continuity=continuity))
    listener = await stack.enter_async_context(PostgresListener(dsn, continuity=continuity))
    hub = await stack.enter_async_context(
        StreamHub(
            dsn,
            announcements=listener.position,
            max_streams=settings.max_streams,
            continuity=continuity,
            forms=OLDER_FORMS,
            measurements=telemetry.measurements,
        )
    )
    # Leases, attempts and the ledger need no WAL flush of their own: the log's next commit flushes them, too.
    pool = await open_untried_pool(dsn, continuity, size=POOL_SIZE, synchronous_commit="off")
    stack.push_async_callback(pool.close)
    owner = settings.run_queue_owner or f"{os.uname().nodename}-{os.getpid()}"
    reads = await open_reads(dsn, store, listener, owner, stack, continuity)
    session = await object_store_session(backing.object_store)
    redact = installation_redaction(backing)
    workers_store = await worker_store(backing, session, redact, stack)
    runtime, providers = worker_runtime(backing, workers_store, redact, telemetry.repairs)
    stack.callback(runtime.close)
    directory = await stack.enter_async_context(_directory(backing, workers_store, telemetry))
    sessions, runs = await _aggregates(dsn, store, continuity, run_quotas(settings), stack, telemetry.repairs)
    session_quotas = SessionQuotas(runs=runs, traffic=PostgresSessionTraffic(pool), quotas=hourly_quotas(settings))
    storage = WorkerStorage(sessions=sessions, secret=backing.secret, clock=monotonic)
    await serve_store(workers_store, backing, session, storage, unavailable=LOG_OUT_OF_REACH, stack=stack)
    await runtime.prepare()
    workers = SessionWorkers(
        sessions=sessions, runtime=runtime, directory=directory, secret=backing.secret, repairs=telemetry.repairs
    )
    syncs = WorkspaceSyncs(
        workers,
        first_after_s=settings.sync_progress_ms / 1000,
        limits=workspace_limits(settings),
        flush_store=backing.flush_object_store,
    )
    effects_signal = stack.enter_context(listener.subscribe(EFFECTS_CHANNEL))
    queue_signal = stack.enter_context(listener.subscribe(RUN_QUEUE_CHANNEL))
    parked_signal = stack.enter_context(listener.subscribe(PARKED_RUNS_CHANNEL))
    queue = PostgresRunQueue(
        pool,
        queue_signal,
        stack.enter_context(listener.subscribe(PARKED_RUNS_CHANNEL)),
        max_running=settings.max_runs,
        max_per_user=settings.max_runs_per_user,
        max_per_app=settings.max_runs_per_app,
    )
    reconcile_log = ReconcileLog(store=store, clock=now)
    objects = await open_object_store(session)
    stack.callback(objects.close)
    object_threads = calling_threads()
    stack.callback(partial(object_threads.shutdown, wait=False, cancel_futures=True))
    outages = Outages(over=telemetry.repairs.outage_over)
    run_secrets = PostgresRunSecrets(pool, backing.secret)
    conversations = ForkConversations(runs=runs, store=store, providers=providers)
    run_commands = RunCommands(
        runs=runs,
        sessions=sessions,
        tail=hub,
        providers=providers,
        new_id=new_id,
        redact=redact,
        secrets=run_secrets,
        allow_high_priority=settings.allow_high_priority,
    )
    return ControlPlane(
        backing=backing,
        owner=owner,
        continuity=continuity,
        store=store,
        listener=listener,
        hub=hub,
        reads=reads,
        runtime=runtime,
        providers=providers,
        directory=directory,
        ledger=PostgresEffectLedger(
            pool, effects_signal, max_workers=settings.max_workers, max_starting=settings.max_starting
        ),
        queue=queue,
        parked_runs=PostgresParkedRuns(pool, parked_signal),
        sessions=sessions,
        runs=runs,
        session_workers=workers,
        syncs=syncs,
        session_commands=SessionCommands(
            sessions=sessions,
            tail=hub,
            ensure_up=workers.ensure_up,
            run_is_not_executing=run_commands.is_not_executing,
            candidates=reads.models,
            clock=now,
            new_id=new_id,
        ),
        session_titles=TitleSessions(_titles(store), redact),
        run_commands=run_commands,
        reconcile_log=reconcile_log,
        process_managers=ProcessManagerControl(store=store, clock=now),
        process_manager_commands=ProcessManagerCommands(
            runs=runs, sessions=sessions, store=store, clock=now, unavailable=LOG_OUT_OF_REACH
        ),
        process_manager_records=PostgresProcessManagerRecords(pool),
        objects=objects,
        object_threads=object_threads,
        outages=outages,
        worker_processes=PostgresWorkerProcesses(pool),
        store_server=workers_store.server,
        telemetry=telemetry,
        operator_commands=OperatorCommands(store=store, records=PostgresEffectRecords(pool), clock=now),
        callbacks=RecordCallbacks(
            runs=runs,
            store=store,
            clock=now,
            human_loop_timeout_ms=settings.human_loop_timeout_ms,
            redact=redact,
            secrets=run_secrets,
            session_quotas=session_quotas,
        ),
        run_worker=RunWorker(
            queue=queue,
            executions=RunExecutions(
                _execution_ports(
                    backing,
                    runs,
                    workers,
                    syncs,
                    hub,
                    conversations,
                    outages,
                    providers,
                    run_secrets,
                    session_quotas,
                )
            ),
            takeover_log=TakeoverLog(reconcile_log),
            owner=owner,
            lease=timedelta(milliseconds=settings.run_queue_lock_ms),
            retry_delay=timedelta(milliseconds=settings.run_queue_retry_delay_ms),
            concurrency=settings.max_runs_per_process,
            spans=telemetry.spans,
            repairs=telemetry.repairs,
        ),
    )


async def _aggregates(
    dsn: str,
    store: GroupCommitEventStore,
    continuity: LogContinuity,
    quotas: RunQuotas,
    stack: AsyncExitStack,
    repairs: Repairs,
) -> tuple[Sessions, Runs]:
    pool = await open_snapshot_pool(dsn, continuity)
    stack.push_async_callback(pool.close)
    sessions: Sessions = Aggregates(
        store=store,
        clock=now,
        stream_of=session_stream,
        decide=decide_session,
        evolve=evolve_session,
        snapshots=await stack.enter_async_context(
            PostgresAggregateSnapshots(pool, state_type=SessionWorker, repairs=repairs)
        ),
    )
    runs: Runs = Aggregates(
        store=store,
        clock=now,
        stream_of=run_stream,
        decide=partial(decide_run, quotas=quotas),
        evolve=evolve_counting,
        snapshots=await stack.enter_async_context(PostgresAggregateSnapshots(pool, state_type=Run, repairs=repairs)),
    )
    return sessions, runs


def _titles(store: GroupCommitEventStore) -> SessionTitles:
    return Aggregates(store=store, clock=now, stream_of=session_stream, decide=decide_title, evolve=evolve_title)


def _execution_ports(
    backing: BackingServices,
    runs: Runs,
    workers: SessionWorkers,
    syncs: WorkspaceSyncs,
    hub: StreamHub,
    conversations: ForkConversations,
    outages: Outages,
    providers: ProviderCatalog,
    run_secrets: PostgresRunSecrets,
    session_quotas: SessionQuotas,
) -> ExecutionPorts:
    settings = backing.settings
    is_ours = settings.executor_base_url is None
    return ExecutionPorts(
        runs=runs,
        workers=workers,
        syncs=syncs,
        tail=hub,
        clock=now,
        human_loop_timeout=timedelta(milliseconds=settings.human_loop_timeout_ms),
        limits=RunLimits(
            run=timedelta(milliseconds=settings.run_timeout_ms),
            silence=timedelta(milliseconds=settings.run_silence_timeout_ms),
        ),
        jitter=random.random,
        outages=outages,
        agent_variables=providers.variables_of if is_ours else _none_of,
        api_url=settings.callbacks_at(serves_api=backing.serves_api),
        conversations=conversations,
        run_secrets=run_secrets,
        session_quotas=session_quotas,
    )


def _none_of(_: RunSpec) -> dict[str, str]:
    """An executor that is run outside of Fleetlog has its agents' variables itself."""
    return {}


def _directory(backing: BackingServices, store: WorkerStore, telemetry: Telemetry) -> HttpExecutorDirectory:
    settings = backing.settings
    shared = None
    if settings.executor_base_url is not None:
        shared = SharedExecutor(base_url=settings.executor_base_url, token=settings.executor_auth_token or "")
    return HttpExecutorDirectory(
        backing.secret,
        policy=CallPolicy(
            timeout_s=settings.executor_timeout_ms / 1000,
            max_retries=settings.executor_max_retries,
            retry_delay_s=settings.executor_retry_delay_ms / 1000,
            retry_statuses=settings.executor_retry_status_codes,
        ),
        shared=shared,
        store=store.headers,
        observed=ObservedCalls(telemetry.spans, telemetry.measurements),
    )
