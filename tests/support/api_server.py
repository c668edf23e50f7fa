"""The real API on a real server and a real Postgres, in a thread of its own: log, hub, read models, idempotency keys.

Nobody works here: no executor, no resident workers. What needs them stays pending; runs are driven by callbacks.
"""

import asyncio
import hashlib
import threading
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg

from application.aggregates import Aggregates
from application.callback_tokens import DerivedCallbackTokens
from application.callbacks import RecordCallbacks
from application.command_context import CommandContext
from application.fork_sessions import ForkSessions
from application.operations import Gauge, Metric, ReconcileCounts
from application.process_manager_control import ProcessManagerControls
from application.run_commands import RunCommands
from application.run_queue import DrainCounts, QueueItem
from application.session_commands import SessionCommands
from application.work_control import WorkControl
from domain.identifiers import run_stream, session_stream
from domain.run.decide import decide as decide_run
from domain.run.evolve import evolve as evolve_run
from domain.session.decide import decide as decide_session
from domain.session.evolve import evolve as evolve_session
from domain.workspace.sync import ManifestEntry, SyncRef
from infrastructure.audit.log_audit import PostgresLogAudit
from infrastructure.effects.records import PostgresEffectRecords
from infrastructure.eventstore.group_commit import EventStoreUnavailable
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.idempotency.keys import PostgresIdempotencyKeys
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.migrations import migrate
from infrastructure.postgres.sessions import open_pool
from infrastructure.process_managers.records import PostgresProcessManagerRecords
from infrastructure.projector.controls import ProjectionControls
from infrastructure.projector.projector import Projector
from infrastructure.providers.catalog import RegisteredProviders
from infrastructure.providers.installations import ProgramsOnPath
from infrastructure.readmodels.history import PostgresHistory
from infrastructure.readmodels.past_versions import BUILD_SETTINGS, PastVersions
from infrastructure.readmodels.progress import PostgresProjectionProgress
from infrastructure.readmodels.read_models import PostgresReadModels
from infrastructure.search.event_search import PostgresEventSearch
from infrastructure.search.indexer import EventIndexer
from infrastructure.search.why import PostgresCausality
from infrastructure.streams.hub import StreamHub
from interfaces.bootstrap.serving import serving
from interfaces.http.app import create_app
from interfaces.http.auth import KeyHash
from interfaces.http.dependencies import ApiDependencies

SECRET = b"a secret of the tests"
KEY = "the-key-of-ann"
PROVIDERS = RegisteredProviders(ProgramsOnPath("/usr/bin"), ())
KEYS = (KeyHash(name="ann", sha256=hashlib.sha256(KEY.encode()).hexdigest()),)


@dataclass
class IdleQueue:
    """A queue that nobody works, and that tells how it was drained."""

    drained: list[dict[str, Any]] = field(default_factory=list)

    async def drain(
        self, *, owner: str, limit: int, lock_ms: int | None, retry_delay_ms: int | None, wait_s: float
    ) -> DrainCounts:
        self.drained.append({"owner": owner, "limit": limit, "lock_ms": lock_ms, "retry_delay_ms": retry_delay_ms})
        return DrainCounts()

    async def item(self, run_id: str) -> QueueItem | None:
        return None


class IdleReconcilers:
    async def runs(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        return ReconcileCounts(examined=1)

    async def sync(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        return ReconcileCounts()

    async def effects(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        return ReconcileCounts()

    async def containers(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
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
    async def idle(self, active_before: datetime, limit: int) -> list[str]:
        return []

    async def stopped(self, stopped_before: datetime, limit: int) -> list[str]:
        return []

    async def stale_syncs(self, synced_before: datetime, limit: int) -> list[str]:
        return []


@dataclass
class DatabaseCheck:
    dsn: str
    name: str = "database"

    async def check(self) -> str:
        async with await psycopg.AsyncConnection.connect(self.dsn, connect_timeout=2) as connection:
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
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, headers=headers)

    def run(self, coroutine: Coroutine[Any, Any, Any], timeout: float = 30) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def last_position(self) -> int:
        return int(self.run(self.deps.store.last_position()))


async def open_dependencies(
    dsn: str,
    stack: AsyncExitStack,
    *,
    api_keys: tuple[KeyHash, ...] = (),
    max_streams: int = 100,
    projecting: bool = True,
) -> tuple[ApiDependencies, StreamHub]:
    store = await stack.enter_async_context(GroupCommitEventStore(dsn))
    listener = await stack.enter_async_context(PostgresListener(dsn))
    hub = await stack.enter_async_context(StreamHub(dsn, wakeups=listener.position, max_streams=max_streams))
    pool = await open_pool(dsn, size=8)
    stack.push_async_callback(pool.close)
    past_pool = await open_pool(dsn, size=2, **BUILD_SETTINGS)
    stack.push_async_callback(past_pool.close)
    past = PastVersions(past_pool, ProjectionControls(store))
    stack.push_async_callback(past.close)
    progress = await stack.enter_async_context(PostgresProjectionProgress(pool, listener))
    if projecting:
        projector = Projector(dsn, store=store, end_of_log=listener.position)
        stack.push_async_callback(_ended, asyncio.create_task(projector.run()))
        indexer = EventIndexer(dsn, listener.position)
        stack.push_async_callback(_ended, asyncio.create_task(indexer.run()))
    sessions: Any = Aggregates(
        store=store,
        clock=lambda: datetime.now(UTC),
        stream_of=session_stream,
        decide=decide_session,
        evolve=evolve_session,
    )
    runs: Any = Aggregates(
        store=store, clock=lambda: datetime.now(UTC), stream_of=run_stream, decide=decide_run, evolve=evolve_run
    )
    run_commands = RunCommands(runs=runs, tail=hub, providers=PROVIDERS, new_id=_new_id)
    deps = ApiDependencies(
        sessions=SessionCommands(
            sessions=sessions,
            tail=hub,
            ensure_up=_is_up,
            run_has_ended=run_commands.has_ended,
            candidates=NobodyIdle(),
            clock=lambda: datetime.now(UTC),
            new_id=_new_id,
        ),
        runs=run_commands,
        forks=ForkSessions(
            runs=runs, sessions=sessions, store=store, tail=hub, recorded=OneFileRecorded(), providers=PROVIDERS
        ),
        callbacks=RecordCallbacks(
            runs=runs, store=store, clock=lambda: datetime.now(UTC), human_loop_timeout_ms=3_600_000
        ),
        queue=IdleQueue(),
        process_managers=ProcessManagerControls(store=store, clock=lambda: datetime.now(UTC)),
        process_manager_records=PostgresProcessManagerRecords(pool),
        work=WorkControl(store=store, records=PostgresEffectRecords(pool), clock=lambda: datetime.now(UTC)),
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
        recorded_workspaces=OneFileRecorded(),
        progress=progress,
        idempotency_keys=PostgresIdempotencyKeys(pool),
        callback_tokens=DerivedCallbackTokens(runs=runs, sessions=sessions, secret=SECRET),
        readiness=(DatabaseCheck(dsn),),
        metrics=SomeMetrics(),
        providers=PROVIDERS,
        new_id=_new_id,
        unavailable_errors=(EventStoreUnavailable, psycopg.OperationalError),
        api_keys=api_keys,
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


def _new_id() -> str:
    return uuid.uuid4().hex


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


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
