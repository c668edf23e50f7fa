"""`opencode serve` as a child of ours: on loopback, on a random port, behind a password that nobody else is told."""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import msgspec

from infrastructure.providers.agent_processes import AgentProcesses
from infrastructure.providers.cli_process import CliProcess, start_cli
from infrastructure.providers.contract import AgentCli, AgentFailed, AgentTask
from infrastructure.providers.line_framing import LineFraming
from infrastructure.providers.redaction import Redactor

CLI = AgentCli(program="opencode", label="opencode", package="opencode-ai")
_LISTENING = re.compile(rb"listening on (http://127\.0\.0\.1:\d+)")
_START_S = 60.0
_CALL_S = 30.0
_SILENCE_S = 60.0
"""Its event stream has a heartbeat every 10 s."""
_EXIT_S = 2.0
_SAID_CHARS = 1000


class OpencodeGone(Exception):
    """Its process has ended."""


class EventsBroken(Exception):
    """Its event stream ended, or fell silent, while it runs."""


class OpencodeRefused(Exception):
    """It refused a request: `name` is its error's, `status` the HTTP status."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status, self.name = status, name


class OpencodeServer:
    """Started by `start_server`; `ready` first, `end` in any case. Secrets are taken out of all that it answers."""

    def __init__(self, process: CliProcess, password: str, redactor: Redactor) -> None:
        import httpx  # by the first run that needs it: every executor would wait for it at its start

        self.process = process
        self._redactor = redactor
        self._auth = httpx.BasicAuth("opencode", password)
        self._http: httpx.AsyncClient | None = None
        self._output: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Wait until it listens. Raises OpencodeGone, AgentFailed."""
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
        raise OpencodeGone

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of its answer; None when it is empty. Raises OpencodeRefused, httpx.HTTPError."""
        assert self._http is not None
        answer = await self._http.request(method, path, json=body)
        content = self._redactor.json(answer.content)
        if answer.is_success:
            return msgspec.json.decode(content) if content else None
        raise _refused(answer.status_code, content)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The JSON of each of its events from now on; `server.connected` is the first. Raises OpencodeGone,
        EventsBroken, OpencodeRefused."""
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
        raise EventsBroken if self.process.running else OpencodeGone

    async def end(self) -> int:
        """Its exit code, once nothing of it is left."""
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
    """Start it in the task's folder with just this environment. Raises AgentFailed."""
    redactor = task.redactor.also(password)
    alone = msgspec.structs.replace(task, environment=environment, redactor=redactor)
    arguments = ["serve", "--pure", "--hostname=127.0.0.1", f"--port={_free_port()}"]
    return OpencodeServer(await start_cli(CLI, arguments, alone, processes), password, redactor)


def _free_port() -> int:
    """A random one: left to itself, opencode would take 4096 when that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _refused(status: int, said: bytes) -> OpencodeRefused:
    name, message = "", said.decode("utf-8", "replace")[:_SAID_CHARS]
    try:
        told = msgspec.json.decode(said)
        name = str(told.get("name", ""))
        data = told.get("data") or told
        message = str(data.get("message") or msgspec.json.encode(data).decode())[:_SAID_CHARS]
    except (msgspec.DecodeError, AttributeError):
        pass  # not its own words
    return OpencodeRefused(status, name, message)


async def _read_on(lines: AsyncIterator[Any]) -> None:
    """What it prints besides; a full pipe would block it."""
    async for _ in lines:
        pass
