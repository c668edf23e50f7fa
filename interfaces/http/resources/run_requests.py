"""The bodies with which a run is started or enqueued, and the RunSpec made of them."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from domain.event import MAX_PAYLOAD_BYTES, encode
from domain.identifiers import DEFAULT_APP, DEFAULT_PROJECT, check_id
from domain.run.events import RunQueued
from domain.run.values import Message, Priority, RetryPolicy, RunSpec
from interfaces.http.compatibility.tools import tool_names
from interfaces.http.edge.auth import ANONYMOUS
from interfaces.http.edge.stored_values import check_free_form
from interfaces.http_conventions.problems import invalid

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._:@-]")
_ENVELOPE_BYTES = 4096
ShortText = Annotated[str, Meta(max_length=500, pattern=r"^[^\x00-\x1f]*$")]


class MessageBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    role: Literal["user", "assistant", "system"]
    content: str


class StartBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`sessionId` defaults to a new session `run-{runId}`, `userLoginName` to the caller. `tools`: the names of those
    that the agent may use, or an object with `true` for each. `providerOptions` are passed to the provider."""

    provider: ShortText
    model: ShortText = ""
    messages: tuple[MessageBody, ...] = ()
    run_id: str | None = None
    session_id: str | None = None
    app_id: str = ""
    project_name: str = ""
    user_login_name: str | None = None
    resume_session_id: ShortText = ""
    execution_profile: ShortText = ""
    tools: tuple[ShortText, ...] | dict[ShortText, Any] = ()
    provider_options: dict[str, Any] = {}
    require_human_loop: bool = False
    retry_policy: RetryPolicy = "transient"
    priority: Priority = "normal"


class EnqueueBody(StartBody, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A StartBody with a limit on the number of attempts."""

    max_attempts: int = 5


def run_request(body: StartBody, *, actor: str, new_run_id: str) -> tuple[str, RunSpec]:
    """The run's id, and its spec with defaults filled in. Raises InvalidInput, Problem 400."""
    run_id = new_run_id if body.run_id is None else check_id("runId", body.run_id)
    session_id = body.session_id
    if session_id is None:
        session_id = f"run-{run_id}"
        if len(session_id) > 120:
            raise invalid("runId", "is too long for a run without sessionId: 116 characters at most")
    check_free_form("providerOptions", body.provider_options)
    spec = RunSpec(
        session_id=session_id,
        app_id=body.app_id or DEFAULT_APP,
        project_name=body.project_name or DEFAULT_PROJECT,
        user_login_name=user_of(actor) if body.user_login_name is None else body.user_login_name,
        provider=body.provider,
        model=body.model,
        messages=tuple(Message(role=message.role, content=message.content) for message in body.messages),
        resume_session_id=body.resume_session_id,
        execution_profile=body.execution_profile,
        tools=tool_names(body.tools),
        provider_options=body.provider_options,
        require_human_loop=body.require_human_loop,
        retry_policy=body.retry_policy,
        priority=body.priority,
        max_attempts=body.max_attempts if isinstance(body, EnqueueBody) else 5,
    )
    size = len(encode(RunQueued(spec=spec)))
    if size > MAX_PAYLOAD_BYTES - _ENVELOPE_BYTES:
        raise invalid("messages", f"the run is {size} bytes of JSON; at most {MAX_PAYLOAD_BYTES - _ENVELOPE_BYTES}")
    return run_id, spec


def user_of(actor: str) -> str:
    """The actor as a login name: characters that ids may not have become colons."""
    return _NOT_IN_IDS.sub(":", actor)[:120].lstrip(":._@-") or ANONYMOUS
