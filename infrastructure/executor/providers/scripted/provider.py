"""The `scripted` provider: runs a shell script in the workspace; no model needed.

Options: `script` (default: the last user message), `interactive` (the script may ask questions; an answer arrives as a
line on its stdin, a string as it is, anything else as JSON). Exit code 0 is success. The run ends with the script; its
background processes are ended then.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from domain.event import Event
from domain.run.events import HumanLoopRequested, MessageDelta, MessageStopped, RunAgentFinished
from domain.run.values import RunError, RunSpec, Usage
from infrastructure.executor.providers.contract import AgentTask, Provider, ReplyNotDelivered
from infrastructure.executor.providers.event_feed import Emit, events_of
from infrastructure.executor.providers.line_framing import Line
from infrastructure.executor.providers.provider_warnings import unknown_options, warning
from infrastructure.executor.providers.scripted.description import ScriptedDescription
from infrastructure.executor.providers.scripted.lines import OutputSplitter, Text, event_of
from infrastructure.executor.providers.scripted.options import KNOWN_OPTIONS, options_of, script_of
from infrastructure.executor.runs.agent_processes import AgentProcess, AgentProcesses, PipeClosed
from infrastructure.redaction import StreamRedactor

MAX_TEXT_BYTES = 64 * 1024 * 1024
MAX_CONVERSATION_BYTES = 100 * 1024
"""Below Linux' limit of 128 KiB for one environment variable."""
_READ_BYTES = 64 * 1024
_DRAIN_S = 0.3
_STDERR_TAIL = 2000


class ScriptedProvider(ScriptedDescription):
    """Runs shell scripts."""

    async def start(self, task: AgentTask, processes: AgentProcesses) -> "ScriptSession":
        """Start the shell. Raises OSError when that fails."""
        options = options_of(task.spec)
        script = script_of(task.spec)
        # The script is passed as a memfd: no limit on its length, and nothing to clean up.
        fd = os.memfd_create("script", os.MFD_CLOEXEC)
        try:
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(script.encode())
            shell = shutil.which("bash", path=task.environment["PATH"]) or "/bin/sh"
            process = await processes.start(
                [shell, f"/proc/self/fd/{fd}"],
                folder=task.folder,
                environment={**task.environment, **_conversation(task.spec)},
                with_stdin=options.interactive,
                pass_fds=(fd,),
            )
        finally:
            os.close(fd)
        return ScriptSession(task, process, processes, interactive=options.interactive)


