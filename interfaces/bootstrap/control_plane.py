"""The control plane's parts that the API and the workers share: the log, its tail, the aggregates, the commands."""

import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from application.aggregates import Aggregates
from application.callbacks import RecordCallbacks
from application.effects.workers import Workers
from application.ports import WorkerRuntime
from application.run_commands import RunCommands, Runs
from application.run_execution import RunExecutions
from application.run_worker import RunWorker
from application.session_commands import SessionCommands, Sessions
from domain.identifiers import run_stream, session_stream
from domain.run.decide import decide as decide_run
from domain.run.evolve import evolve as evolve_run
from domain.session.decide import decide as decide_session
from domain.session.evolve import evolve as evolve_session
from infrastructure.effects.ledger import EFFECTS_CHANNEL, PostgresEffectLedger
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.directory import HttpExecutorDirectory, SharedExecutor
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.sessions import open_pool
from infrastructure.run_queue.queue import RUN_QUEUE_CHANNEL, PostgresRunQueue
from infrastructure.streams.hub import StreamHub
from interfaces.bootstrap.foundation import Foundation, process_owner
from interfaces.bootstrap.runtime import worker_runtime
from interfaces.settings import Settings

POOL_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """All parts of one process, open."""

    foundation: Foundation
    owner: str
    store: GroupCommitEventStore
    listener: PostgresListener
    hub: StreamHub
    pool: AsyncConnectionPool[AsyncConnection[Any]]
    reads: ReadModelStore
    runtime: WorkerRuntime
    directory: HttpExecutorDirectory
    ledger: PostgresEffectLedger
    queue: PostgresRunQueue
    sessions: Sessions
    runs: Runs
    workers: Workers
    session_commands: SessionCommands
    run_commands: RunCommands
    callbacks: RecordCallbacks
    run_worker: RunWorker


def now() -> datetime:
    return datetime.now(UTC)


def new_id() -> str:
    return uuid.uuid4().hex
