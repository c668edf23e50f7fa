"""The worker runtime that the settings name."""

import os
from typing import Protocol

from application.ports import WorkerRuntime
from infrastructure.runtimes.container_settings import ContainerSettings
from infrastructure.runtimes.docker import DockerWorkerRuntime
from infrastructure.runtimes.executor_setup import ExecutorSetup
from infrastructure.runtimes.external import ExternalExecutorRuntime
from infrastructure.runtimes.process import ProcessWorkerRuntime
from interfaces.bootstrap.foundation import Foundation

MODEL_CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL")


class ResidentRuntime(WorkerRuntime, Protocol):
    """A runtime as the process that holds it sees it."""

    async def shutdown(self) -> None:
        """The control plane ends for good, not by a crash: end what nothing else looks after."""
        ...

    def close(self) -> None:
        """Give threads and connections back. Containers stay as they are."""
        ...


def worker_runtime(foundation: Foundation) -> ResidentRuntime:
    """Docker is called when it is first needed: a daemon that is away stops nobody from reading what happened."""
    settings = foundation.settings
    if settings.executor_base_url is not None:
        return ExternalExecutorRuntime(settings.executor_base_url)
    setup = ExecutorSetup(object_store=foundation.worker_object_store)
    if settings.worker_runtime == "docker":
        credentials = {name: os.environ[name] for name in MODEL_CREDENTIALS if os.environ.get(name)}
        return DockerWorkerRuntime(
            foundation.installation,
            ContainerSettings(image=settings.worker_image, credentials=credentials),
            setup,
            environment=os.environ,
        )
    return ProcessWorkerRuntime(settings.home.absolute(), setup, environment=os.environ, credentials=MODEL_CREDENTIALS)
