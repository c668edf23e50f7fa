"""The real API on a real server and a real Postgres, in a thread of its own: log, hub, read models, idempotency keys.

Nobody works here: no executor, no background tasks. What needs them stays pending; runs are driven by callbacks.
"""

import asyncio
import hashlib
import threading
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg

from application.aggregates.aggregates import Aggregates
from application.command_context import CommandContext
from application.operations.consumer_control import ProcessManagerControl
from application.operations.operator_commands import OperatorCommands
from application.operations.reconcilers import Reconcilers
from application.ports.operations import Gauge, Metric, ReconcileCounts
from application.ports.recorded_workspaces import RecordedWorkspaces
from application.ports.run_queue import DrainCounts, QueueItem
from application.runs.callback_tokens import CallbackTokens
from application.runs.callbacks import RecordCallbacks
from application.runs.commands import RunCommands
from application.runs.forking import ForkSessions
from application.runs.provider_catalog import ProviderCatalog
from application.runs.session_quotas import HourlyQuotas, SessionQuotas
from application.sessions.commands import SessionCommands
from application.sessions.executor_logs import ExecutorLogs
from application.sessions.session_workers import SessionWorkers
from application.sessions.titles import TitleSessions
from application.task_cancellation import cancel_and_wait
from domain.identifiers import run_stream, session_stream
from domain.run.decide import decide as decide_run
from domain.run.quotas import evolve_counting
from domain.session.decide import decide as decide_session
from domain.session.evolve import evolve as evolve_session
from domain.session.title import decide as decide_title
from domain.session.title import evolve as evolve_title
from domain.workspace.sync import ManifestEntry, SyncRef
from infrastructure.audit.log_audit import PostgresLogAudit
from infrastructure.executor.providers.descriptions import DESCRIPTIONS
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.directory import HttpExecutorDirectory
from infrastructure.installation_redaction import InstallationRedaction
from infrastructure.issued_secrets import IssuedSecrets
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.effect_ledger.records import PostgresEffectRecords
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.idempotency_keys import PostgresIdempotencyKeys
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.migrations import migrate
from infrastructure.postgres.process_managers.records import PostgresProcessManagerRecords
from infrastructure.postgres.projector.projector import Projector
from infrastructure.postgres.read_models.history import PostgresHistory
from infrastructure.postgres.read_models.past_versions import BUILD_SETTINGS, PastVersions
from infrastructure.postgres.read_models.progress import PostgresProjectionProgress
from infrastructure.postgres.read_models.read_models import PostgresReadModels
from infrastructure.postgres.run_secrets import PostgresRunSecrets
from infrastructure.postgres.search.event_search import PostgresEventSearch
from infrastructure.postgres.search.indexer import EventIndexer
from infrastructure.postgres.search.why import PostgresCausality
from infrastructure.postgres.session_traffic import PostgresSessionTraffic
from infrastructure.redaction import Redactor
from infrastructure.runtimes.installations import ProgramsOnPath
from infrastructure.streams.hub import StreamHub
from interfaces.bootstrap.api import ADAPTER_ERRORS
from interfaces.bootstrap.reads import projection_control
from interfaces.http.app import create_app
from interfaces.http.compatibility.run_frames import OLDER_FORMS
from interfaces.http.edge.auth import KeyHash
from interfaces.http.edge.dependencies import ApiDependencies
from interfaces.http.edge.rates import CallerRates, RateLimits
from interfaces.http.serving import serving
from projections.ports import NotProjectedYet
from tests.support.world_in_memory import MemoryRuntime

SECRET = b"a secret of the tests"
KEY = "the-key-of-ann"
PLANTED = "sk-a-secret-of-the-installation"
REDACT = InstallationRedaction(Redactor([PLANTED]), IssuedSecrets(0))
PROVIDER_CATALOG = ProviderCatalog(DESCRIPTIONS, ProgramsOnPath("/usr/bin"), {})
KEYS = (KeyHash(name="ann", sha256=hashlib.sha256(KEY.encode()).hexdigest()),)


class IdleQueue:
    """An empty queue."""

    async def drain(
        self, *, owner: str, limit: int, lease: timedelta | None, retry_delay: timedelta | None, wait_s: float
    ) -> DrainCounts:
        return DrainCounts()

    async def item(self, run_id: str) -> QueueItem | None:
        return None


