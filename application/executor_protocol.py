"""The HTTP protocol between the control plane and the executor in a session worker, version 2.

Both sides ignore unknown fields. Paths of plans begin with `/workspace`, whatever folder the executor uses. Every call
but `GET /health` carries the session worker's bearer token. The calls (`CALLS` holds them for both sides):

    GET  /health                                   -> ExecutorHealth
    POST /workspace/restore                        RestoreRequest -> RestoreResult
    POST /workspace/link-agent-data                WorkspaceCall -> LinkResult
    POST /workspace/validate                       ValidateRequest -> ValidateResult
    POST /workspace/sync                           SyncRequest -> SyncResult; 409 workspace_not_restored, 409 busy
    GET  /workspace/sync                           -> SyncProgress of the sync under way
    GET  /workspace/tree?path=                     -> TreeResult
    GET  /workspace/file?path=                     -> the bytes; their number in the header x-fleetlog-size
    PUT  /workspace/file?path=                     the bytes -> 204
    GET  /workspace/download?path=                 -> a tar stream
    POST /provider-runs/start                      StartRequest -> RunState (idempotent by runId, attempt)
    GET  /provider-runs/{run_id}                   -> RunState; 404 unknown
    GET  /provider-runs/{run_id}/stream?cursor=    -> NDJSON of JournalEntry, n > cursor, until the run's end
    POST /provider-runs/{run_id}/stop              -> RunState at once; the journal ends with run.agent_finished
    POST /provider-runs/{run_id}/human-loop/reply  ReplyRequest -> ReplyResult; 404 unknown question; 409 not open
    GET  /log                                      -> LogLines: the last lines of the executor's log
    POST /log/take                                 -> LogLines: those that no such call has had yet

Every call carries trace headers: `traceparent` and `x-trace-id` (trace_context.py), and `TRACE_HEADERS`. A JSON body
has 8 MiB at most, a file 512 MiB. Where credentials for the object store expire, calls that may use it also carry
those that are valid then (`CREDENTIALS_HEADER` in store_credentials.py); where the caller itself serves the store, they
carry its address (`STORE_HEADER`). The executor uses the last that came.

In version 1 an executor had the variables of all agents in its own environment, and those of `StartRequest` are not
read. Executors of both versions are called.

Errors are problem+json (`ExecutorProblem` holds what a caller reads of them). A call for another session or generation
than the executor's own gets 409 `fenced`. Callers read `reason`, not `type`: executors of earlier releases, whose
containers may still run, have the reason in `type`, too, where the API's problems have their kind.
"""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec

from domain.run.values import RunSpec
from domain.workspace.limits import WorkspaceLimits
from domain.workspace.plan import RestorePlan
from domain.workspace.sync import SyncReason, SyncRef

PROTOCOL_VERSION = 2
SUPPORTED_PROTOCOLS = (1, 2)
MAX_FILE_BYTES = 512 * 1024 * 1024
SIZE_HEADER = "x-fleetlog-size"
TRACE_HEADERS = {
    "session_id": "x-trace-session-id",
    "run_id": "x-trace-run-id",
    "effect_id": "x-trace-effect-id",
    "executor_id": "x-trace-executor-id",
    "operation": "x-trace-operation",
}
"""Parameter of `diagnostic_context` → the header that carries it."""
TRACE_TIME_HEADER = "x-trace-ts"
"""The time of the call, sent with each call for tools that record the traffic."""


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=False):
    pass


class ExecutorHealth(_Wire, frozen=True, kw_only=True):
    """`boot_id` is new at every start of the executor process. `restored`: this generation's restore has completed. An
    executor that serves all sessions has an empty `session_id` and generation 0."""

    ok: bool = True
    protocol_version: int = PROTOCOL_VERSION
    boot_id: str
    session_id: str = ""
    generation: int = 0
    restored: bool = False
    maintenance: bool = False
    active_runs: tuple[str, ...] = ()

    def serves(self, session_id: str) -> bool:
        return self.session_id in {"", session_id}


class WorkspaceCall(_Wire, frozen=True, kw_only=True):
    """`session_seq`: the seq up to which the caller has read the session's stream. A gate sync whose `session_seq` is
    smaller than that of a run's start was asked for before it: it gets 409 `gate_overtaken`, and the agent goes on."""

    session_id: str
    container_id: str
    generation: int
    session_seq: int = 0


class RestoreRequest(WorkspaceCall, frozen=True, kw_only=True):
    plan: RestorePlan
    workspace_s3_prefix: str


class RestoreResult(_Wire, frozen=True, kw_only=True):
    """Number of files and sum of their sizes in bytes. `already`: this generation had been restored before, nothing was
    changed. `sync`: the sync that it was restored from."""

    ok: bool = True
    files: int = 0
    bytes: int = 0
    already: bool = False
    sync: SyncRef | None = None


class LinkResult(_Wire, frozen=True, kw_only=True):
    """Links in the agents' home (`~/.claude`, …). `migrated`: real folders whose content was moved into the
    workspace."""

    ok: bool = True
    linked: tuple[str, ...] = ()
    migrated: tuple[str, ...] = ()


