"""The HTTP protocol between the control plane and the executor in a worker: bodies and answers, version 1.

Both sides ignore unknown fields. Paths of plans are `/workspace/...` whatever folder that really is. Every call but
`GET /health` carries the worker's bearer token; every call carries the `x-trace-*` headers and `traceparent`.

    GET  /health                                   -> Health
    POST /workspace/restore                        RestoreRequest -> RestoreResult
    POST /workspace/link-agent-data                WorkspaceCall -> LinkResult
    POST /workspace/validate                       ValidateRequest -> ValidateResult
    POST /workspace/sync                           SyncRequest -> SyncResult; 409 workspace_not_restored, 409 busy
    GET  /workspace/tree?path=                     -> {entries: [TreeEntry]}
    GET  /workspace/file?path=                     -> the bytes
    PUT  /workspace/file?path=                     the bytes -> 204
    GET  /workspace/download?path=                 -> a tar stream
    POST /provider-runs/start                      StartRequest -> RunState (idempotent by runId, attempt)
    GET  /provider-runs/{runId}                    -> RunState; 404 unknown
    GET  /provider-runs/{runId}/stream?cursor=     -> NDJSON of JournalEntry, n > cursor; follows to the run's end
    POST /provider-runs/{runId}/stop               -> RunState at once; the journal ends with run.agent_finished
    POST /provider-runs/{runId}/human-loop/reply   ReplyRequest -> ReplyResult; 404 unknown question; 409 not open

Errors are problem+json with `error` and a machine-readable `reason`. A call for another session or generation than the
executor's own gets 409 `fenced`.
"""

from datetime import datetime
from typing import Any, Literal

import msgspec

from domain.run.values import RunSpec
from domain.workspace.plan import RestorePlan
from domain.workspace.sync import SyncReason, SyncRef

PROTOCOL_VERSION = 1
SUPPORTED_PROTOCOLS = (1,)


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=False):
    pass


class Health(_Wire, frozen=True, kw_only=True):
    """`boot_id` is new at every start of the executor process. `restored`: this generation's restore has completed.
    An executor that serves all sessions names none, and generation 0."""

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
    """`session_seq` is the seq in the session's stream up to which the caller has read it. A gate sync that knows less
    than the start of an agent did was overtaken by it: 409 `gate_overtaken`, and the agent lives."""

    session_id: str
    container_id: str
    generation: int
    session_seq: int = 0


class RestoreRequest(WorkspaceCall, frozen=True, kw_only=True):
    plan: RestorePlan
    workspace_s3_prefix: str


class RestoreResult(_Wire, frozen=True, kw_only=True):
    """`bytes` fetched; `already`: this generation had been restored, nothing was touched."""

    ok: bool = True
    files: int = 0
    bytes: int = 0
    already: bool = False
    sync: SyncRef | None = None


class LinkResult(_Wire, frozen=True, kw_only=True):
    ok: bool = True
    linked: tuple[str, ...] = ()
    migrated: tuple[str, ...] = ()


class ValidateRequest(WorkspaceCall, frozen=True, kw_only=True):
    required_paths: tuple[str, ...] = ()


class ValidateResult(_Wire, frozen=True, kw_only=True):
    ok: bool
    missing_required_paths: tuple[str, ...] = ()


class SyncRequest(WorkspaceCall, frozen=True, kw_only=True):
    """`previous` is the log's last recorded sync of this session. `gate`: quiesce first, rehash everything, and fail
    on files that are unreadable or keep changing."""

    workspace_s3_prefix: str
    sync_id: str
    reason: SyncReason
    gate: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    previous: SyncRef | None = None


class SyncResult(_Wire, frozen=True, kw_only=True):
    """`unchanged`: nothing differs from `previous`, which `sync` then names."""

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
    """How far the sync under way has got with the files that it has to read; `sync_id` is empty while there is none."""

    sync_id: str = ""
    files: int = 0
    files_done: int = 0
    bytes: int = 0
    bytes_done: int = 0


class TreeEntry(_Wire, frozen=True, kw_only=True):
    path: str
    kind: Literal["file", "dir", "symlink", "other"]
    size: int = 0
    mode: int = 0
    target: str = ""


class StartRequest(WorkspaceCall, frozen=True, kw_only=True):
    """The agent finds `callback_url` and `callback_token` in its environment (FLEETLOG_CALLBACK_URL and _TOKEN), and
    nobody anywhere else; both are empty where workers have no way to the API."""

    run_id: str
    attempt: int
    spec: RunSpec
    human_loop_timeout_ms: int = 3_600_000
    callback_url: str = ""
    callback_token: str = ""


class RunState(_Wire, frozen=True, kw_only=True):
    """`entries` is the number of the journal's last durable entry; `finished` once that is run.agent_finished."""

    run_id: str
    attempt: int
    boot_id: str
    entries: int
    finished: bool
    open_questions: tuple[str, ...] = ()


class JournalEntry(_Wire, frozen=True, kw_only=True):
    """One entry is one event. `type` is a wire name of domain/run/events.py, `payload` that event's fields in camelCase
    (without leaseGeneration), at most 256 KiB. `n` counts from 1 within the attempt; `boot_id` is the executor boot
    that wrote it. Served only after fsync."""

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
    """`duplicate`: this question had been answered before; the first answer stands."""

    ok: bool = True
    duplicate: bool = False


class ExecutorConfig(_Wire, frozen=True, kw_only=True):
    """The file, mode 0600, that a runtime hands to an executor: `python -m interfaces.executor --config FILE`.

    The executor listens on `host`:`port` (0 = any free one), writes the chosen address and its boot id to
    `{state_dir}/endpoint.json` ({url, bootId, pid}) once it serves, and ends by itself after `idle_exit_s` seconds
    without a run and without any call (0 = never). With `agent_user`, a numeric user (and group) id, agents run as that
    user, and workspace and home are made its own before each starts; without, they run as the executor's own.
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
    maintenance: bool = False
    idle_exit_s: int = 600
    agent_user: int | None = None