class IdleReconcilers(Reconcilers):
    """They find one run to act on, and nothing else."""

    def __init__(self) -> None: ...

    async def reconcile_runs(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        return ReconcileCounts(examined=1)

    async def compensate_syncs(self, context: CommandContext) -> ReconcileCounts:
        return ReconcileCounts()

    async def free_effects(self, context: CommandContext) -> ReconcileCounts:
        return ReconcileCounts()

    async def clean_orphans(self, context: CommandContext, *, only_news: bool = False) -> ReconcileCounts:
        return ReconcileCounts()


class SomeMetrics:
    async def collect(self) -> Sequence[Metric]:
        return (
            Metric(
                name="queue_depth",
                help="Runs by state.",
                kind="gauge",
                samples=(Gauge(labels={"state": "queued"}, value=3),),
            ),
        )


class NobodyIdle:
    async def idle_workers(self, *, idle_before: datetime, limit: int, failing_too: bool) -> list[str]:
        return []

    async def stopped_workers(self, *, stopped_before: datetime, limit: int, failing_too: bool) -> list[str]:
        return []

    async def unsynced_workers(self, *, synced_before: datetime, limit: int) -> list[str]:
        return []


@dataclass
class DatabaseCheck:
    dsn: str
    name: str = "database"

    async def check(self) -> str:
        async with await psycopg.AsyncConnection.connect(self.dsn, connect_timeout=60) as connection:
            row = await (await connection.execute("SHOW server_version")).fetchone()
            assert row is not None
            return f"Postgres {row[0]}"


@dataclass
class ApiServer:
    """`url` of the running server; `run` runs a coroutine in its event loop; `deps` are its parts."""

    url: str
    dsn: str
    deps: ApiDependencies
    loop: asyncio.AbstractEventLoop

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120, trust_env=False, headers=headers)

    def run(self, coroutine: Coroutine[Any, Any, Any], timeout: float = 30) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def last_position(self) -> int:
        return int(self.run(self.deps.store.last_position()))


async def open_dependencies(
    dsn: str,
    stack: AsyncExitStack,
    *,
    api_keys: tuple[KeyHash, ...] = (),
    allowed_origins: frozenset[str] = frozenset(),
    max_streams: int = 100,
    projecting: bool = True,
    recorded: RecordedWorkspaces | None = None,
    rates: RateLimits | None = None,
) -> tuple[ApiDependencies, StreamHub]:
    store = await stack.enter_async_context(GroupCommitEventStore(dsn))
    recorded = recorded or OneFileRecorded()
    listener = await stack.enter_async_context(PostgresListener(dsn))
    hub = await stack.enter_async_context(
        StreamHub(dsn, announcements=listener.position, max_streams=max_streams, forms=OLDER_FORMS)
    )
    pool = await open_pool(dsn, size=8)
    stack.push_async_callback(pool.close)
    past_pool = await open_pool(dsn, size=2, **BUILD_SETTINGS)
    stack.push_async_callback(past_pool.close)
    control = projection_control(store)
    past = PastVersions(past_pool, control)
    stack.push_async_callback(past.close)
    progress = await stack.enter_async_context(PostgresProjectionProgress(pool, listener))
    if projecting:
        projector = Projector(dsn, control=control, end_of_log=listener.position)
        stack.push_async_callback(cancel_and_wait, [asyncio.create_task(projector.run())])
        indexer = EventIndexer(dsn, listener.position)
        stack.push_async_callback(cancel_and_wait, [asyncio.create_task(indexer.run())])
    sessions: Any = Aggregates(
        store=store,
        clock=lambda: datetime.now(UTC),
        stream_of=session_stream,
        decide=decide_session,
        evolve=evolve_session,
    )
    runs: Any = Aggregates(
        store=store, clock=lambda: datetime.now(UTC), stream_of=run_stream, decide=decide_run, evolve=evolve_counting
    )
    titles: Any = Aggregates(
        store=store,
        clock=lambda: datetime.now(UTC),
        stream_of=session_stream,
        decide=decide_title,
        evolve=evolve_title,
    )
    secrets = PostgresRunSecrets(pool, SECRET)
    run_commands = RunCommands(
        runs=runs,
        sessions=sessions,
        tail=hub,
        providers=PROVIDER_CATALOG,
        new_id=_new_id,
        redact=REDACT,
        secrets=secrets,
    )
    directory = await stack.enter_async_context(HttpExecutorDirectory(SECRET, policy=CallPolicy(max_retries=0)))
    workers = SessionWorkers(sessions=sessions, runtime=MemoryRuntime(), directory=directory, secret=SECRET)
    deps = ApiDependencies(
        executor_logs=ExecutorLogs(workers),
        sessions=SessionCommands(
            sessions=sessions,
            tail=hub,
            ensure_up=_is_up,
            run_is_not_executing=run_commands.is_not_executing,
            candidates=NobodyIdle(),
            clock=lambda: datetime.now(UTC),
            new_id=_new_id,
        ),
        titles=TitleSessions(titles, REDACT),
        runs=run_commands,
        forks=ForkSessions(
            runs=runs, sessions=sessions, store=store, tail=hub, recorded=recorded, providers=PROVIDER_CATALOG
        ),
        callbacks=RecordCallbacks(
            runs=runs,
            store=store,
            clock=lambda: datetime.now(UTC),
            human_loop_timeout_ms=3_600_000,
            redact=REDACT,
            secrets=secrets,
            session_quotas=SessionQuotas(runs=runs, traffic=PostgresSessionTraffic(pool), quotas=HourlyQuotas()),
        ),
        queue=IdleQueue(),
        queue_drain=IdleQueue(),
        process_managers=ProcessManagerControl(store=store, clock=lambda: datetime.now(UTC)),
        process_manager_records=PostgresProcessManagerRecords(pool),
        operator_commands=OperatorCommands(
            store=store, records=PostgresEffectRecords(pool), clock=lambda: datetime.now(UTC)
        ),
        reconcilers=IdleReconcilers(),
        store=store,
        streams=hub,
        search=PostgresEventSearch(pool),
        causality=PostgresCausality(pool),
        reads=PostgresReadModels(pool, past),
        history=PostgresHistory(pool),
        audit=PostgresLogAudit(
            dsn, pool, past, secret=SECRET, installation="of-the-tests", clock=lambda: datetime.now(UTC)
        ),
        recorded_workspaces=recorded,
        progress=progress,
        idempotency_keys=PostgresIdempotencyKeys(pool),
        callback_tokens=CallbackTokens(runs=runs, sessions=sessions, secret=SECRET),
        readiness=(DatabaseCheck(dsn),),
        metrics=SomeMetrics(),
        providers=PROVIDER_CATALOG,
        new_id=_new_id,
        adapter_errors=ADAPTER_ERRORS,
        api_keys=api_keys,
        allowed_origins=allowed_origins,
        rates=CallerRates(rates),
    )
    return deps, hub


