"""Composes the worker runtime that the settings name, and the catalog of its providers."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from psycopg.conninfo import conninfo_to_dict

from application.ports.providers import Installations
from application.ports.worker_runtime import OwnedWorkerRuntime
from application.repairs.said import Repairs
from application.runs.provider_catalog import ProviderCatalog
from infrastructure.executor.providers.descriptions import DESCRIPTIONS, credential_names
from infrastructure.installation_redaction import InstallationRedaction
from infrastructure.issued_secrets import IssuedSecrets
from infrastructure.redaction import Redactor, secrets_in
from infrastructure.runtimes.container_settings import ContainerSettings
from infrastructure.runtimes.docker import DockerWorkerRuntime
from infrastructure.runtimes.docker_engine import DockerEngine
from infrastructure.runtimes.docker_host import address_for_containers_now
from infrastructure.runtimes.egress import HostFirewall
from infrastructure.runtimes.executor_setup import ExecutorSetup
from infrastructure.runtimes.external import ExternalExecutorRuntime
from infrastructure.runtimes.installations import AssumedInstalled, ImageLabels, ProgramsOnPath
from infrastructure.runtimes.process import ProcessWorkerRuntime
from interfaces.bootstrap.agents import agent_variables, agents_path
from interfaces.bootstrap.backing import BackingServices
from interfaces.bootstrap.worker_store import WorkerStore
from interfaces.logging import keep_out_of_logs
from interfaces.settings import Settings

_SHORTEST_OWN = 16
"""Characters."""
_ISSUED_TO_ONE = 4
"""A key and a token, and those that they replace before their end."""
UNATTENDED_S = 600
"""How much longer than any session worker that a control plane looks after an executor of the `process` runtime may go
without a call before it ends by itself."""


def installation_redaction(backing: BackingServices) -> InstallationRedaction:
    """What replaces the secrets of the installation, and what it issues; from now on in all logs. Raises SettingsError
    for a credential's file that can't be read."""
    variables = agent_variables(os.environ)
    redactor = Redactor([*secrets_in(variables, credential_names()), *_own_secrets(backing)])
    issued = IssuedSecrets(_ISSUED_TO_ONE * backing.settings.max_workers)
    redaction = InstallationRedaction(redactor, issued)
    keep_out_of_logs(redaction.json)
    return redaction


def host_firewall(backing: BackingServices, store: WorkerStore, repairs: Repairs) -> HostFirewall:
    """What limits what containers reach."""
    settings = backing.settings
    urls = [
        settings.callbacks_at(serves_api=backing.serves_api) or "",
        *(value for value in agent_variables(os.environ).values() if "://" in value),
        "" if store.server is not None else backing.object_store.bucket_url,
    ]
    return HostFirewall(
        backing.installation,
        settings.worker_egress,
        urls=urls,
        more_urls=store.server.url if store.server is not None else str,
        host_gateway=partial(address_for_containers_now, os.environ),
        environment=os.environ,
        repairs=repairs,
    )


def worker_runtime(
    backing: BackingServices, store: WorkerStore, redaction: InstallationRedaction, repairs: Repairs
) -> tuple[OwnedWorkerRuntime, ProviderCatalog]:
    """The runtime and its providers. Docker is called when first needed, so that the log can be read without its
    daemon. Raises SettingsError for a credential's file that can't be read."""
    settings = backing.settings
    variables = agent_variables(os.environ)
    setup = ExecutorSetup(
        object_store=backing.object_store,
        credentials=store.credentials,
        endpoint=store.server.url if store.server is not None else None,
        idle_exit_s=idle_exit_s(settings),
        redact=redaction.text,
        log_level=settings.log_level,
    )
    if settings.executor_base_url is not None:
        return ExternalExecutorRuntime(settings.executor_base_url), _catalog(settings, variables)
    if settings.worker_runtime == "docker":
        firewall = host_firewall(backing, store, repairs)
        docker = DockerWorkerRuntime(
            backing.installation,
            ContainerSettings(
                image=settings.worker_image,
                pull=settings.worker_pull,
                cpus=settings.worker_cpus,
                memory_bytes=settings.worker_memory_mb * 1024**2,
                pids=settings.worker_pids,
                network=settings.worker_network,
                agent_variables=variables,
                disk_bytes=settings.worker_disk_mb * 1024**2,
                bridge=None if settings.worker_egress == "open" else firewall.bridge,
            ),
            setup,
            environment=os.environ,
            firewall=firewall if backing.works else None,
            shared=not settings.embedded_postgres,
        )
        return docker, _catalog(settings, variables, docker.image_labels)
    process = ProcessWorkerRuntime(
        settings.home.absolute(),
        setup,
        environment={**os.environ, "PATH": agents_path(os.environ)},
    )
    return process, _catalog(settings, variables)


def _own_secrets(backing: BackingServices) -> list[str]:
    """Those of Fleetlog itself; of the object store's keys those that don't expire: the others are learnt, and so
    forgotten. A weak password would match ordinary text."""
    password = str(conninfo_to_dict(backing.dsn).get("password") or "")
    store = backing.object_store.credentials.secrets
    found = (backing.secret.decode(), backing.settings.executor_auth_token or "", password, *store)
    return [secret for secret in found if len(secret) >= _SHORTEST_OWN]


def idle_exit_s(settings: Settings) -> int:
    """Seconds without a call after which an executor may conclude that no control plane is there any more. While one
    is, it syncs a worker that stays, and stops one that idles, before that."""
    return max(settings.idle_timeout_ms, settings.stale_sync_after_ms) // 1000 + UNATTENDED_S


@asynccontextmanager
async def registered_providers(settings: Settings) -> AsyncIterator[ProviderCatalog]:
    """The catalog of providers for commands that run without a server. Raises SettingsError as `worker_runtime`."""
    engine = DockerEngine(os.environ, installation="", connections=1)  # connects when it is asked
    try:
        yield _catalog(settings, agent_variables(os.environ), partial(engine.image_labels, settings.worker_image))
    finally:
        await asyncio.to_thread(engine.close)


def _catalog(
    settings: Settings, variables: Mapping[str, str], image_labels: Callable[[], Mapping[str, str] | None] | None = None
) -> ProviderCatalog:
    """The providers, with their CLIs where the settings have agents run. `image_labels`: of the worker image."""
    installations: Installations
    if settings.executor_base_url is not None:
        installations = AssumedInstalled()
    elif settings.worker_runtime == "docker" and image_labels is not None:
        installations = ImageLabels(settings.worker_image, image_labels)
    else:
        installations = ProgramsOnPath(agents_path(os.environ))
    return ProviderCatalog(DESCRIPTIONS, installations, variables)
