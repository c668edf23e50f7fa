"""Runs an agent's CLI: starts it, reads its output line by line without secrets, ends it with all that it started."""

import asyncio
import codecs
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from application.ports.provider_descriptions import AgentCli, program_missing
from domain.run.values import RunError
from infrastructure.executor.providers.contract import AgentFailed, AgentTask
from infrastructure.executor.providers.line_framing import Line, LineFraming
from infrastructure.executor.runs.agent_processes import TERM_GRACE_S, AgentProcess, AgentProcesses
from infrastructure.redaction import Redactor, StreamRedactor

_READ_BYTES = 64 * 1024
_STDERR_CHARS = 2000
_DRAIN_S = 0.5
STOP_GRACE_S = 5.0
"""How long a CLI may take to stop by itself, before SIGTERM and then SIGKILL."""


class CliProcess:
    """Read `lines` to their end, then call `end`. Stderr is read in the background; its last 2000 characters are kept.
    Secrets in both are replaced as they are read."""

    def __init__(self, cli: AgentCli, process: AgentProcess, processes: AgentProcesses, redactor: Redactor) -> None:
        self._cli = cli
        self._process = process
        self._processes = processes
        self._redactor = redactor
        self._stderr = ""
        self._stderr_reader = asyncio.create_task(self._read_stderr())
        self.process_group = (process.pid, process.started)

    @property
    def stderr_tail(self) -> str:
        """The last 2000 characters of its stderr."""
        return self._stderr.strip()

    @property
    def running(self) -> bool:
        return not self._process.exited.done()

    async def send(self, message: Any) -> None:
        """Write `message` as a line of JSON to its stdin. Raises PipeClosed."""
        await self._process.write(msgspec.json.encode(message) + b"\n")

    async def lines(self) -> AsyncIterator[Line]:
        """The lines of its stdout, until the process has ended and its output is read, even if a child that it left
        behind holds the pipe open."""
        framing = LineFraming()
        exited = self._process.exited
        while True:
            reading = asyncio.ensure_future(self._process.stdout.read(_READ_BYTES))
            try:
                waited: set[asyncio.Future[Any]] = {reading, exited}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    await asyncio.wait({reading}, timeout=_DRAIN_S)
                chunk = reading.result() if reading.done() else b""
            finally:
                reading.cancel()
            if not chunk:
                break
            for line in framing.feed(chunk):
                yield self._clean(line)
        for line in framing.finish():
            yield self._clean(line)

    async def stop(self, ask: Callable[[], Awaitable[None]] | None, grace_s: float = STOP_GRACE_S) -> None:
        """Await `ask`, which sends the CLI its own request to stop, and wait `grace_s` for its end; then SIGTERM and
        SIGKILL for it and for all that it started."""
        if ask is not None and self.running:
            with contextlib.suppress(Exception):  # whatever fails: its processes are ended below
                async with asyncio.timeout(grace_s):
                    await ask()
                    await asyncio.shield(self._process.exited)
        await self._processes.end_all()

    def close_stdin(self) -> None:
        """Close its stdin: it reads end-of-file."""
        self._process.close_stdin()

    async def wait(self, timeout_s: float) -> None:
        """Wait until it has ended, `timeout_s` at most."""
        await asyncio.wait({self._process.exited}, timeout=timeout_s)

    async def end(self, grace_s: float = 0.0) -> int:
        """Close its stdin, give it `grace_s` to end by itself, end what is left of it and of what it started. Returns
        its exit code (negative: the number of the signal)."""
        self._process.close_stdin()
        if grace_s > 0 and self.running:
            await asyncio.wait({self._process.exited}, timeout=grace_s)
        await self._processes.end_all(TERM_GRACE_S if self.running else 0)
        code = await asyncio.shield(self._process.exited)
        await asyncio.wait({self._stderr_reader}, timeout=_DRAIN_S)
        self._stderr_reader.cancel()
        self._processes.forget(self._process)
        return code

    def crash_error(self, code: int, doing: str) -> RunError:
        """The error of a CLI that ended unexpectedly while `doing` something."""
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        tail = f"; the end of its error output: {self.stderr_tail}" if self.stderr_tail else ""
        return RunError(
            error_class="cli_crashed",
            message=f"{self._cli.program} ended with {how} while {doing}{tail}. Start the run again; its conversation "
            "goes on with resumeSessionId where the provider session is known",
        )

    async def _read_stderr(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        clean = StreamRedactor(self._redactor)
        while chunk := await self._process.stderr.read(_READ_BYTES):
            self._keep(clean.feed(decoder.decode(chunk)))
        self._keep(clean.feed(decoder.decode(b"", final=True)) + clean.flush())

    def _keep(self, text: str) -> None:
        self._stderr = (self._stderr + text)[-_STDERR_CHARS:]

    def _clean(self, line: Line) -> Line:
        return Line(content=self._redactor.json(line.content), cut=line.cut, original=line.content)


async def start_cli(
    cli: AgentCli,
    arguments: Sequence[str],
    task: AgentTask,
    processes: AgentProcesses,
    *,
    environment: Mapping[str, str] | None = None,
    piped: Mapping[str, str] | None = None,
) -> CliProcess:
    """Start the program in the task's folder, with the task's environment and `environment`. `piped` maps a variable
    with a secret to another variable: the secret is removed from the environment and written into a pipe, and the other
    variable holds the descriptor's number; so the agent's tools don't see the secret. Raises AgentFailed (cli_missing,
    cli_crashed)."""
    everything = {**task.environment, **(environment or {})}
    program = shutil.which(cli.program, path=everything["PATH"])
    if program is None:
        raise AgentFailed("cli_missing", program_missing(cli))
    descriptors: list[int] = []
    try:
        for variable, instead in (piped or {}).items():
            if secret := everything.pop(variable, ""):
                descriptors.append(_pipe_with(secret.encode()))
                everything[instead] = str(descriptors[-1])
        process = await processes.start(
            [program, *arguments],
            folder=task.folder,
            environment=everything,
            with_stdin=True,
            pass_fds=tuple(descriptors),
        )
    except OSError as error:
        raise AgentFailed("cli_crashed", f"{program} can't be started: {error.strerror or error}") from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return CliProcess(cli, process, processes, task.redactor)


def _pipe_with(content: bytes) -> int:
    """The read end of a pipe that holds `content` (up to 64 KiB, a pipe's buffer) and then end-of-file."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        os.set_blocking(writing, False)
        os.write(writing, content)
    finally:
        os.close(writing)
    return reading