class OneFileRecorded:
    """Syncs of one folder with one file, whose content is the key of the sync's manifest."""

    async def entries(self, sync: SyncRef) -> Sequence[ManifestEntry]:
        file = ManifestEntry(path="folder/file", kind="file", hash=sync.manifest_key)
        return (ManifestEntry(path="folder", kind="dir"), file)

    async def content(self, workspace_prefix: str, entry: ManifestEntry) -> bytes:
        return f"{workspace_prefix}/{entry.hash}".encode()


async def _is_up(_session_id: str, _context: Any) -> bool:
    return True


async def _has_read_models(deps: ApiDependencies) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await deps.reads.run("unknown")
            except NotProjectedYet:
                await asyncio.sleep(0.02)
            else:
                return


def _new_id() -> str:
    return uuid.uuid4().hex


@contextmanager
def running_api(dsn: str, **options: Any) -> Iterator[ApiServer]:
    """Serves until the block ends. `options` as `open_dependencies` takes them."""
    started: list[ApiServer] = []
    failed: list[BaseException] = []
    ready = threading.Event()

    async def serve() -> None:
        await migrate(dsn)
        async with AsyncExitStack() as stack:
            deps, hub = await open_dependencies(dsn, stack, **options)
            url = await stack.enter_async_context(
                serving(create_app(deps), host="127.0.0.1", port=0, end_streams=hub.end_streams)
            )
            if options.get("projecting", True):
                await _has_read_models(deps)
            started.append(ApiServer(url=url, dsn=dsn, deps=deps, loop=asyncio.get_running_loop()))
            stopping = asyncio.Event()
            stop.append(stopping)
            ready.set()
            await stopping.wait()

    def in_thread() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  # told to the test
            failed.append(error)
        finally:
            ready.set()

    stop: list[asyncio.Event] = []
    thread = threading.Thread(target=in_thread, name="api server", daemon=True)
    thread.start()
    assert ready.wait(60), "the server did not start"
    if failed:
        raise failed[0]
    server = started[0]
    try:
        yield server
    finally:
        server.loop.call_soon_threadsafe(stop[0].set)
        thread.join(30)
        if failed:
            raise failed[0]
