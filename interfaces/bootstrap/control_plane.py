"""The control plane's parts that the API and the workers share: the log, its tail, the aggregates, the commands."""

import random
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from application.aggregates import Aggregates
from application.callbacks import RecordCallbacks
from application.carried_conversations import CarriedConversations
from application.effects.workers import Workers
from application.effects.workspace_syncs import WorkspaceSyncs
from application.findings import Findings, Takeovers
from application.process_manager_control import ProcessManagerControls
from application.providers import Providers
from application.run_commands import RunCommands, Runs
from application.run_execution import RunExecutions
from application.run_limits import RunLimits
from application.run_worker import RunWorker
from application.session_commands import SessionCommands, Sessions
from application.work_control import WorkControl
from domain.identifiers import run_stream, session_stream
from domain.run.decide import decide as decide_run
from domain.run.evolve import evolve as evolve_run
from domain.run.state import Run
from domain.session.decide import decide as decide_session
from domain.session.evolve import evolve as evolve_session
from domain.session.state import SessionWorker
from infrastructure.effects.ledger import EFFECTS_CHANNEL, PostgresEffectLedger
from infrastructure.effects.records import PostgresEffectRecords
from infrastructure.eventstore.aggregate_snapshots import PostgresAggregateSnapshots, open_snapshot_pool
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.directory import HttpExecutorDirectory, SharedExecutor
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.sessions import open_untried_pool
from infrastructure.process_managers.records import PostgresProcessManagerRecords
from infrastructure.run_queue.queue import RUN_QUEUE_CHANNEL, PostgresRunQueue
from infrastructure.streams.hub import StreamHub
from interfaces.bootstrap.foundation import Foundation, open_object_store, process_owner, refusals
from interfaces.bootstrap.reads import ReadSide, open_reads
from interfaces.bootstrap.runtime import ResidentRuntime, worker_runtime

POOL_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """The parts of one process, open."""

    foundation: Foundation
    owner: str
    store: GroupCommitEventStore
    listener: PostgresListener
    hub: StreamHub
    reads: ReadSide
    runtime: ResidentRuntime
    providers: Providers
    directory: HttpExecutorDirectory
    ledger: PostgresEffectLedger
    queue: PostgresRunQueue
    sessions: Sessions
    runs: Runs
    workers: Workers
    syncs: WorkspaceSyncs
    session_commands: SessionCommands
    run_commands: RunCommands
    callbacks: RecordCallbacks
    run_worker: RunWorker
    work_control: WorkControl
    process_managers: ProcessManagerControls
    process_manager_records: PostgresProcessManagerRecords
    findings: Findings
    objects: S3ObjectStore


def now() -> datetime:
    return datetime.now(UTC)


def new_id() -> str:
    return uuid.uuid4().hex


@asynccontextmanager
async def control_plane(foundation: Foundation) -> AsyncIterator[ControlPlane]:
    """Raises StartRefused when the database can't be used."""
    async with AsyncExitStack() as stack:
        with refusals():
            plane = await _open(foundation, stack)
        yield plane


