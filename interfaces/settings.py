"""All settings of Fleetlog, read from the environment once, at the start. No other module reads a setting there;
what bootstrap passes to Docker's client and to executors (DOCKER_HOST, model credentials) belongs to other programs.

A setting is declared once, as a field of `Settings`: variable, type, default, what it means. The reference page
docs/reference/configuration.md is rendered from these declarations (interfaces/cli/settings_reference.py).
"""

# ruff: noqa: RUF009  # `setting` makes a dataclass field, not a default value

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from interfaces import setting_values as values
from interfaces.setting_declarations import DECLARATION, Declaration, setting
from interfaces.setting_quotas import QuotaSettings
from interfaces.setting_work_slots import WorkSlots

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
WorkerRuntime = Literal["process", "docker"]
OWN_PREFIX: Final = "FLEETLOG_"
OF_THE_LIBRARY: Final = frozenset({"FLEETLOG_TENANT"})
"""Settings of the `eventsourcing` library's application `fleetlog`, which have our prefix by its name. They are read in
infrastructure/eventsourcing_library/factory.py, by programs that read the log."""


class SettingsError(Exception):
    """A setting prevents the start. `variable` names it; the text says what is wrong, what is allowed, what to do."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable}: {problem}")
        self.variable = variable


@dataclass(frozen=True, kw_only=True)
class Settings(WorkSlots, QuotaSettings):
    """All settings, checked. None means "not set"; durations are milliseconds, as their names say."""

    host: str = setting(
        "FLEETLOG_HOST",
        values.TEXT,
        "Address to listen on. Any other than a loopback address needs `FLEETLOG_API_KEYS`.",
        default="127.0.0.1",
    )
    port: int = setting(
        "FLEETLOG_PORT", values.integer(0, 65535), "Port to listen on; 0 takes a free one.", default=8080
    )
    metrics_port: int | None = setting(
        "FLEETLOG_METRICS_PORT",
        values.integer(1, 65535),
        "Port at which `fleetlog worker`, which has no API, serves `/metrics` on `FLEETLOG_HOST`, for the same keys.",
        default=None,
        shown_default="not served",
    )
    home: Path = setting(
        "FLEETLOG_HOME",
        values.FOLDER,
        "Folder of this installation: the embedded servers' data, containers of the `process` runtime, secrets, logs.",
        default=Path(".fleetlog"),
    )
    log_level: LogLevel = setting(
        "FLEETLOG_LOG_LEVEL",
        values.LOG_LEVEL,
        "The least important lines that are logged, by the control plane and by the executors that it starts.",
        default="INFO",
    )
    api_keys: tuple[values.ApiKey, ...] = setting(
        "FLEETLOG_API_KEYS",
        values.API_KEYS,
        "Who may call the API: name (the actor in the log) and SHA-256 of the key, in hexadecimal. Without any, the "
        "API listens on loopback only and asks for no key.",
        default=(),
        shown_default="none",
        secret=True,
    )
    allowed_origins: frozenset[str] = setting(
        "FLEETLOG_ALLOWED_ORIGINS",
        values.ORIGINS,
        "Origins of other sites whose pages may call the API (CORS), each exactly as a browser sends it. They send an "
        "API key and no cookies, so it needs `FLEETLOG_API_KEYS`.",
        default=frozenset(),
        shown_default="none",
    )
    secret: str | None = setting(
        "FLEETLOG_SECRET",
        values.SECRET,
        "Secret from which the tokens for executors and callbacks are derived. With the embedded Postgres, one is made "
        "and kept in `FLEETLOG_HOME`; with `DATABASE_URL` it is required, and must be the same for all processes.",
        default=None,
        shown_default="made once",
        secret=True,
    )
    database_url: str | None = setting(
        "DATABASE_URL",
        values.DATABASE_URL,
        "Postgres, version 15 to 18, to use instead of the embedded one.",
        default=None,
        shown_default="embedded Postgres",
        secret=True,
    )
    s3_endpoint: str | None = setting(
        "S3_ENDPOINT",
        values.HTTP_URL,
        "S3 server to use instead of the embedded one. Without it, `S3_BUCKET` names a bucket at AWS itself.",
        default=None,
        shown_default="embedded S3 server",
    )
    s3_bucket: str | None = setting(
        "S3_BUCKET",
        values.BUCKET,
        "Bucket that holds all workspaces; it exists. Set without `S3_ENDPOINT`, it is at AWS.",
        default=None,
        shown_default="fleetlog",
    )
    s3_region: str | None = setting(
        "S3_REGION",
        values.TEXT,
        "Region that requests are signed for. At AWS it is the bucket's, by default that of `AWS_DEFAULT_REGION` or of "
        "the profile.",
        default=None,
        shown_default="us-east-1",
    )
    aws_access_key_id: str | None = setting(
        "AWS_ACCESS_KEY_ID",
        values.TEXT,
        "Access key for the S3 server; not used with the embedded one. Without it, AWS's chain is asked: profiles "
        "(`AWS_PROFILE`), SSO, a process, a web identity, the role of a container or an instance.",
        default=None,
        shown_default="none",
    )
    aws_secret_access_key: str | None = setting(
        "AWS_SECRET_ACCESS_KEY",
        values.TEXT,
        "Secret key that belongs to `AWS_ACCESS_KEY_ID`.",
        default=None,
        shown_default="none",
        secret=True,
    )
    aws_session_token: str | None = setting(
        "AWS_SESSION_TOKEN",
        values.TEXT,
        "Session token, if `AWS_ACCESS_KEY_ID` is temporary. When it expires, nothing renews it: prefer AWS's chain.",
        default=None,
        shown_default="none",
        secret=True,
    )
    s3_worker_role_arn: str | None = setting(
        "S3_WORKER_ROLE_ARN",
        values.TEXT,
        "Role that the object store's token service gives session workers temporary credentials of, limited to what "
        "each may use. Without it, containers reach the store through this process.",
        default=None,
        shown_default="none",
    )
    s3_sts_endpoint: str | None = setting(
        "S3_STS_ENDPOINT",
        values.HTTP_URL,
        "Token service (STS) of the object store, for `S3_WORKER_ROLE_ARN`. By default `S3_ENDPOINT`, or AWS's own.",
        default=None,
        shown_default="that of the object store",
    )
    worker_runtime: WorkerRuntime = setting(
        "WORKER_RUNTIME",
        values.WORKER_RUNTIME,
        "What each session runs in: an executor process on this machine (trusted code only) or a Docker container.",
        default="process",
    )
    worker_image: str = setting(
        "WORKER_IMAGE",
        values.TEXT,
        "Image of the `docker` runtime; script/worker-image builds it.",
        default="fleetlog-worker:latest",
    )
    worker_pull: Literal["missing", "never", "always"] = setting(
        "WORKER_PULL", values.PULL_POLICY, "When `WORKER_IMAGE` is pulled from its registry.", default="missing"
    )
    worker_cpus: float = setting(
        "WORKER_CPUS", values.CPUS, "CPU limit of a container.", default=1.0, shown_default="1"
    )
    worker_memory_mb: int = setting(
        "WORKER_MEMORY_MB",
        values.integer(64, 16_000_000),
        "Memory limit of a container, in MiB; it gets no swap.",
        default=2048,
    )
    worker_pids: int = setting(
        "WORKER_PIDS", values.integer(16, 4_000_000), "Limit of processes and threads in a container.", default=512
    )
    worker_disk_mb: int = setting(
        "WORKER_DISK_MB",
        values.integer(0, 1_000_000_000),
        "What a container may write, in MiB; 0: no limit. Docker's storage driver keeps to it where it has quotas "
        "(overlay2 on xfs with pquota); else a container that is past it is synced and stopped.",
        default=20_480,
    )
    worker_network: str | None = setting(
        "WORKER_NETWORK",
        values.TEXT,
        "An existing Docker network for the containers; this process calls them at their addresses in it, and no port "
        "is published. By default a network is made, and each container's port is published on loopback only.",
        default=None,
        shown_default="one of the installation's own",
    )
    worker_egress: Literal["open", "internet", "none"] = setting(
        "FLEETLOG_WORKER_EGRESS",
        values.EGRESS,
        "What containers reach: the world and no private address (`internet`), or nothing (`none`), each but for what "
        "they need (the object store, callbacks, addresses of models and proxies in these settings); or whatever this "
        "machine reaches (`open`). The first two need root or CAP_NET_ADMIN on Docker's host.",
        default="internet",
    )
    max_workers: int = setting(
        "MAX_WORKERS", values.COUNT, "Session workers that may run at the same time.", default=100
    )
    max_starting: int = setting(
        "MAX_STARTING", values.COUNT, "Session workers that may start at the same time.", default=8
    )
    max_streams: int = setting(
        "MAX_STREAMS", values.COUNT, "Live event streams that one process serves at the same time.", default=1000
    )
    max_streams_per_key: int = setting(
        "MAX_STREAMS_PER_KEY", values.COUNT, "Live event streams of one API key at the same time.", default=500
    )
    max_requests_per_second: int = setting(
        "MAX_REQUESTS_PER_SECOND", values.COUNT, "Requests of one API key " + values.RATE, default=500
    )
    max_new_streams_per_second: int = setting(
        "MAX_NEW_STREAMS_PER_SECOND", values.COUNT, "Streams opened by one API key " + values.RATE, default=100
    )
    max_connections: int = setting("MAX_CONNECTIONS", values.COUNT, values.CONNECTIONS, default=4000)
    idle_timeout_ms: int = setting(
        "IDLE_TIMEOUT_MS",
        values.DURATION_MS,
        "Milliseconds that a session worker may idle before it is stopped.",
        default=900_000,
    )
    remove_after_ms: int = setting(
        "REMOVE_AFTER_MS",
        values.DURATION_MS,
        "Milliseconds that a stopped session worker is kept before it is removed.",
        default=86_400_000,
    )
    stale_sync_after_ms: int = setting(
        "STALE_SYNC_AFTER_MS",
        values.DURATION_MS,
        "Milliseconds after its last successful sync before a running session worker is synced again.",
        default=1_800_000,
    )
    workspace_retention_ms: int = setting(
        "WORKSPACE_RETENTION_MS",
        values.integer(1, 10 * values.YEAR_MS),
        "Milliseconds that a recorded sync can still be restored after a later one has replaced it.",
        default=2_592_000_000,
    )
    sync_progress_ms: int = setting(
        "SYNC_PROGRESS_MS",
        values.DURATION_MS,
        "Milliseconds before a running sync emits progress events (at most 20, at growing intervals).",
        default=5000,
    )
    human_loop_timeout_ms: int = setting(
        "HUMAN_LOOP_TIMEOUT_MS",
        values.DURATION_MS,
        "Milliseconds that a question waits for its answer before it expires.",
        default=3_600_000,
    )
    run_timeout_ms: int = setting(
        "RUN_TIMEOUT_MS",
        values.integer(0, values.YEAR_MS),
        "Milliseconds that an agent may run, waits for answers included, before its run fails; 0: no limit.",
        default=86_400_000,
    )
    run_silence_timeout_ms: int = setting(
        "RUN_SILENCE_TIMEOUT_MS",
        values.integer(0, values.YEAR_MS),
        "Milliseconds without an event of the agent, waits for answers not counted, before its run fails; 0: no limit.",
        default=21_600_000,
    )
    external_run_silence_timeout_ms: int = setting(
        "EXTERNAL_RUN_SILENCE_TIMEOUT_MS",
        values.integer(0, values.YEAR_MS),
        "Milliseconds without a callback, waits for answers not counted, before a run that another program executes "
        "fails and its session is free to be stopped; 0: no limit but `RUN_TIMEOUT_MS`.",
        default=21_600_000,
    )
    public_url: str | None = setting(
        "FLEETLOG_PUBLIC_URL",
        values.HTTP_URL,
        "URL at which agents reach the API for callbacks. By default this process's own address, if executors can "
        "reach it; `fleetlog worker` has none.",
        default=None,
        shown_default="own address",
    )
    executor_base_url: str | None = setting(
        "EXECUTOR_BASE_URL",
        values.HTTP_URL,
        "URL of one executor for all sessions, run outside of Fleetlog, instead of one per session worker: nothing is "
        "started or stopped for a session then, and `WORKER_RUNTIME` is ignored. Needs `EXECUTOR_AUTH_TOKEN`.",
        default=None,
        shown_default="one per worker",
    )
    executor_auth_token: str | None = setting(
        "EXECUTOR_AUTH_TOKEN",
        values.TEXT,
        "Bearer token of the shared executor.",
        default=None,
        shown_default="none",
        secret=True,
    )
    executor_timeout_ms: int = setting(
        "EXECUTOR_TIMEOUT_MS",
        values.DURATION_MS,
        "Milliseconds that one call to an executor may take; restores and syncs have a limit of their own.",
        default=30_000,
    )
    executor_max_retries: int = setting(
        "EXECUTOR_MAX_RETRIES", values.integer(0, 100), "How often a failed call to an executor is retried.", default=3
    )
    executor_retry_delay_ms: int = setting(
        "EXECUTOR_RETRY_DELAY_MS",
        values.integer(0, values.YEAR_MS),
        "Milliseconds before the first retry of a call to an executor; before the n-th, n times as long.",
        default=500,
    )
    executor_retry_status_codes: frozenset[int] = setting(
        "EXECUTOR_RETRY_STATUS_CODES",
        values.SERVER_ERROR_CODES,
        "HTTP statuses of an executor that are retried.",
        default=frozenset({500, 502, 503, 504}),
        shown_default="500,502,503,504",
    )
    run_queue_owner: str | None = setting(
        "RUN_QUEUE_OWNER",
        values.TEXT,
        "Name under which this process claims runs and effects; must differ between processes.",
        default=None,
        shown_default="host and process id",
    )
    run_queue_lock_ms: int = setting(
        "RUN_QUEUE_LOCK_MS",
        values.integer(1000, values.YEAR_MS),
        "Milliseconds of the lease of a claimed run or effect; renewed while the process that claimed it lives.",
        default=30_000,
    )
    run_queue_retry_delay_ms: int = setting(
        "RUN_QUEUE_RETRY_DELAY_MS",
        values.integer(0, values.YEAR_MS),
        "Milliseconds before a run that failed for a transient reason is tried again.",
        default=5000,
    )

    @property
    def embedded_postgres(self) -> bool:
        """Whether Fleetlog brings its own Postgres."""
        return self.database_url is None

    def callbacks_at(self, *, serves_api: bool) -> str | None:
        """The base URL at which agents reach the API; None if they can't, or if it is unknown."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        if not serves_api or self.port == 0 or self.executor_base_url is not None:
            return None
        everywhere = self.host in {"0.0.0.0", "::"}  # noqa: S104  compared with, not listened on
        if self.worker_runtime == "docker":
            return f"http://host.docker.internal:{self.port}" if everywhere else None
        host = "127.0.0.1" if everywhere else f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def in_containers(self) -> bool:
        """Whether session workers are containers that Fleetlog makes."""
        return self.worker_runtime == "docker" and self.executor_base_url is None

    @property
    def embedded_object_store(self) -> bool:
        """Whether Fleetlog brings its own S3 server."""
        return self.s3_endpoint is None and self.s3_bucket is None

    @property
    def bucket(self) -> str:
        """The bucket's name, wherever it is."""
        return self.s3_bucket or "fleetlog"


def declarations() -> Mapping[str, Declaration]:
    """How each setting is read, by field name of `Settings`, in the order of the reference page."""
    inherited = [field for group in (WorkSlots, QuotaSettings) for field in dataclasses.fields(group)]
    own = dataclasses.fields(Settings)[len(inherited) :]
    return {field.name: cast("Declaration", field.metadata[DECLARATION]) for field in (*own, *inherited)}
