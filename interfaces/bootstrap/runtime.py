"""The worker runtime that the settings name, and the providers that its workers offer."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from application.ports import WorkerRuntime
from infrastructure.providers.catalog import RegisteredProviders
from infrastructure.providers.installations import ImageLabels, Installations, ProgramsOnPath, SomebodyElses
from infrastructure.providers.redaction import Redactor, secrets_in
from infrastructure.providers.registry import credential_names
from infrastructure.runtimes.container_settings import ContainerSettings
from infrastructure.runtimes.docker import DockerWorkerRuntime
from infrastructure.runtimes.docker_engine import DockerEngine
from infrastructure.runtimes.executor_setup import ExecutorSetup
from infrastructure.runtimes.external import ExternalExecutorRuntime
from infrastructure.runtimes.process import ProcessWorkerRuntime
from interfaces.bootstrap.agents import agent_variables, agents_path
from interfaces.bootstrap.foundation import Foundation
from interfaces.logging import keep_out_of_logs
from interfaces.settings import Settings


class ResidentRuntime(WorkerRuntime, Protocol):
    """A runtime as the process that holds it sees it."""

    async def shutdown(self) -> None:
        """End what nothing else looks after, with its runs."""
        ...

    async def end_idle(self) -> None:
        """End what nothing else looks after and has no run; the others go on and are adopted by the next start."""
        ...

    def close(self) -> None:
        """Give threads and connections back. Containers stay as they are."""
        ...


def worker_runtime(foundation: Foundation) -> tuple[ResidentRuntime, RegisteredProviders]:
    """Docker is called when it is first needed: a daemon that is away stops nobody from reading what happened. Raises
    SettingsError for a credential's file that can't be read."""
    settings = foundation.settings
    variables = agent_variables(os.environ)
    redactor = Redactor(secrets_in(variables, credential_names()))
    keep_out_of_logs(redactor.json)
    setup = ExecutorSetup(object_store=foundation.worker_object_store, redact=redactor.text)
    runtime: ResidentRuntime
    installations: Installations
    if settings.executor_base_url is not None:
        runtime, installations = ExternalExecutorRuntime(settings.executor_base_url), SomebodyElses()
    elif settings.worker_runtime == "docker":
        image = settings.worker_image
        docker = DockerWorkerRuntime(
            foundation.installation,
            ContainerSettings(
                image=image,
                pull=settings.worker_pull,
                cpus=settings.worker_cpus,
                memory_bytes=settings.worker_memory_mb * 1024**2,
                pids=settings.worker_pids,
                network=settings.worker_network,
                credentials=variables,
            ),
            setup,
            environment=os.environ,
        )
        runtime, installations = docker, ImageLabels(image, docker.image_labels)
    else:
        path = agents_path(os.environ)
        runtime = ProcessWorkerRuntime(
            settings.home.absolute(),
            setup,
            environment={**os.environ, **variables, "PATH": path},
            credentials=variables,
        )
        installations = ProgramsOnPath(path)
    return runtime, RegisteredProviders(installations, variables)


@asynccontextmanager
async def registered_providers(settings: Settings) -> AsyncIterator[RegisteredProviders]:
    """The providers that workers of these settings offer, for a look from outside a server. Raises SettingsError as
    `worker_runtime` does."""
    variables = agent_variables(os.environ)
    if settings.executor_base_url is not None:
        yield RegisteredProviders(SomebodyElses(), variables)
    elif settings.worker_runtime == "docker":
        engine = DockerEngine(os.environ, installation="", connections=1)
        try:
            image = settings.worker_image
            yield RegisteredProviders(ImageLabels(image, lambda: engine.image_labels(image)), variables)
        finally:
            await asyncio.to_thread(engine.close)
    else:
        yield RegisteredProviders(ProgramsOnPath(agents_path(os.environ)), variables)
