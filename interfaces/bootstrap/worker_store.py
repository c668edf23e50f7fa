"""Composes how session workers reach the object store: with credentials of a role, through this process, or with its
own credentials (docs/decisions/workers-and-the-object-store.md)."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from application.sessions.worker_storage import WorkerStorage
from domain.workspace.storage import StorageScope
from infrastructure.boto3_store.assumed_role import AssumedRoles
from infrastructure.boto3_store.passed_on import PassedOnCredentials
from infrastructure.boto3_store.proxy_keys import ProxyKeys
from infrastructure.boto3_store.session import AwsSession
from infrastructure.boto3_store.store_proxy import StoreProxy
from infrastructure.installation_redaction import InstallationRedaction
from infrastructure.object_store.location import S3Credentials
from infrastructure.runtimes.docker_host import address_for_containers_now
from interfaces.bootstrap.backing import BackingServices
from interfaces.store_server import StoreServer


@dataclass(frozen=True, kw_only=True)
class WorkerStore:
    """`credentials` and `headers` are for a session, a generation and what it may use: for the executor's configuration
    (blocking) and for a call. `server`: set if this process serves the store to session workers."""

    credentials: Callable[[str, int, StorageScope | None], S3Credentials]
    headers: Callable[[str, int, StorageScope | None], Awaitable[dict[str, str]]]
    server: StoreServer | None = None


async def worker_store(
    backing: BackingServices, session: AwsSession, redaction: InstallationRedaction, stack: AsyncExitStack
) -> WorkerStore:
    """`redaction` learns the store's own credentials, and those of a role that session workers get. Raises
    ObjectStoreRefused for settings that make no sense to the token service's client."""
    settings = backing.settings
    session.tell(redaction.redactor.learn)
    if settings.executor_base_url is None and settings.s3_worker_role_arn is not None:
        roles = await asyncio.to_thread(
            AssumedRoles,
            session,
            sts_endpoint=settings.s3_sts_endpoint or settings.s3_endpoint or "",
            role=settings.s3_worker_role_arn,
            learn=redaction.issued.learn,
        )
        stack.callback(roles.close)
        return WorkerStore(credentials=roles.current, headers=roles.headers)
    if settings.in_containers:
        # Containers that an earlier release has started know the embedded server at its port.
        server = StoreServer(
            partial(address_for_containers_now, os.environ, settings.worker_network),
            port=backing.object_store.port if settings.embedded_object_store else 0,
            lazily=not backing.works,  # an API uses executors only to drain the queue, and may be far from Docker
        )
        keys = ProxyKeys(backing.secret, address=server.url)
        return WorkerStore(credentials=keys.current, headers=keys.headers, server=server)
    passed_on = PassedOnCredentials(session, learn=redaction.redactor.learn)
    return WorkerStore(credentials=passed_on.current, headers=passed_on.headers)


async def serve_store(
    store: WorkerStore,
    backing: BackingServices,
    session: AwsSession,
    storage: WorkerStorage,
    *,
    unavailable: tuple[type[Exception], ...],
    stack: AsyncExitStack,
) -> None:
    """Serve the store to session workers until `stack` is closed, if they reach it so. Raises ContainersCannotCall when
    they never could."""
    if store.server is None:
        return
    proxy = StoreProxy(session, storage, unavailable=unavailable, predecessors=backing.settings.embedded_object_store)
    stack.push_async_callback(proxy.close)
    await stack.enter_async_context(store.server.serving(proxy))
