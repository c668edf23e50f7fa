"""What every executor of this installation is given beside its own session: the object store and its time limits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from application.executor_protocol import ExecutorConfig
from application.ports import ContainerSpec

Mode = Literal["normal", "maintenance"]


@dataclass(frozen=True, kw_only=True)
class WorkerObjectStore:
    """The object store as a worker reaches it; addressing is by path (`{endpoint}/{bucket}/{key}`)."""

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class WorkerFolders:
    """The three folders of a worker, as absolute paths on the executor's side."""

    workspace: PurePosixPath
    home: PurePosixPath
    state: PurePosixPath


@dataclass(frozen=True, kw_only=True)
class ExecutorSetup:
    """`idle_exit_s`: seconds without a run and without a call after which an executor ends by itself; 0 = never.
    `redact` takes the secrets of agents out of what an executor printed, before anybody is told of it."""

    object_store: WorkerObjectStore
    idle_exit_s: int = 600
    redact: Callable[[str], str] = str

    def config(
        self,
        spec: ContainerSpec,
        container_id: str,
        folders: WorkerFolders,
        *,
        mode: Mode = "normal",
        host: str = "127.0.0.1",
        port: int = 0,
        agent_user: int | None = None,
    ) -> ExecutorConfig:
        store = self.object_store
        return ExecutorConfig(
            session_id=spec.session_id,
            generation=spec.generation,
            container_id=container_id,
            token=spec.token,
            host=host,
            port=port,
            workspace_dir=str(folders.workspace),
            home_dir=str(folders.home),
            state_dir=str(folders.state),
            s3_endpoint=store.endpoint,
            s3_bucket=store.bucket,
            s3_region=store.region,
            s3_access_key=store.access_key,
            s3_secret_key=store.secret_key,
            maintenance=mode == "maintenance",
            idle_exit_s=self.idle_exit_s,
            agent_user=agent_user,
        )