async def _open(foundation: Foundation, stack: AsyncExitStack) -> ControlPlane:
    settings, dsn = foundation.settings, foundation.dsn
    store = await stack.enter_async_context(GroupCommitEventStore(dsn))
    listener = await stack.enter_async_context(PostgresListener(dsn))
    hub = await stack.enter_async_context(StreamHub(dsn, wakeups=listener.position, max_streams=settings.max_streams))
    # Leases, tries and the ledger need no flush of their own: whatever follows from them in the log flushes them, too.
    pool = await open_untried_pool(dsn, size=POOL_SIZE, synchronous_commit="off")
    stack.push_async_callback(pool.close)
    owner = process_owner(settings)
    reads = await open_reads(dsn, store, listener, owner, stack)
    directory = await stack.enter_async_context(_directory(foundation))
    runtime, providers = worker_runtime(foundation)
    stack.callback(runtime.close)
    sessions, runs = await _aggregates(dsn, store, stack)
    workers = Workers(sessions=sessions, runtime=runtime, directory=directory, secret=foundation.secret)
    syncs = WorkspaceSyncs(workers, first_after_s=settings.sync_progress_ms / 1000)
    effects_signal = stack.enter_context(listener.subscribe(EFFECTS_CHANNEL))
    queue_signal = stack.enter_context(listener.subscribe(RUN_QUEUE_CHANNEL))
    queue = PostgresRunQueue(pool, queue_signal, max_running=settings.max_runs)
    findings = Findings(store=store, clock=now)
    objects = open_object_store(foundation.object_store)
    stack.callback(objects.close)
    conversations = CarriedConversations(runs=runs, store=store, providers=providers)
    run_commands = RunCommands(runs=runs, tail=hub, providers=providers, new_id=new_id)
    return ControlPlane(
        foundation=foundation,
        owner=owner,
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
        sessions=sessions,
        runs=runs,
        workers=workers,
        syncs=syncs,
        session_commands=SessionCommands(
            sessions=sessions,
            tail=hub,
            ensure_up=workers.ensure_up,
            run_has_ended=run_commands.has_ended,
            candidates=reads.candidates,
            clock=now,
            new_id=new_id,
        ),
        run_commands=run_commands,
        findings=findings,
        process_managers=ProcessManagerControls(store=store, clock=now),
        process_manager_records=PostgresProcessManagerRecords(pool),
        objects=objects,
        work_control=WorkControl(store=store, records=PostgresEffectRecords(pool), clock=now),
        callbacks=RecordCallbacks(
            runs=runs, store=store, clock=now, human_loop_timeout_ms=settings.human_loop_timeout_ms
        ),
        run_worker=RunWorker(
            queue=queue,
            executions=_executions(foundation, runs, workers, syncs, hub, conversations),
            takeovers=Takeovers(findings),
            owner=owner,
            lease=timedelta(milliseconds=settings.run_queue_lock_ms),
        ),
    )


async def _aggregates(dsn: str, store: GroupCommitEventStore, stack: AsyncExitStack) -> tuple[Sessions, Runs]:
    pool = await open_snapshot_pool(dsn)
    stack.push_async_callback(pool.close)
    sessions: Sessions = Aggregates(
        store=store,
        clock=now,
        stream_of=session_stream,
        decide=decide_session,
        evolve=evolve_session,
        snapshots=await stack.enter_async_context(PostgresAggregateSnapshots(pool, state_type=SessionWorker)),
    )
    runs: Runs = Aggregates(
        store=store,
        clock=now,
        stream_of=run_stream,
        decide=decide_run,
        evolve=evolve_run,
        snapshots=await stack.enter_async_context(PostgresAggregateSnapshots(pool, state_type=Run)),
    )
    return sessions, runs


def _executions(
    foundation: Foundation,
    runs: Runs,
    workers: Workers,
    syncs: WorkspaceSyncs,
    hub: StreamHub,
    conversations: CarriedConversations,
) -> RunExecutions:
    settings = foundation.settings
    base = settings.callbacks_at(serves_api=foundation.serves_api)

    def callback_url(run_id: str) -> str:
        return f"{base}/api/runs/{quote(run_id, safe='')}/callbacks" if base else ""

    return RunExecutions(
        runs=runs,
        workers=workers,
        syncs=syncs,
        tail=hub,
        clock=now,
        retry_delay=timedelta(milliseconds=settings.run_queue_retry_delay_ms),
        human_loop_timeout=timedelta(milliseconds=settings.human_loop_timeout_ms),
        limits=RunLimits(
            run=timedelta(milliseconds=settings.run_timeout_ms),
            silence=timedelta(milliseconds=settings.run_silence_timeout_ms),
        ),
        jitter=random.random,
        callback_url=callback_url,
        conversations=conversations,
    )


def _directory(foundation: Foundation) -> HttpExecutorDirectory:
    settings = foundation.settings
    shared = None
    if settings.executor_base_url is not None:
        shared = SharedExecutor(base_url=settings.executor_base_url, token=settings.executor_auth_token or "")
    return HttpExecutorDirectory(
        foundation.secret,
        policy=CallPolicy(
            timeout_s=settings.executor_timeout_ms / 1000,
            max_retries=settings.executor_max_retries,
            retry_delay_s=settings.executor_retry_delay_ms / 1000,
            retry_statuses=settings.executor_retry_status_codes,
        ),
        shared=shared,
    )
