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
    """The name of what is down, by an error or what it was raised for; empty if the error means something else."""
    for each in (error, error.__cause__, error.__context__):
        if isinstance(each, RuntimeDown):
            return DOCKER
        if isinstance(each, ObjectStoreUnavailable) or (
            isinstance(each, ExecutorError) and each.reason == "object_store_unavailable"
        ):
            return OBJECT_STORE
    return ""
