"""Every setting of Fleetlog, read from the environment once, at the start. No other module reads a setting there; what
bootstrap hands to Docker's client and to workers (DOCKER_HOST, model credentials) are other programs' variables.

A setting is declared in one place, its field of `Settings`: variable, type, default, what it means. The reference page
docs/reference/configuration.md is rendered from these declarations (interfaces/settings_reference.py).
"""

# ruff: noqa: RUF009  # `_setting` makes a dataclass field, not a default value

import dataclasses
import difflib
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

from interfaces import setting_values as values

Value = TypeVar("Value")
WorkerRuntime = Literal["process", "docker"]
DECLARATION: Final = "declaration"
OWN_PREFIX: Final = "FLEETLOG_"


class SettingsError(Exception):
    """A setting that stops the start. `variable` names it; the text says what is wrong, what is allowed, what to do."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable}: {problem}")
        self.variable = variable


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """How one setting is read: `parse` raises ValueError for a malformed text, `allowed` says what it takes."""

    variable: str
    parse: Callable[[str], object]
    allowed: str
    doc: str
    shown_default: str
    secret: bool = False


def _setting(
    variable: str,
    kind: values.Kind[Value],
    doc: str,
    *,
    default: Value,
    shown_default: str | None = None,
    secret: bool = False,
) -> Value:
    declaration = Declaration(
        variable=variable,
        parse=kind.parse,
        allowed=kind.allowed,
        doc=doc,
        shown_default=str(default) if shown_default is None else shown_default,
        secret=secret,
    )
    # A dataclass turns this field object into a value of the declared type.
    field = dataclasses.field(default=cast("Any", default), metadata={DECLARATION: declaration}, repr=not secret)
    return cast("Value", field)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, checked. None means "not set"; durations are milliseconds, as their names say."""

    host: str = _setting(
        "FLEETLOG_HOST",
        values.TEXT,
        "Address to listen on. Any other than a loopback address needs `FLEETLOG_API_KEYS`.",
        default="127.0.0.1",
    )
    port: int = _setting("FLEETLOG_PORT", values.integer(0, 65535), "Port; 0 takes a free one.", default=8080)
    home: Path = _setting(
        "FLEETLOG_HOME",
        values.FOLDER,
        "Folder of the embedded servers' data, the secrets and the logs of this installation.",
        default=Path(".fleetlog"),
    )
    api_keys: tuple[values.ApiKey, ...] = _setting(
        "FLEETLOG_API_KEYS",
        values.API_KEYS,
        "Who may call the API: name (the actor in the log) and SHA-256 of the key, in hexadecimal. None: loopback "
        "only, without keys.",
        default=(),
        shown_default="none",
        secret=True,
    )
    secret: str | None = _setting(
        "FLEETLOG_SECRET",
        values.SECRET,
        "Key of the tokens for executors and callbacks. With the embedded Postgres one is made and kept in "
        "`FLEETLOG_HOME`; with `DATABASE_URL` it is required, and the same for all processes.",
        default=None,
        shown_default="made once",
        secret=True,
    )
    database_url: str | None = _setting(
        "DATABASE_URL",
        values.DATABASE_URL,
        "Postgres to use instead of the embedded one.",
        default=None,
        shown_default="embedded Postgres",
        secret=True,
    )
    s3_endpoint: str | None = _setting(
        "S3_ENDPOINT",
        values.HTTP_URL,
        "S3 server to use instead of the embedded one; needs both AWS keys.",
        default=None,
        shown_default="embedded S3 server",
    )
    s3_bucket: str = _setting("S3_BUCKET", values.BUCKET, "Bucket of all workspaces.", default="fleetlog")
    s3_region: str = _setting("S3_REGION", values.TEXT, "Region that requests are signed for.", default="us-east-1")
    aws_access_key_id: str | None = _setting(
        "AWS_ACCESS_KEY_ID",
        values.TEXT,
        "Access key for `S3_ENDPOINT`; not used with the embedded server.",
        default=None,
        shown_default="none",
    )
    aws_secret_access_key: str | None = _setting(
        "AWS_SECRET_ACCESS_KEY",
        values.TEXT,
        "Secret key for `S3_ENDPOINT`; not used with the embedded server.",
        default=None,
        shown_default="none",
        secret=True,
    )
    worker_runtime: WorkerRuntime = _setting(
        "WORKER_RUNTIME",
        values.WORKER_RUNTIME,
        "Where sessions run: an executor process on this machine (trusted code only) or a Docker container each.",
        default="process",
    )
    worker_image: str = _setting(
        "WORKER_IMAGE",
        values.TEXT,
        "Image of the `docker` runtime; script/worker-image builds it.",
        default="fleetlog-worker:latest",
    )
    worker_pull: Literal["missing", "never", "always"] = _setting(
        "WORKER_PULL", values.PULL_POLICY, "When `WORKER_IMAGE` is pulled from its registry.", default="missing"
    )
    worker_cpus: float = _setting("WORKER_CPUS", values.CPUS, "CPUs of a container.", default=1.0, shown_default="1")
    worker_memory_mb: int = _setting(
        "WORKER_MEMORY_MB",
        values.integer(64, 16_000_000),
        "Memory of a container, in MiB; it gets no swap.",
        default=2048,
    )
    worker_pids: int = _setting(
        "WORKER_PIDS", values.integer(16, 4_000_000), "Processes and threads of a container.", default=512
    )
    worker_network: str | None = _setting(
        "WORKER_NETWORK",
        values.TEXT,
        "A Docker network of your own for the containers; this process calls them at their addresses there, and no "
        "port is published. By default one is made, and each container's port is published on loopback alone.",
        default=None,
        shown_default="one of the installation's own",
    )
    max_workers: int = _setting("MAX_WORKERS", values.COUNT, "Workers that may run at once.", default=100)
    max_starting: int = _setting("MAX_STARTING", values.COUNT, "Workers that may start at once.", default=8)
    max_streams: int = _setting(
        "MAX_STREAMS", values.COUNT, "Live event streams that one process serves at once.", default=1000
    )
    max_runs: int = _setting(
        "MAX_RUNS", values.integer(1, 100_000), "How many runs are executed at once, over all processes.", default=1000
    )
    idle_timeout_ms: int = _setting(
        "IDLE_TIMEOUT_MS", values.DURATION_MS, "How long a worker may idle before it is stopped.", default=900_000
    )
    remove_after_ms: int = _setting(
        "REMOVE_AFTER_MS", values.DURATION_MS, "How long a stopped worker is kept.", default=86_400_000
    )
    stale_sync_after_ms: int = _setting(
        "STALE_SYNC_AFTER_MS",
        values.DURATION_MS,
        "How old the last successful sync of a running worker may be before it is synced again.",
        default=1_800_000,
    )
    workspace_retention_ms: int = _setting(
        "WORKSPACE_RETENTION_MS",
        values.integer(1, 10 * values.YEAR_MS),
        "How long a recorded sync can still be restored after a later one took its place.",
        default=2_592_000_000,
    )
    sync_progress_ms: int = _setting(
        "SYNC_PROGRESS_MS",
        values.DURATION_MS,
        "How long a sync takes before it tells how far it is; then it does so up to 20 times, less and less often.",
        default=5000,
    )
    human_loop_timeout_ms: int = _setting(
        "HUMAN_LOOP_TIMEOUT_MS", values.DURATION_MS, "How long a question waits for its answer.", default=3_600_000
    )
    run_timeout_ms: int = _setting(
        "RUN_TIMEOUT_MS",
        values.integer(0, values.YEAR_MS),
        "How long an agent may run, questions included, before it is ended and its run fails; 0: no limit.",
        default=86_400_000,
    )
    run_silence_timeout_ms: int = _setting(
        "RUN_SILENCE_TIMEOUT_MS",
        values.integer(0, values.YEAR_MS),
        "How long an agent may say nothing, open questions not counted; 0: no limit.",
        default=21_600_000,
    )
    public_url: str | None = _setting(
        "FLEETLOG_PUBLIC_URL",
        values.HTTP_URL,
        "Where agents reach the API, for their callbacks. By default it is this process's own address where workers "
        "reach that; `fleetlog worker` has none of its own.",
        default=None,
        shown_default="own address",
    )
    executor_base_url: str | None = _setting(
        "EXECUTOR_BASE_URL",
        values.HTTP_URL,
        "One shared executor for all sessions, run by somebody else, instead of one per worker: nothing is started or "
        "stopped for a session then, and `WORKER_RUNTIME` has no meaning. Needs `EXECUTOR_AUTH_TOKEN`.",
        default=None,
        shown_default="one per worker",
    )
    executor_auth_token: str | None = _setting(
        "EXECUTOR_AUTH_TOKEN",
        values.TEXT,
        "Bearer token of the shared executor.",
        default=None,
        shown_default="none",
        secret=True,
    )
    executor_timeout_ms: int = _setting(
        "EXECUTOR_TIMEOUT_MS", values.DURATION_MS, "How long one call of an executor may take.", default=30_000
    )
    executor_max_retries: int = _setting(
        "EXECUTOR_MAX_RETRIES", values.integer(0, 100), "How often a failed call is repeated.", default=3
    )
    executor_retry_delay_ms: int = _setting(
        "EXECUTOR_RETRY_DELAY_MS",
        values.integer(0, values.YEAR_MS),
        "Pause before a repetition, times its number.",
        default=500,
    )
    executor_retry_status_codes: frozenset[int] = _setting(
        "EXECUTOR_RETRY_STATUS_CODES",
        values.SERVER_ERROR_CODES,
        "HTTP statuses of an executor that are worth a repetition.",
        default=frozenset({500, 502, 503, 504}),
        shown_default="500,502,503,504",
    )
    run_queue_owner: str | None = _setting(
        "RUN_QUEUE_OWNER",
        values.TEXT,
        "Name under which this process claims runs; must differ between processes.",
        default=None,
        shown_default="host and process id",
    )
    run_queue_lock_ms: int = _setting(
        "RUN_QUEUE_LOCK_MS",
        values.integer(1000, values.YEAR_MS),
        "Lease of a claimed run or effect; renewed while its worker lives.",
        default=30_000,
    )
    run_queue_retry_delay_ms: int = _setting(
        "RUN_QUEUE_RETRY_DELAY_MS",
        values.integer(0, values.YEAR_MS),
        "Pause before a run that failed in passing is tried again.",
        default=5000,
    )

    @property
    def embedded_postgres(self) -> bool:
        """Whether Fleetlog brings its own Postgres."""
        return self.database_url is None

    def callbacks_at(self, *, serves_api: bool) -> str | None:
        """The base URL of the API as agents reach it; None where they don't, as far as is known."""
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
    def embedded_object_store(self) -> bool:
        """Whether Fleetlog brings its own S3 server."""
        return self.s3_endpoint is None


