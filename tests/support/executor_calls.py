"""Calls of a real executor as tests make them, for one session of generation 1."""

from typing import Any

import msgspec

from application.executor_protocol import (
    RestoreRequest,
    RunState,
    StartRequest,
    SyncRequest,
    ValidateRequest,
    WorkspaceCall,
)
from application.ports.executor import Executor
from application.ports.worker_runtime import ContainerSpec
from domain.identifiers import worker_token, workspace_prefix
from domain.run.values import Message, RunSpec
from domain.workspace.plan import build_restore_plan
from domain.workspace.sync import SyncReason

SECRET = b"installation-secret"
SESSION = "session-1"
SPEC = ContainerSpec(session_id=SESSION, generation=1, token=worker_token(SECRET, SESSION, 1, "executor"))
PREFIX = workspace_prefix("app", "default", "user", SESSION)
IDENTITY: dict[str, Any] = {"session_id": SESSION, "container_id": "", "generation": 1}


async def restored(executor: Executor) -> None:
    """Restore, link and validate an empty workspace."""
    plan = build_restore_plan(
        app_id="app",
        project_name="default",
        user_login_name="user",
        session_prefix=PREFIX,
        manifest=None,
        session_sync=None,
    )
    await executor.restore(RestoreRequest(**IDENTITY, plan=plan, workspace_s3_prefix=PREFIX))
    await executor.link_agent_data(WorkspaceCall(**IDENTITY))
    validated = await executor.validate(ValidateRequest(**IDENTITY, required_paths=("/workspace/.agent_data",)))
    assert validated.ok


async def started_script(executor: Executor, script: str) -> RunState:
    message = Message(role="user", content=script)
    spec = RunSpec(session_id=SESSION, user_login_name="user", provider="scripted", messages=(message,))
    return await executor.start_run(StartRequest(**IDENTITY, run_id="run-1", attempt=1, spec=spec))


async def script_output(executor: Executor, script: str) -> str:
    """Run a script to its end and return what it wrote to its standard output."""
    await started_script(executor, script)
    entries = [entry async for batch in executor.follow("run-1", 0) for entry in batch]
    texts = (msgspec.json.decode(entry.payload) for entry in entries if entry.type == "message.delta")
    return "".join(text["text"] for text in texts)


def sync_of(reason: SyncReason, *, gate: bool = False) -> SyncRequest:
    return SyncRequest(**IDENTITY, workspace_s3_prefix=PREFIX, sync_id="1-1", reason=reason, gate=gate)