class ValidateRequest(WorkspaceCall, frozen=True, kw_only=True):
    required_paths: tuple[str, ...] = ()


class ValidateResult(_Wire, frozen=True, kw_only=True):
    ok: bool
    missing_required_paths: tuple[str, ...] = ()


OVER_QUOTA = "workspace_over_quota"
"""The reason of the refusal to sync a workspace beyond its limits: trying again is pointless."""


class SyncRequest(WorkspaceCall, frozen=True, kw_only=True):
    """`previous`: the session's last recorded sync. `gate`: quiesce first, rehash everything, and fail on files that
    are unreadable or keep changing. `include`, `exclude`: paths or globs of a partial sync. A workspace beyond `limits`
    is not synced: 409 `workspace_over_quota`."""

    workspace_s3_prefix: str
    sync_id: str
    reason: SyncReason
    gate: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    previous: SyncRef | None = None
    limits: WorkspaceLimits = WorkspaceLimits()


class SyncResult(_Wire, frozen=True, kw_only=True):
    """`unchanged`: nothing differs from `previous`, and `sync` is the same. `files`, `bytes`: of the whole workspace;
    `unstable_paths` changed while they were read or could not be read; `skipped_paths` are sockets, FIFOs, devices."""

    ok: bool = True
    sync: SyncRef
    unchanged: bool = False
    files: int = 0
    bytes: int = 0
    uploaded_files: int = 0
    uploaded_bytes: int = 0
    unstable_paths: tuple[str, ...] = ()
    skipped_paths: tuple[str, ...] = ()


class SyncProgress(_Wire, frozen=True, kw_only=True):
    """The files that the sync under way has to read, and how many of them it has stored; `sync_id` is "" while there is
    none."""

    sync_id: str = ""
    files: int = 0
    files_done: int = 0
    bytes: int = 0
    bytes_done: int = 0


class TreeEntry(_Wire, frozen=True, kw_only=True):
    """`path` begins with `/workspace`; `size` in bytes; `mode` are permission bits; `target` of a symlink. Bytes that
    are not UTF-8 are escaped."""

    path: str
    kind: Literal["file", "dir", "symlink", "other"]
    size: int = 0
    mode: int = 0
    target: str = ""


class TreeResult(_Wire, frozen=True, kw_only=True):
    entries: tuple[TreeEntry, ...]


class StartRequest(WorkspaceCall, frozen=True, kw_only=True):
    """`callback_url` and `callback_token` are given to the agent in its environment (FLEETLOG_CALLBACK_URL, _TOKEN) and
    stored nowhere; both are "" where session workers can't reach the API. `variables`: the credentials of the run's
    provider, and what else of the installation's variables its agent needs; stored nowhere, too. An executor that
    Fleetlog has not started is sent none: it has its own. `secrets`: texts of the spec that are not to be told."""

    run_id: str
    attempt: int
    spec: RunSpec
    human_loop_timeout_ms: int = 3_600_000
    callback_url: str = ""
    callback_token: str = ""
    variables: dict[str, str] = {}
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"StartRequest({self.run_id}, attempt {self.attempt}; the rest is not shown)"


class RunState(_Wire, frozen=True, kw_only=True):
    """`entries`: the number of the journal's last durable entry. `finished`: that entry is run.agent_finished.
    `open_questions`: ids of questions without an answer."""

    run_id: str
    attempt: int
    boot_id: str
    entries: int
    finished: bool
    open_questions: tuple[str, ...] = ()


class JournalEntry(_Wire, frozen=True, kw_only=True):
    """One event. `type` is its wire name (domain/run/events.py), `payload` its fields in camelCase without
    leaseGeneration, at most 256 KiB. `n` counts from 1 within the attempt; `boot_id` is the executor boot that wrote
    it. Served only after it was flushed to the disk."""

    n: int
    boot_id: str
    attempt: int
    type: str
    payload: msgspec.Raw
    ts: datetime


class ReplyRequest(_Wire, frozen=True, kw_only=True):
    question_id: str
    answer: Any


class ReplyResult(_Wire, frozen=True, kw_only=True):
    """`duplicate`: this question had been answered before; the first answer counts."""

    ok: bool = True
    duplicate: bool = False


MAX_KEPT_LOG_LINES, MAX_KEPT_LOG_BYTES = 5000, 1024 * 1024
"""What an executor keeps of its log in memory."""


class LogLines(_Wire, frozen=True, kw_only=True):
    """Lines of JSON (interfaces/logging.py), the oldest first. `lost`: how many more there were, before the first."""

    lines: tuple[msgspec.Raw, ...] = ()
    lost: int = 0


class ExecutorProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller reads of an executor's problem document: `reason` is a stable snake_case word for machines, `error`
    the text for people. Validation problems also have `errors[]{field, message}`, `files_not_stable` also `paths`."""

    reason: str = ""
    error: str = ""
    detail: str = ""


AnswerT = TypeVar("AnswerT")


class ExecutorCall(msgspec.Struct, Generic[AnswerT], frozen=True, kw_only=True):
    """One call: `operation` is its name in traces, `path` may hold `{run_id}`, `body` and `answer` are its JSON types;
    the answer type `bytes` stands for a response that is not JSON."""

    operation: str
    method: Literal["GET", "POST", "PUT"]
    path: str
    answer: type[AnswerT]
    body: type[msgspec.Struct] | None = None

    def path_of(self, run_id: str = "") -> str:
        """The path with the percent-encoded id of the run."""
        return self.path.replace("{run_id}", quote(run_id, safe=""))


HEALTH = ExecutorCall(operation="health", method="GET", path="/health", answer=ExecutorHealth)
RESTORE = ExecutorCall(
    operation="workspace.restore", method="POST", path="/workspace/restore", body=RestoreRequest, answer=RestoreResult
)
LINK_AGENT_DATA = ExecutorCall(
    operation="workspace.link_agent_data",
    method="POST",
    path="/workspace/link-agent-data",
    body=WorkspaceCall,
    answer=LinkResult,
)
VALIDATE = ExecutorCall(
    operation="workspace.validate",
    method="POST",
    path="/workspace/validate",
    body=ValidateRequest,
    answer=ValidateResult,
)
SYNC = ExecutorCall(
    operation="workspace.sync", method="POST", path="/workspace/sync", body=SyncRequest, answer=SyncResult
)
SYNC_PROGRESS = ExecutorCall(
    operation="workspace.sync_progress", method="GET", path="/workspace/sync", answer=SyncProgress
)
TREE = ExecutorCall(operation="workspace.tree", method="GET", path="/workspace/tree", answer=TreeResult)
READ_FILE = ExecutorCall(operation="workspace.read_file", method="GET", path="/workspace/file", answer=bytes)
WRITE_FILE = ExecutorCall(operation="workspace.write_file", method="PUT", path="/workspace/file", answer=bytes)
DOWNLOAD = ExecutorCall(operation="workspace.download", method="GET", path="/workspace/download", answer=bytes)
START_RUN = ExecutorCall(
    operation="run.start", method="POST", path="/provider-runs/start", body=StartRequest, answer=RunState
)
RUN_STATE = ExecutorCall(operation="run.state", method="GET", path="/provider-runs/{run_id}", answer=RunState)
FOLLOW_RUN = ExecutorCall(operation="run.follow", method="GET", path="/provider-runs/{run_id}/stream", answer=bytes)
STOP_RUN = ExecutorCall(operation="run.stop", method="POST", path="/provider-runs/{run_id}/stop", answer=RunState)
REPLY = ExecutorCall(
    operation="run.reply",
    method="POST",
    path="/provider-runs/{run_id}/human-loop/reply",
    body=ReplyRequest,
    answer=ReplyResult,
)
LOG = ExecutorCall(operation="log.read", method="GET", path="/log", answer=LogLines)
TAKE_LOG = ExecutorCall(operation="log.take", method="POST", path="/log/take", answer=LogLines)
CALLS: tuple[ExecutorCall[Any], ...] = (
    HEALTH,
    RESTORE,
    LINK_AGENT_DATA,
    VALIDATE,
    SYNC,
    SYNC_PROGRESS,
    TREE,
    READ_FILE,
    WRITE_FILE,
    DOWNLOAD,
    START_RUN,
    RUN_STATE,
    FOLLOW_RUN,
    STOP_RUN,
    REPLY,
    LOG,
    TAKE_LOG,
)
WITH_STORE: tuple[ExecutorCall[Any], ...] = (RESTORE, SYNC, SYNC_PROGRESS, START_RUN, FOLLOW_RUN)
"""Those that may lead to a use of the object store: they carry what the executor needs for that."""


class ExecutorConfig(_Wire, frozen=True, kw_only=True):
    """The configuration file, mode 0600, that a worker runtime writes for `python -m interfaces.executor --config
    FILE`.

    The executor listens on `host`:`port` (0: any free port), writes `ExecutorAddress` to `{state_dir}/endpoint.json`
    once it serves, and ends by itself after `idle_exit_s` seconds without a run or a call with the token (0: never).
    With `agent_user`, a numeric user and group id, agents run as that user, and workspace and home are given to it
    before each start; without, they run as the executor's user. With `s3_credentials_renewed`, the S3 keys are those of
    the moment when the file was written, and calls bring later ones; with `s3_endpoint_passed`, so is the endpoint.
    """

    session_id: str
    generation: int
    container_id: str
    token: str
    host: str = "127.0.0.1"
    port: int = 0
    workspace_dir: str
    home_dir: str
    state_dir: str
    s3_endpoint: str
    s3_bucket: str
    s3_region: str = "us-east-1"
    s3_access_key: str
    s3_secret_key: str
    s3_session_token: str = ""
    s3_credentials_renewed: bool = False
    s3_endpoint_passed: bool = False
    maintenance: bool = False
    idle_exit_s: int = 600
    agent_user: int | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


ADDRESS_FILE = "endpoint.json"


class ExecutorAddress(_Wire, frozen=True, kw_only=True):
    """The content of `ADDRESS_FILE` in the state folder while the executor serves."""

    url: str
    boot_id: str
    pid: int
