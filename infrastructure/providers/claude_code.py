"""The `claude-code` provider: drives Claude Code over its stream-json control protocol, lines of JSON on stdio."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from domain.errors import InvalidInput
from domain.event import Event
from domain.run.capabilities import Capabilities
from domain.run.events import RunAgentFinished
from domain.run.values import Outcome, RunError, RunSpec
from infrastructure.providers.agent_processes import AgentProcesses, PipeClosed
from infrastructure.providers.claude_stream import ClaudeStream
from infrastructure.providers.cli_process import CliProcess, start_cli
from infrastructure.providers.contract import AgentCli, AgentFailed, AgentTask, ReplyNotDelivered
from infrastructure.providers.event_feed import Emit, events_of
from infrastructure.providers.model_errors import no_credentials
from infrastructure.providers.prompts import prompt_of
from infrastructure.providers.provider_options import options_as
from infrastructure.providers.provider_warnings import unknown_options
from infrastructure.providers.version_table import capabilities_at

CLI = AgentCli(program="claude", label="claude-code", package="@anthropic-ai/claude-code")
PERMISSION_MODES: Mapping[str, str] = {
    "default": "default",
    "build": "acceptEdits",
    "plan": "plan",
    "acceptEdits": "acceptEdits",
    "bypassPermissions": "bypassPermissions",
    "dontAsk": "dontAsk",
}
"""Execution profile → Claude's permission mode."""
_PROFILES = tuple(PERMISSION_MODES)
_TABLE = (
    # Before the control protocol asked for permissions over stdio nobody could be asked anything.
    ("1.0.0", Capabilities(provider="claude-code", resume=True, execution_profiles=_PROFILES[:4])),
    (
        "2.0.0",
        Capabilities(
            provider="claude-code",
            resume=True,
            human_loop=True,
            todo_stream=True,
            build_plan_mode=True,
            execution_profiles=_PROFILES,
        ),
    ),
)
_ENVIRONMENT = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_ENABLE_TODO_TOOLS": "1",
    "CLAUDE_CODE_ENABLE_TASKS": "0",
    "DISABLE_AUTOUPDATER": "1",
    "ENABLE_TOOL_SEARCH": "false",
}
_PIPED = {
    "ANTHROPIC_API_KEY": "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
    "CLAUDE_CODE_OAUTH_TOKEN": "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR",
}
_ARGUMENTS = (
    "-p", "--output-format", "stream-json", "--input-format", "stream-json", "--verbose", "--include-partial-messages",
    "--permission-prompt-tool", "stdio",
)  # fmt: skip
_SESSION_ID = re.compile(r"[0-9A-Fa-f][0-9A-Fa-f-]{7,63}")
_END_S = 20.0
"""How long it may take after its result to end by itself, with its stdin closed."""


class ClaudeOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`providerOptions`. `maxRetries`: how often Claude Code itself repeats a failed request to the model."""

    allowed_tools: tuple[str, ...] = ()
    disallowed_tools: tuple[str, ...] = ()
    max_turns: int | None = None
    max_retries: int = 2
    max_budget_usd: float | None = None
    effort: str = ""
    fallback_model: str = ""
    fork_session: bool = False
    settings: dict[str, Any] | None = None
    mcp_servers: dict[str, Any] | None = None


_KNOWN_OPTIONS = ClaudeOptions.__struct_encode_fields__


class ClaudeCodeProvider:
    """Claude Code as a provider."""

    name = "claude-code"
    aliases: tuple[str, ...] = ()
    cli: AgentCli | None = CLI
    credentials: tuple[str, ...] = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
    variables: tuple[str, ...] = (
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_MODEL",
        "ANTHROPIC_SMALL_FAST_MODEL",
        "HTTPS_PROXY",
        "NO_PROXY",
    )

    def capabilities(self, version: str, options: Mapping[str, Any]) -> Capabilities:  # noqa: ARG002  none changes them
        return capabilities_at(_TABLE, version)

    def check(self, spec: RunSpec) -> None:
        options_as(ClaudeOptions, spec)
        prompt_of(spec)
        if spec.resume_session_id and not _SESSION_ID.fullmatch(spec.resume_session_id):
            raise InvalidInput("resumeSessionId", f"{spec.resume_session_id!r} is no id of a Claude Code session")

    def keeps(self, provider_session_id: str, path: str) -> bool:
        return path.endswith(f"/{provider_session_id}.jsonl")

    async def start(self, task: AgentTask, processes: AgentProcesses) -> "ClaudeSession":
        if not any(task.environment.get(name) for name in self.credentials) and not _logged_in(task):
            raise AgentFailed("auth_missing", no_credentials(self.name, self.credentials))
        options = options_as(ClaudeOptions, task.spec)
        environment = {**_ENVIRONMENT, "CLAUDE_CODE_MAX_RETRIES": str(options.max_retries)}
        process = await start_cli(
            CLI, _arguments(task.spec, options), task, processes, environment=environment, piped=_PIPED
        )
        return ClaudeSession(task, process, ClaudeStream(self.name, self.credentials, task.human_loop_timeout_ms))


class ClaudeSession:
    """A running Claude Code: one run is one turn of the conversation."""

    def __init__(self, task: AgentTask, process: CliProcess, stream: ClaudeStream) -> None:
        self._task = task
        self._process = process
        self._stream = stream
        self._stopping = False
        self.process_group = process.process_group

    def events(self) -> AsyncIterator[Event]:
        return events_of(self._run)

    async def reply(self, question_id: str, answer: Any) -> None:
        message = self._stream.answer(question_id, answer)
        if message is None:
            return  # one of several questions that are answered together
        try:
            await self._process.send(message)
        except PipeClosed as error:
            raise ReplyNotDelivered(str(error)) from error

    async def stop(self) -> None:
        self._stopping = True
        await self._process.stop(self._interrupt)

    async def _interrupt(self) -> None:
        await self._process.send(_request("interrupt", {"subtype": "interrupt"}))

    async def _run(self, emit: Emit) -> RunAgentFinished:
        for warn in unknown_options(self._task.spec, _KNOWN_OPTIONS):
            await emit(warn)
        try:
            await self._begin()
            await self._read(emit)
        finally:
            code = await self._process.end()
        for event in self._stream.left_over():
            await emit(event)
        return self._finished(code)

    async def _begin(self) -> None:
        prompt = prompt_of(self._task.spec)
        start: dict[str, Any] = {"subtype": "initialize"}
        if prompt.system:
            start["appendSystemPrompt"] = prompt.system
        said = {"type": "user", "message": {"role": "user", "content": prompt.text}, "parent_tool_use_id": None}
        try:
            await self._process.send(_request("initialize", start))
            await self._process.send({**said, "session_id": ""})
        except PipeClosed:
            return  # it has ended already; its exit code and its stderr tell why

    async def _read(self, emit: Emit) -> None:
        """To its end; once the result is there, within a bound."""
        lines = self._process.lines()
        try:
            async with asyncio.timeout(None) as limit:
                async for line in lines:
                    had_result = self._stream.result is not None
                    for event in self._stream.events_of(line):
                        await emit(event)
                    if self._stream.result is not None and not had_result:
                        self._process.close_stdin()
                        limit.reschedule(asyncio.get_running_loop().time() + _END_S)
        except TimeoutError:
            return

    def _finished(self, code: int) -> RunAgentFinished:
        stream = self._stream
        outcome: Outcome = "failed"
        error = None
        if self._stopping:
            outcome = "canceled"
        elif stream.result is not None and not stream.result.is_error:
            outcome = "succeeded"
        else:
            error = stream.error() or self._refusal() or self._process.crashed(code, "it worked on the run")
        return RunAgentFinished(
            outcome=outcome,
            error=error,
            usage=stream.usage(),
            provider_session_id=stream.session_id,
            exit_code=code,
        )

    def _refusal(self) -> RunError | None:
        if "root/sudo privileges" not in self._process.stderr_tail:
            return None
        message = (
            "Claude Code does not bypass permissions as root: choose another executionProfile, or run the control "
            "plane as an ordinary user or with WORKER_RUNTIME=docker"
        )
        return RunError(error_class="bad_input", message=message)


def _arguments(spec: RunSpec, options: ClaudeOptions) -> list[str]:
    arguments = [*_ARGUMENTS, "--permission-mode", PERMISSION_MODES.get(spec.execution_profile, "default")]
    if spec.resume_session_id:
        arguments += ["--resume", spec.resume_session_id]
        if options.fork_session:
            arguments.append("--fork-session")
    else:
        arguments += ["--session-id", str(uuid.uuid4())]
    for flag, value in (
        ("--model", spec.model),
        ("--max-turns", options.max_turns),
        ("--max-budget-usd", options.max_budget_usd),
        ("--effort", options.effort),
        ("--fallback-model", options.fallback_model),
        ("--tools", ",".join(spec.tools)),
        ("--allowed-tools", ",".join(options.allowed_tools)),
        ("--disallowed-tools", ",".join(options.disallowed_tools)),
    ):
        if value not in {"", None}:
            arguments.append(f"{flag}={value}")
    if options.settings is not None:
        arguments.append(f"--settings={msgspec.json.encode(options.settings).decode()}")
    if options.mcp_servers is not None:
        servers = msgspec.json.encode({"mcpServers": options.mcp_servers}).decode()
        arguments += [f"--mcp-config={servers}", "--strict-mcp-config"]
    return arguments


def _request(request_id: str, request: dict[str, Any]) -> dict[str, Any]:
    return {"type": "control_request", "request_id": request_id, "request": request}


def _logged_in(task: AgentTask) -> bool:
    return (Path(task.environment.get("CLAUDE_CONFIG_DIR", "")) / ".credentials.json").is_file()
