"""Runs `opencode serve` on loopback, on a random port, with a password made for the run, and calls it."""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import msgspec

from infrastructure.executor.providers.cli_process import CliProcess, start_cli
from infrastructure.executor.providers.contract import AgentFailed, AgentTask
from infrastructure.executor.providers.line_framing import LineFraming
from infrastructure.executor.providers.opencode.description import CLI
from infrastructure.executor.runs.agent_processes import AgentProcesses
from infrastructure.redaction import Redactor

_LISTENING = re.compile(rb"listening on (http://127\.0\.0\.1:\d+)")
_START_S = 60.0
_CALL_S = 30.0
_SILENCE_S = 60.0
"""Without data for so long the event stream counts as broken; it has a heartbeat every 10 s."""
_EXIT_S = 2.0
_SAID_CHARS = 1000


class OpencodeExited(Exception):
    """The process has exited."""


class EventStreamBroken(Exception):
    """The event stream ended, or fell silent, but the process runs."""


class OpencodeRefused(Exception):
    """It refused a request: `name` is the name of opencode's error, `status` the HTTP status."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status, self.name = status, name


class OpencodeServer:
    """Made by `start_server`; await `ready` first, and `end` in any case. Secrets in its responses are replaced."""

    def __init__(self, process: CliProcess, password: str, redactor: Redactor) -> None:
        import httpx  # imported by the first run that needs it, because it would slow down the start of every executor

        self.process = process
        self._redactor = redactor
        self._auth = httpx.BasicAuth("opencode", password)
        self._http: httpx.AsyncClient | None = None
        self._output: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Wait until it listens. Raises OpencodeExited, AgentFailed."""
        import httpx

        lines = self.process.lines()
        try:
            async with asyncio.timeout(_START_S):
                async for line in lines:
                    found = _LISTENING.search(line.content)
                    if found:
                        url = found.group(1).decode()
                        self._http = httpx.AsyncClient(base_url=url, auth=self._auth, timeout=_CALL_S, trust_env=False)
                        self._output = asyncio.create_task(_read_on(lines))
                        return
        except TimeoutError as error:
            message = f"opencode did not listen within {_START_S:.0f} s: is the worker overloaded?"
            raise AgentFailed("cli_crashed", message) from error
        raise OpencodeExited

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The decoded JSON of the response; None if empty. Raises OpencodeRefused, httpx.HTTPError."""
        assert self._http is not None
        answer = await self._http.request(method, path, json=body)
        content = self._redactor.json(answer.content)
        if not answer.is_success:
            raise _refused(answer.status_code, content)
        try:
            return msgspec.json.decode(content) if content else None
        except RecursionError as error:
            raise OpencodeRefused(answer.status_code, "", "its answer is nested too deeply") from error

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The JSON of each of its events from now on; `server.connected` is the first. Raises OpencodeExited,
        EventStreamBroken, OpencodeRefused."""
        import httpx

        assert self._http is not None
        framing = LineFraming()
        timeout = httpx.Timeout(_CALL_S, read=_SILENCE_S)
        try:
            async with self._http.stream("GET", "/event", timeout=timeout) as answer:
                if not answer.is_success:
                    raise _refused(answer.status_code, self._redactor.json(await answer.aread()))
                async for chunk in answer.aiter_bytes():
                    for line in framing.feed(chunk):
                        if line.content.startswith(b"data:"):
                            yield self._redactor.json(line.content[5:].strip())
        except httpx.HTTPError:
            pass
        await self.process.wait(_EXIT_S)
        raise EventStreamBroken if self.process.running else OpencodeExited

    async def end(self) -> int:
        """End the process and what it started; returns its exit code."""
        try:
            return await self.process.end()
        finally:
            if self._output is not None:
                self._output.cancel()
            if self._http is not None:
                await self._http.aclose()


async def start_server(
    task: AgentTask, processes: AgentProcesses, password: str, environment: Mapping[str, str]
) -> OpencodeServer:
    """Start the server in the task's folder with exactly this environment. Raises AgentFailed."""
    redactor = task.redactor.with_secret(password)
    alone = msgspec.structs.replace(task, environment=environment, redactor=redactor)
    arguments = ["serve", "--pure", "--hostname=127.0.0.1", f"--port={_free_port()}"]
    return OpencodeServer(await start_cli(CLI, arguments, alone, processes), password, redactor)


def _free_port() -> int:
    """A random free port: opencode by itself would take 4096 if free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _refused(status: int, said: bytes) -> OpencodeRefused:
    name, message = "", said.decode("utf-8", "replace")[:_SAID_CHARS]
    try:
        error = msgspec.json.decode(said)
        name = str(error.get("name", ""))
        data = error.get("data") or error
        message = str(data.get("message") or msgspec.json.encode(data).decode())[:_SAID_CHARS]
    except (msgspec.DecodeError, AttributeError, RecursionError):
        pass  # not an error object of opencode's
    return OpencodeRefused(status, name, message)


async def _read_on(lines: AsyncIterator[Any]) -> None:
    """Read and drop further output; a full pipe would block the process."""
    async for _ in lines:
        pass
