"""What effects depend on beside executors, and which of their errors mean that it is down."""

from application.outages import DOCKER, OBJECT_STORE
from application.ports.effect_kinds import LedgerKind
from application.ports.executor import ExecutorError
from application.ports.object_store import ObjectStoreUnavailable
from application.ports.worker_runtime import RuntimeDown

NEEDS: dict[LedgerKind, tuple[str, ...]] = {
    "container.create": (DOCKER,),
    "container.start": (DOCKER,),
    "container.start_maintenance": (DOCKER,),
    "container.stop": (DOCKER,),
    "container.remove": (DOCKER,),
    "workspace.restore": (OBJECT_STORE,),
    "workspace.sync": (OBJECT_STORE,),
    "workspace.sync_before_remove": (OBJECT_STORE,),
    "workspace.collect": (OBJECT_STORE,),
    "workspace.copy": (OBJECT_STORE,),
}
"""The `process` runtime has no daemon that could be down: there no error ever means that."""


def outage_of(error: BaseException) -> str:
    """The name of what this process has found down, by an error or what it was raised for; empty if the error means
    something else."""
    for each in _chain(error):
        if isinstance(each, RuntimeDown):
            return DOCKER
        if isinstance(each, ObjectStoreUnavailable):
            return OBJECT_STORE
    return ""


def blames_store(error: BaseException) -> bool:
    """Whether an executor says that the object store is down. It may have been taken over, or the way from there may be
    cut: what it says counts for its own effect alone until this process has found the same."""
    return any(isinstance(each, ExecutorError) and each.reason == "object_store_unavailable" for each in _chain(error))


def _chain(error: BaseException) -> tuple[BaseException | None, ...]:
    return (error, error.__cause__, error.__context__)
