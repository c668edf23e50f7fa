"""The worker runtime that the settings name."""

import os

from infrastructure.runtimes.executor_setup import ExecutorSetup
from infrastructure.runtimes.process import ProcessWorkerRuntime
from interfaces.bootstrap.foundation import Foundation
from interfaces.settings import SettingsError

MODEL_CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL")


def worker_runtime(foundation: Foundation) -> ProcessWorkerRuntime:
    """Raises SettingsError for a runtime that is not there."""
    settings = foundation.settings
    if settings.worker_runtime != "process":
        raise SettingsError("WORKER_RUNTIME", "this version has the `process` runtime only.")
    return ProcessWorkerRuntime(
        settings.home.absolute(),
        ExecutorSetup(object_store=foundation.object_store),
        environment=os.environ,
        credentials=MODEL_CREDENTIALS,
    )
