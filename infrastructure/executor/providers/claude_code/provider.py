"""The `claude-code` provider: drives Claude Code over its stream-json control protocol, lines of JSON on stdio."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from application.ports.provider_descriptions import credentials_missing
from domain.event import Event
from domain.run.events import RunAgentFinished
from domain.run.values import RunError, RunOutcome, RunSpec
from infrastructure.executor.providers.claude_code.description import CLI, ClaudeCodeDescription
from infrastructure.executor.providers.claude_code.options import KNOWN_OPTIONS, PERMISSION_MODES, ClaudeOptions
from infrastructure.executor.providers.claude_code.settings import settings_with_address
from infrastructure.executor.providers.claude_code.stream import ClaudeStream
from infrastructure.executor.providers.cli_process import CliProcess, start_cli
from infrastructure.executor.providers.contract import AgentFailed, AgentTask, Provider, ReplyNotDelivered
from infrastructure.executor.providers.event_feed import Emit, events_of
from infrastructure.executor.providers.prompts import prompt_of
from infrastructure.executor.providers.provider_options import options_as
from infrastructure.executor.providers.provider_warnings import unknown_options
from infrastructure.executor.providers.run_folder import RunFolder
from infrastructure.executor.runs.agent_processes import AgentProcesses, PipeClosed

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
_END_S = 20.0
"""How long the CLI may take to exit after its result, once its stdin is closed."""


class ClaudeCodeProvider(ClaudeCodeDescription):
    """Claude Code as a provider."""

    async def start(self, task: AgentTask, processes: AgentProcesses) -> "ClaudeSession":
        if not any(task.environment.get(name) for name in self.credentials) and not _logged_in(task):
            raise AgentFailed("auth_missing", credentials_missing(self.name, self.credentials))
        options = options_as(ClaudeOptions, task.spec)
        environment = {**_ENVIRONMENT, "CLAUDE_CODE_MAX_RETRIES": str(options.max_retries)}
        files = await asyncio.to_thread(RunFolder.made, task.private_folder or task.environment["HOME"])
        try:
            arguments = _arguments(task.spec, options) + await asyncio.to_thread(_file_arguments, task, options, files)
            process = await start_cli(CLI, arguments, task, processes, environment=environment, piped=_PIPED)
        except BaseException:
            await asyncio.to_thread(files.clear)
            raise
        stream = ClaudeStream(self.name, self.credentials, task.human_loop_timeout_ms)
        return ClaudeSession(task, process, stream, files)


class ClaudeSession:
    """A running Claude Code process; one run is one turn of its conversation."""

    def __init__(self, task: AgentTask, process: CliProcess, stream: ClaudeStream, files: RunFolder) -> None:
        self._task = task
        self._files = files
        self._process = process
        self._stream = stream
        self._stopping = False
        self.process_group = process.process_group

    def events(self) -> AsyncIterator[Event]:
        return events_of(self._run)

    async def reply(self, question_id: str, answer: Any) -> None:
        message = self._stream.answer(question_id, answer)
        if message is None:
            return  # sent once the other questions of its set are answered
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
        for warn in unknown_options(self._task.spec, KNOWN_OPTIONS):
            await emit(warn)
        try:
            await self._begin()
            await self._read(emit)
        finally:
            code = await self._process.end()
            await asyncio.to_thread(self._files.clear)
        for event in self._stream.closing_events():
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
            return  # it has exited already; `_finished` reports its exit code and stderr

    async def _read(self, emit: Emit) -> None:
        """Read its output to the end; after the result for 20 s at most."""
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
        outcome: RunOutcome = "failed"
        error = None
        if self._stopping:
            outcome = "canceled"
        elif stream.result is not None and not stream.result.is_error:
            outcome = "succeeded"
        else:
            error = stream.error() or self._refusal() or self._process.crash_error(code, "it worked on the run")
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
    return arguments


def _file_arguments(task: AgentTask, options: ClaudeOptions, files: RunFolder) -> list[str]:
    """The arguments that name files; written here, because what is in them may be secret. Blocks."""
    settings = files.write_json("settings.json", settings_with_address(options.settings, task.environment))
    if options.mcp_servers is None:
        return [f"--settings={settings}"]
    servers = files.write_json("mcp.json", {"mcpServers": options.mcp_servers})
    return [f"--settings={settings}", f"--mcp-config={servers}", "--strict-mcp-config"]


def _request(request_id: str, request: dict[str, Any]) -> dict[str, Any]:
    return {"type": "control_request", "request_id": request_id, "request": request}


def _logged_in(task: AgentTask) -> bool:
    return (Path(task.environment.get("CLAUDE_CONFIG_DIR", "")) / ".credentials.json").is_file()


PROVIDER: Provider = ClaudeCodeProvider()