class ScriptSession:
    """A running script."""

    def __init__(self, task: AgentTask, process: AgentProcess, processes: AgentProcesses, *, interactive: bool) -> None:
        self._task = task
        self._process = process
        self._processes = processes
        self._interactive = interactive
        self._stopping = False
        self._text_since_stop = False
        self._text_left = MAX_TEXT_BYTES
        self._clean_stderr = StreamRedactor(task.redactor)
        self._stderr_tail = ""
        self._usage = Usage()
        self.process_group = (process.pid, process.started)

    def events(self) -> AsyncIterator[Event]:
        return events_of(self._run)

    async def reply(self, question_id: str, answer: Any) -> None:  # noqa: ARG002  a script reads answers in order
        line = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
        try:
            await self._process.write(line.replace("\r", " ").replace("\n", " ").encode() + b"\n")
        except PipeClosed as error:
            raise ReplyNotDelivered(str(error)) from error

    async def stop(self) -> None:
        self._stopping = True
        await self._processes.end_all()

    async def _run(self, emit: Emit) -> RunAgentFinished:
        for warn in unknown_options(self._task.spec, KNOWN_OPTIONS):
            await emit(warn)
        try:
            code = await self._run_to_end(emit)
        finally:
            self._processes.forget(self._process)
        if self._text_since_stop:
            await emit(MessageStopped())
        return self._finished(code)

    async def _run_to_end(self, emit: Emit) -> int:
        readers = [
            asyncio.create_task(self._read_stdout(self._process.stdout, emit)),
            asyncio.create_task(self._read_stderr(self._process.stderr, emit)),
        ]
        try:
            code = await asyncio.shield(self._process.exited)
            # Its last output may still be in the pipes; background processes could hold them open for ever.
            _, reading = await asyncio.wait(readers, timeout=_DRAIN_S)
            await self._processes.end_all(_DRAIN_S if reading else 0)
            await asyncio.gather(*readers)
        finally:
            for reader in readers:
                reader.cancel()
        return code

    async def _read_stdout(self, stream: asyncio.StreamReader, emit: Emit) -> None:
        splitter = OutputSplitter()
        while chunk := await stream.read(_READ_BYTES):
            for part in splitter.feed(chunk):
                await self._emit(part, emit)
        for part in splitter.finish():
            await self._emit(part, emit)

    async def _read_stderr(self, stream: asyncio.StreamReader, emit: Emit) -> None:
        splitter = OutputSplitter()
        while chunk := await stream.read(_READ_BYTES):
            # On stderr `::fleetlog` lines are ordinary text.
            for part in splitter.feed(chunk):
                await self._emit_stderr(part, emit)
        for part in splitter.finish():
            await self._emit_stderr(part, emit)

    async def _emit(self, part: Text | Line, emit: Emit) -> None:
        if isinstance(part, Text):
            await self._put_text(part.text, "stdout", emit)
            return
        event = event_of(msgspec.structs.replace(part, content=self._task.redactor.json(part.content)))
        if isinstance(event, Usage):
            self._usage = self._usage + event
            return
        if isinstance(event, HumanLoopRequested):
            if not self._interactive:
                event = warning(
                    "not_interactive",
                    f"the script asked {event.question_id!r}, but the run is not interactive "
                    "(providerOptions.interactive)",
                )
            elif event.timeout_ms is None:
                event = msgspec.structs.replace(event, timeout_ms=self._task.human_loop_timeout_ms)
        if isinstance(event, MessageStopped):
            self._text_since_stop = False
        await emit(event)

    async def _emit_stderr(self, part: Text | Line, emit: Emit) -> None:
        text = part.text if isinstance(part, Text) else "::fleetlog " + part.content.decode("utf-8", "replace") + "\n"
        self._stderr_tail = (self._stderr_tail + self._clean_stderr.feed(text))[-_STDERR_TAIL:]
        await self._put_text(text, "stderr", emit)

    async def _put_text(self, text: str, channel: str, emit: Emit) -> None:
        if self._text_left <= 0:
            return
        self._text_left -= len(text)
        self._text_since_stop = True
        await emit(MessageDelta(text=text, channel="stderr" if channel == "stderr" else "stdout"))
        if self._text_left <= 0:
            await emit(
                warning("output_cut", f"the script wrote more than {MAX_TEXT_BYTES >> 20} MiB; the rest is left out")
            )

    def _finished(self, code: int) -> RunAgentFinished:
        if self._stopping:
            return RunAgentFinished(outcome="canceled", usage=self._usage, exit_code=code)
        if code == 0:
            return RunAgentFinished(outcome="succeeded", usage=self._usage, exit_code=0)
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        tail = (self._stderr_tail + self._clean_stderr.flush()).strip()
        message = f"the script ended with {how}" + (f": {tail}" if tail else "")
        return RunAgentFinished(
            outcome="failed",
            error=RunError(error_class="script_failed", message=message),
            usage=self._usage,
            exit_code=code,
        )


def _conversation(spec: RunSpec) -> dict[str, str]:
    """The variable FLEETLOG_CONVERSATION: the messages without the script, of a long conversation the end; {} if
    none."""
    last_said = max((n for n, message in enumerate(spec.messages) if message.role == "user"), default=-1)
    script = last_said if options_of(spec).script is None else -1
    transcript = "\n\n".join(f"{each.role}: {each.content}" for n, each in enumerate(spec.messages) if n != script)
    if not transcript:
        return {}
    shown = transcript.replace("\0", "").encode()[-MAX_CONVERSATION_BYTES:].decode(errors="ignore")
    return {"FLEETLOG_CONVERSATION": shown}


PROVIDER: Provider = ScriptedProvider()
