"""The `opencode` provider: drives opencode over the HTTP API of `opencode serve` and its stream of events."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from domain.event import Event
from domain.run.events import RunAgentFinished
from domain.run.values import RunOutcome
from infrastructure.executor.providers.contract import AgentFailed, AgentTask, Provider, ReplyNotDelivered
from infrastructure.executor.providers.event_feed import Emit, events_of
from infrastructure.executor.providers.opencode.description import NAME, OpencodeDescription
from infrastructure.executor.providers.opencode.errors import refusal
from infrastructure.executor.providers.opencode.events import OpencodeEvents
from infrastructure.executor.providers.opencode.missed_events import missed_events
from infrastructure.executor.providers.opencode.options import KNOWN_OPTIONS, PROFILES, OpencodeOptions
from infrastructure.executor.providers.opencode.server import (
    EventStreamBroken,
    OpencodeExited,
    OpencodeRefused,
    OpencodeServer,
    start_server,
)
from infrastructure.executor.providers.opencode.setup import Setup, set_up
from infrastructure.executor.providers.prompts import prompt_of
from infrastructure.executor.providers.provider_options import options_as
from infrastructure.executor.providers.provider_warnings import unknown_options
from infrastructure.executor.runs.agent_processes import AgentProcesses
from infrastructure.redaction import RedactedEvents, Redactor

_TITLE_CHARS = 60
_CONNECTIONS = 5
_ABORT_S = 3.0
"""How long opencode may take to record an abort."""


class OpencodeProvider(OpencodeDescription):
    """opencode as a provider."""

    async def start(self, task: AgentTask, processes: AgentProcesses) -> "OpencodeSession":
        options = options_as(OpencodeOptions, task.spec)
        password = secrets.token_urlsafe(32)
        setup = await asyncio.to_thread(set_up, task, options, password)
        try:
            server = await start_server(task, processes, password, setup.environment)
        except BaseException:
            await asyncio.to_thread(setup.clear)
            raise
        return OpencodeSession(task, options, setup, server, password)


class OpencodeSession:
    """A running opencode server; one run is one turn of the conversation."""

    def __init__(
        self, task: AgentTask, options: OpencodeOptions, setup: Setup, server: OpencodeServer, password: str
    ) -> None:
        self._task, self._options, self._setup, self._server = task, options, setup, server
        self._redactor = Redactor([password])
        self._credentials = (setup.chosen.api.credential,)
        self._stream = OpencodeEvents(NAME, self._credentials, task.human_loop_timeout_ms, options.max_retries)
        self._prompted_at_ms = 0.0
        self._aborting = False
        self.process_group = server.process.process_group

    async def events(self) -> AsyncIterator[Event]:
        # The server's password is in the environment of the agent's tools, so it may appear in their output.
        redacted = RedactedEvents(self._redactor)
        async for emitted in events_of(self._run):
            for event in redacted.take(emitted):
                yield event

    async def reply(self, question_id: str, answer: Any) -> None:
        reply = self._stream.questions.answer(question_id, answer)
        if reply is None:
            return  # sent once the other questions of its set are answered
        import httpx

        try:
            await self._server.call("POST", reply.path, reply.body)
        except (OpencodeRefused, httpx.HTTPError) as error:
            raise ReplyNotDelivered(f"opencode did not take it: {error}") from error

    async def stop(self) -> None:
        self._stream.stopping = True
        begun = bool(self._stream.session_id)
        await self._server.process.stop(self._abort if begun else None)

    async def _abort(self) -> None:
        self._aborting = True
        await self._server.call("POST", f"/session/{self._stream.session_id}/abort")

    async def _run(self, emit: Emit) -> RunAgentFinished:
        for warn in unknown_options(self._task.spec, KNOWN_OPTIONS):
            await emit(warn)
        try:
            await self._converse(emit)
        except OpencodeExited:
            pass  # `_finished` reports its exit code and stderr
        except OpencodeRefused as error:
            self._stream.error = refusal(NAME, self._credentials, error)
        finally:
            code = await self._server.end()
            await asyncio.to_thread(self._setup.clear)
        for event in self._stream.closing_events():
            await emit(event)
        return self._finished(code)

    async def _converse(self, emit: Emit) -> None:
        """From the server's start to the end of the turn; reconnects to the event stream up to 5 times. Raises
        OpencodeExited, OpencodeRefused, AgentFailed."""
        import httpx

        await self._server.ready()
        for _ in range(_CONNECTIONS):
            try:
                if await self._follow(emit):
                    return
            except EventStreamBroken:
                continue
            except httpx.HTTPError as error:
                await self._server.process.wait(1.0)
                if not self._server.process.running:
                    raise OpencodeExited from error
        raise AgentFailed("cli_crashed", "opencode runs, but does not answer any more; start the run again")

    async def _follow(self, emit: Emit) -> bool:
        """Take events until the turn is over. Returns whether it is; else the stream has ended."""
        connected = False
        try:
            async with asyncio.timeout(None) as limit, contextlib.aclosing(self._server.events()) as events:
                async for said in events:
                    if not connected:
                        connected = True
                        await self._connected(emit)
                    for event in self._stream.events_of(said):
                        await emit(event)
                    if self._stream.fatal_error is not None and not self._aborting:
                        await self._abort()
                    if self._aborting and limit.when() is None:
                        limit.reschedule(asyncio.get_running_loop().time() + _ABORT_S)
                    if self._stream.turn_over and (self._stream.abort_recorded or not self._aborting):
                        return True
        except TimeoutError:
            return True
        return False

    async def _connected(self, emit: Emit) -> None:
        if not self._prompted_at_ms:
            await self._begin()
            return
        for event in await missed_events(self._server.call, self._stream.session_id, self._prompted_at_ms):
            for each in self._stream.events_of(msgspec.json.encode(event)):
                await emit(each)
        self._stream.mark_gaps()

    async def _begin(self) -> None:
        spec, chosen = self._task.spec, self._setup.chosen
        prompt = prompt_of(spec)
        session_id = spec.resume_session_id
        if session_id:
            await self._resume(session_id)
        else:
            # With a title given, opencode does not ask the model for one.
            title = " ".join(prompt.text.split())[:_TITLE_CHARS]
            session_id = (await self._server.call("POST", "/session", {"title": title}))["id"]
        self._stream.session_id = session_id
        body: dict[str, Any] = {
            "agent": self._options.agent or PROFILES.get(spec.execution_profile, PROFILES["default"]).agent,
            "parts": [{"type": "text", "text": prompt.text}],
        }
        if chosen.model:
            body["model"] = {"providerID": chosen.api.name, "modelID": chosen.model}
        if prompt.system:
            body["system"] = prompt.system
        if self._options.variant:
            body["variant"] = self._options.variant
        self._prompted_at_ms = time.time() * 1000
        await self._server.call("POST", f"/session/{session_id}/prompt_async", body)

    async def _resume(self, session_id: str) -> None:
        known = await self._server.call("GET", f"/session/{session_id}")
        here = self._setup.workspace
        if known["directory"] != here:
            # After a restore to another folder the conversation would go on in the folder where it began.
            move = {"sessionID": session_id, "destination": {"directory": here}, "moveChanges": False}
            await self._server.call("POST", "/experimental/control-plane/move-session", move)

    def _finished(self, code: int) -> RunAgentFinished:
        said = self._stream
        outcome: RunOutcome = "failed"
        error = None
        if said.stopping:
            outcome = "canceled"
        else:
            error = said.fatal_error or said.error
            if error is None and said.turn_over:
                outcome = "succeeded"
            elif error is None:
                error = self._server.process.crash_error(code, "it worked on the run")
        return RunAgentFinished(
            outcome=outcome,
            error=error,
            usage=said.usage(),
            provider_session_id=said.session_id,
            exit_code=None if said.turn_over else code,
        )


PROVIDER: Provider = OpencodeProvider()