def declarations() -> Mapping[str, Declaration]:
    """Field name of `Settings` → how it is read, in the order of the reference page."""
    return {field.name: cast("Declaration", field.metadata[DECLARATION]) for field in dataclasses.fields(Settings)}


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings that `environ` gives; an empty value counts as not set.

    Raises `SettingsError` for an unknown `FLEETLOG_*` variable, a malformed value, and values that do not go together.
    The value of a secret never is part of the message.
    """
    known = declarations()
    _refuse_unknown(environ, [declaration.variable for declaration in known.values()])
    chosen: dict[str, Any] = {}
    for field, declaration in known.items():
        text = environ.get(declaration.variable, "").strip()
        if text:
            chosen[field] = _parsed(declaration, text)
    settings = Settings(**chosen)
    _refuse_contradictions(settings)
    return settings


def _parsed(declaration: Declaration, text: str) -> object:
    try:
        return declaration.parse(text)
    except ValueError as error:
        shown = "the value (not shown: it is a secret)" if declaration.secret else f"`{text}`"
        reason = f" ({error})" if isinstance(error, values.Refused) else ""
        raise SettingsError(
            declaration.variable, f"{shown} is not allowed{reason}; allowed is {declaration.allowed}."
        ) from None


def _refuse_unknown(environ: Mapping[str, str], variables: list[str]) -> None:
    for variable in sorted(environ):
        if variable.startswith(OWN_PREFIX) and variable not in variables:
            own = [name for name in variables if name.startswith(OWN_PREFIX)]
            close = difflib.get_close_matches(variable, own, n=1, cutoff=0.8)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(own)}."
            raise SettingsError(variable, f"there is no such setting; {hint}")


def _refuse_contradictions(settings: Settings) -> None:
    if not settings.api_keys and not is_loopback(settings.host):
        raise SettingsError(
            "FLEETLOG_HOST",
            f"`{settings.host}` can be reached from other machines, and no FLEETLOG_API_KEYS are set, so anyone there "
            "could run code here. Set FLEETLOG_API_KEYS, or listen on 127.0.0.1.",
        )
    if settings.database_url is not None and settings.secret is None:
        raise SettingsError(
            "FLEETLOG_SECRET",
            "it is required with DATABASE_URL, because every process on one database needs the same. "
            "Make one with `python3 -c 'import secrets; print(secrets.token_urlsafe(48))'`.",
        )
    if settings.s3_endpoint is not None:
        for variable, key in (
            ("AWS_ACCESS_KEY_ID", settings.aws_access_key_id),
            ("AWS_SECRET_ACCESS_KEY", settings.aws_secret_access_key),
        ):
            if key is None:
                raise SettingsError(variable, "it is required with S3_ENDPOINT.")
    if settings.executor_base_url is not None and settings.executor_auth_token is None:
        raise SettingsError("EXECUTOR_AUTH_TOKEN", "it is required with EXECUTOR_BASE_URL.")


def is_loopback(host: str) -> bool:
    """Whether a server on `host` can be reached from this machine alone; other names than localhost count as no."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
