"""The `codex-cli` provider: drives `codex app-server` over JSON-RPC on stdio, one message a line, no `jsonrpc`
field."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from application.ports.provider_descriptions import credentials_missing
from domain.event import Event
from domain.run.events import RunAgentFinished
from domain.run.values import RunOutcome
from infrastructure.executor.providers.cli_process import CliProcess, start_cli
from infrastructure.executor.providers.codex.description import CLI, CodexDescription
from infrastructure.executor.providers.codex.options import KNOWN_OPTIONS, options_of
from infrastructure.executor.providers.codex.requests import arguments, thread_config, thread_request, turn_request
from infrastructure.executor.providers.codex.stream import CodexStream
from infrastructure.executor.providers.contract import AgentFailed, AgentTask, Provider, ReplyNotDelivered
from infrastructure.executor.providers.event_feed import Emit, events_of
from infrastructure.executor.providers.provider_warnings import unknown_options, warning
from infrastructure.executor.runs.agent_processes import AgentProcesses, PipeClosed

BASE_URL = "https://api.openai.com/v1"
_CLIENT = {"name": "fleetlog", "title": "Fleetlog", "version": "1"}
_BEGIN_S = 60.0
"""How long the CLI may take to begin the turn; it may have to read a long conversation."""
_END_S = 20.0
"""How long the CLI may take to exit after its turn, once its stdin is closed."""


class CodexProvider(CodexDescription):
    """Codex as a provider."""

    async def start(self, task: AgentTask, processes: AgentProcesses) -> "CodexSession":
        environment = task.environment
        key = next((environment[name] for name in self.credentials if environment.get(name)), "")
        if not key:
            raise AgentFailed("auth_missing", credentials_missing(self.name, self.credentials))
        options = options_of(task.spec)
        config = thread_config(options, environment.get("OPENAI_BASE_URL") or BASE_URL, key)
        not_passed_on = {"OPENAI_BASE_URL", *self.credentials}
        bare = {name: value for name, value in environment.items() if name not in not_passed_on}
        task = msgspec.structs.replace(task, environment={**bare, **_private_state(task)})
        process = await start_cli(CLI, arguments(), task, processes)
        stream = CodexStream(self.name, self.credentials, task.human_loop_timeout_ms, options.max_retries)
        return CodexSession(task, process, stream, config)


class CodexSession:
    """A running Codex process; one run is one turn of a thread."""

    def __init__(self, task: AgentTask, process: CliProcess, stream: CodexStream, config: dict[str, Any]) -> None:
        self._task = task
        self._process = process
        self._stream = stream
        self._config = config
        self._sending = asyncio.Lock()
        self._stopping = False
        self.process_group = process.process_group

    def events(self) -> AsyncIterator[Event]:
        return events_of(self._run)

    async def reply(self, question_id: str, answer: Any) -> None:
        messages = self._stream.questions.answer(question_id, answer)
        try:
            for message in messages:
                await self._send(message)
        except PipeClosed as error:
            raise ReplyNotDelivered(str(error)) from error

    async def stop(self) -> None:
        self._stopping = True
        await self._process.stop(self._interrupt)

    async def _interrupt(self) -> None:
        if self._stream.turn_id and self._stream.turn is None:
            await self._send_if_running(self._stream.interrupt())  # stdin is closed when the turn has ended
        else:
            self._process.close_stdin()

    async def _run(self, emit: Emit) -> RunAgentFinished:
        for warn in unknown_options(self._task.spec, KNOWN_OPTIONS):
            await emit(warn)
        if self._task.spec.tools:
            await emit(warning("tools_unsupported", "Codex has no list of allowed tools; `tools` is left out"))
        try:
            await self._converse(emit)
        finally:
            code = await self._process.end()
        for event in self._stream.closing_events():
            await emit(event)
        return self._finished(code)

    async def _converse(self, emit: Emit) -> None:
        """Read its output to the end. Bounded until the turn has begun (60 s) and after it has ended (20 s). Raises
        AgentFailed."""
        loop = asyncio.get_running_loop()
        lines = self._process.lines()
        try:
            async with asyncio.timeout(_BEGIN_S) as limit:
                await self._ask("initialize", {"clientInfo": _CLIENT, "capabilities": {"experimentalApi": True}})
                async for line in lines:
                    for event in self._stream.events_of(line):
                        await emit(event)
                    if await self._next_step():
                        limit.reschedule(None)
                    if self._stream.turn is not None and limit.when() is None:
                        self._process.close_stdin()
                        limit.reschedule(loop.time() + _END_S)
                    while self._stream.outbox:
                        await self._send_if_running(self._stream.outbox.pop(0))
        except TimeoutError:
            if not self._stream.turn_id:
                raise AgentFailed("protocol", self._silent()) from None

    async def _next_step(self) -> bool:
        """Send the next request once the last one was answered: initialize, thread, turn. Returns whether the turn has
        begun now. Raises AgentFailed when Codex refused."""
        responses = self._stream.responses
        begun = False
        if responses:
            if "initialize" in responses:
                self._accepted("initialize")
                await self._send_if_running({"method": "initialized"})
                await self._ask(*thread_request(self._task.spec, self._task.folder, self._config))
            for method in ("thread/start", "thread/resume", "thread/fork"):
                if method in responses:
                    found = self._accepted(method)
                    self._stream.thread_id = found["thread"]["id"]
                    await self._ask("turn/start", turn_request(self._task.spec, found["thread"]["id"], found["model"]))
            if "turn/start" in responses:
                self._stream.turn_id = self._accepted("turn/start")["turn"]["id"]
                begun = True
                if self._stopping:
                    await self._send_if_running(self._stream.interrupt())
            responses.clear()
        return begun

    def _accepted(self, method: str) -> dict[str, Any]:
        response = self._stream.responses[method]
        if "error" not in response:
            result: dict[str, Any] = response["result"]
            return result
        said = str(response["error"].get("message"))
        if "no rollout found" in said:
            message = f"{said}: start the run without resumeSessionId, or in the session in which it was made"
            raise AgentFailed("bad_input", message)
        raise AgentFailed("protocol", f"Codex refused {method}: {said} (check the run's providerOptions)")

    def _finished(self, code: int) -> RunAgentFinished:
        stream = self._stream
        outcome: RunOutcome = "failed"
        error = None
        if self._stopping:
            outcome = "canceled"
        elif stream.turn is not None and stream.turn.status == "completed":
            outcome = "succeeded"
        else:
            error = stream.error() or self._process.crash_error(code, "it worked on the run")
        return RunAgentFinished(
            outcome=outcome, error=error, usage=stream.usage(), provider_session_id=stream.thread_id, exit_code=code
        )

    def _silent(self) -> str:
        tail = f"; the end of its error output: {self._process.stderr_tail}" if self._process.stderr_tail else ""
        return (
            f"codex app-server did not begin within {_BEGIN_S:.0f} s{tail}. Check its version, and start the run again"
        )

    async def _ask(self, method: str, params: dict[str, Any]) -> None:
        # The method is the request's id: Codex numbers its own requests, so ids can't collide.
        await self._send_if_running({"id": method, "method": method, "params": params})

    async def _send_if_running(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(PipeClosed):  # it has exited; `_finished` reports why
            await self._send(message)

    async def _send(self, message: dict[str, Any]) -> None:
        async with self._sending:
            await self._process.send(message)


def _private_state(task: AgentTask) -> dict[str, str]:
    """Variables that put Codex's SQLite indexes into the agents' home, so that they are not synced. Codex rebuilds them
    from its conversations when they are missing. Blocks for making folders."""
    home = Path(task.private_folder or task.environment["HOME"])
    state = home / "codex-state"
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = {"CODEX_SQLITE_HOME": str(state)}
    if Path(task.environment["CODEX_HOME"]).is_relative_to("/tmp"):  # noqa: S108  Codex refuses a home below TMPDIR
        temporary = home / "tmp"
        temporary.mkdir(exist_ok=True, mode=0o700)
        found["TMPDIR"] = str(temporary)
    return found


PROVIDER: Provider = CodexProvider()
