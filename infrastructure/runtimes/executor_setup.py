"""The configuration that all executors of this installation share: the object store and time limits."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from msgspec.structs import replace

from application.executor_protocol import ExecutorConfig
from application.ports.object_store import ObjectStoreError, ObjectStoreRefused
from application.ports.worker_runtime import ContainerSpec, RuntimeUnavailable, StartFailed
from infrastructure.object_store.location import S3Credentials, S3Location

Mode = Literal["normal", "maintenance"]


@dataclass(frozen=True, kw_only=True)
class WorkerFolders:
    """The three folders of a session worker, as absolute paths that the executor sees."""

    workspace: PurePosixPath
    home: PurePosixPath
    state: PurePosixPath


@dataclass(frozen=True, kw_only=True)
class ExecutorSetup:
    """`object_store`: the store as session workers reach it. `credentials`: what gives those of the moment, blocking;
    without, the location has them. `idle_exit_s`: seconds without a run and without a call
    after which an executor ends by itself; 0 = never. `redact` removes the agents' secrets from an executor's output
    before it is reported."""

    object_store: S3Location
    credentials: Callable[[], S3Credentials] | None = None
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
        """Blocks while credentials are renewed. Raises RuntimeUnavailable when they can't be had now, StartFailed
        when there are none."""
        store, credentials = self.object_store, self._credentials()
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
            s3_access_key=credentials.access_key,
            s3_secret_key=credentials.secret_key,
            s3_session_token=credentials.session_token,
            s3_credentials_renewed=credentials.renewed,
            maintenance=mode == "maintenance",
            idle_exit_s=self.idle_exit_s,
            agent_user=agent_user,
        )

    def _credentials(self) -> S3Credentials:
        if self.credentials is None:
            return self.object_store.credentials
        try:
            return self.credentials()
        except ObjectStoreRefused as error:
            raise StartFailed(f"no credentials for the executor's object store: {error}") from error
        except ObjectStoreError as error:
            raise RuntimeUnavailable(f"no credentials for the executor's object store: {error}") from error


def serves_as(present: ExecutorConfig, wanted: ExecutorConfig) -> bool:
    """Whether an executor that was started with `present` need not be started again for `wanted`. Credentials that are
    renewed make no difference: calls bring it the later ones."""
    if not (present.s3_credentials_renewed and wanted.s3_credentials_renewed):
        return present == wanted
    return wanted == replace(
        present,
        s3_access_key=wanted.s3_access_key,
        s3_secret_key=wanted.s3_secret_key,
        s3_session_token=wanted.s3_session_token,
    )
