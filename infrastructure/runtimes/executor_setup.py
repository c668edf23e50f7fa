"""The configuration that all executors of this installation share: the object store and time limits."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from msgspec.structs import replace

from application.executor_protocol import ExecutorConfig
from application.ports.object_store import ObjectStoreError, ObjectStoreRefused
from application.ports.worker_runtime import ContainerSpec, RuntimeUnavailable, StartFailed
from domain.workspace.storage import StorageScope
from infrastructure.object_store.location import S3Credentials, S3Location

Mode = Literal["normal", "maintenance"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


@dataclass(frozen=True, kw_only=True)
class WorkerFolders:
    """The three folders of a session worker, as absolute paths that the executor sees."""

    workspace: PurePosixPath
    home: PurePosixPath
    state: PurePosixPath


@dataclass(frozen=True, kw_only=True)
class ExecutorSetup:
    """`object_store`: the store as session workers reach it. `credentials`: what gives a session and generation those
    for a scope, blocking; without, the location has them. `endpoint`: where the store is reached now, if this process
    serves it; "" while it does not. `idle_exit_s`: seconds without a run and without a call
    after which an executor ends by itself; 0 = never. `redact` removes the agents' secrets from an executor's output
    before it is reported."""

    object_store: S3Location
    credentials: Callable[[str, int, StorageScope | None], S3Credentials] | None = None
    endpoint: Callable[[], str] | None = None
    idle_exit_s: int = 600
    redact: Callable[[str], str] = str
    log_level: LogLevel = "INFO"

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
        """Blocks while credentials are renewed. Raises RuntimeUnavailable when they, or the store's address, can't be
        had now, StartFailed when there are none."""
        store, credentials = self.object_store, self._credentials(spec)
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
            s3_endpoint=store.endpoint if self.endpoint is None else self._endpoint(self.endpoint),
            s3_endpoint_passed=self.endpoint is not None,
            s3_bucket=store.bucket,
            s3_region=store.region,
            s3_access_key=credentials.access_key,
            s3_secret_key=credentials.secret_key,
            s3_session_token=credentials.session_token,
            s3_credentials_renewed=credentials.renewed,
            maintenance=mode == "maintenance",
            idle_exit_s=self.idle_exit_s,
            agent_user=agent_user,
            log_level=self.log_level,
        )

    def _endpoint(self, present: Callable[[], str]) -> str:
        found = present()
        if not found:
            raise RuntimeUnavailable("this process does not serve the object store to session workers yet")
        return found

    def _credentials(self, spec: ContainerSpec) -> S3Credentials:
        if self.credentials is None:
            return self.object_store.credentials
        try:
            return self.credentials(spec.session_id, spec.generation, spec.storage)
        except ObjectStoreRefused as error:
            raise StartFailed(f"no credentials for the executor's object store: {error}") from error
        except ObjectStoreError as error:
            raise RuntimeUnavailable(f"no credentials for the executor's object store: {error}") from error


def serves_as(present: ExecutorConfig, wanted: ExecutorConfig, protocol: int) -> bool:
    """Whether an executor of that protocol that was started with `present` need not be started again for `wanted`. What
    calls bring it makes no difference: credentials that are renewed, and the store's address where its callers serve
    it. Nor does what it logs."""
    present = replace(present, log_level=wanted.log_level)
    if protocol > 1 and present.s3_endpoint_passed and wanted.s3_endpoint_passed:
        present = replace(present, s3_endpoint=wanted.s3_endpoint)
    if present.s3_credentials_renewed and wanted.s3_credentials_renewed:
        present = replace(
            present,
            s3_access_key=wanted.s3_access_key,
            s3_secret_key=wanted.s3_secret_key,
            s3_session_token=wanted.s3_session_token,
        )
    return present == wanted
