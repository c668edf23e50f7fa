"""The `opencode` provider: drives opencode over the HTTP API of `opencode serve` and its stream of events."""

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from domain.errors import InvalidInput
from domain.event import Event
from domain.run.capabilities import Capabilities
from domain.run.events import RunAgentFinished
from domain.run.values import Outcome, RunSpec
from infrastructure.providers.agent_processes import AgentProcesses
from infrastructure.providers.contract import AgentCli, AgentFailed, AgentTask, ReplyNotDelivered
from infrastructure.providers.event_feed import Emit, events_of
from infrastructure.providers.opencode_errors import refusal
from infrastructure.providers.opencode_events import OpencodeEvents
from infrastructure.providers.opencode_server import (
    CLI,
    EventsBroken,
    OpencodeGone,
    OpencodeRefused,
    OpencodeServer,
    start_server,
)
from infrastructure.providers.opencode_setup import (
    CREDENTIALS,
    MODEL_APIS,
    PROFILES,
    PROVIDER,
    OpencodeOptions,
    Setup,
    set_up,
)
from infrastructure.providers.prompts import prompt_of
from infrastructure.providers.provider_options import options_as
from infrastructure.providers.provider_warnings import unknown_options
from infrastructure.providers.redaction import RedactedEvents, Redactor
from infrastructure.providers.version_table import capabilities_at

_TABLE = (
    # What the versions before it can do is not known: their permissions and questions went over other paths.
    ("0.1.0", Capabilities(provider=PROVIDER, resume=True, todo_stream=True, execution_profiles=tuple(PROFILES))),
    (
        "1.18.0",
        Capabilities(
            provider=PROVIDER,
            resume=True,
            human_loop=True,
            todo_stream=True,
            build_plan_mode=True,
            execution_profiles=tuple(PROFILES),
        ),
    ),
)
_KNOWN_OPTIONS = OpencodeOptions.__struct_encode_fields__
_SESSION_ID = re.compile(r"ses_[A-Za-z0-9]{8,64}")
_TITLE_CHARS = 60
_CONNECTIONS = 5
_ABORT_S = 3.0
"""How long it may take, once it was told to abort, to record that."""


class OpencodeProvider:
    """opencode as a provider."""

    name = PROVIDER
    aliases: tuple[str, ...] = ()
    cli: AgentCli | None = CLI
    credentials: tuple[str, ...] = CREDENTIALS
    variables: tuple[str, ...] = (
        *(api.base_url for api in MODEL_APIS if api.base_url),
        "HTTPS_PROXY",
        "NO_PROXY",
    )

    def capabilities(self, version: str, options: Mapping[str, Any]) -> Capabilities:  # noqa: ARG002  none changes them
        return capabilities_at(_TABLE, version)

    def check(self, spec: RunSpec) -> None:
        options_as(OpencodeOptions, spec)
        prompt_of(spec)
        if spec.resume_session_id and not _SESSION_ID.fullmatch(spec.resume_session_id):
            raise InvalidInput("resumeSessionId", f"{spec.resume_session_id!r} is no id of an opencode session")

    def keeps(self, provider_session_id: str, path: str) -> bool:  # noqa: ARG002  one database holds them all
        return "/opencode/" in path and path.endswith(".db")

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
    """A running opencode: one run is one turn of the conversation."""

    def __init__(
        self, task: AgentTask, options: OpencodeOptions, setup: Setup, server: OpencodeServer, password: str
    ) -> None:
        self._task, self._options, self._setup, self._server = task, options, setup, server
        self._redactor = Redactor([password])
        self._credentials = (setup.chosen.api.credential,)
        self._said = OpencodeEvents(PROVIDER, self._credentials, task.human_loop_timeout_ms, options.max_retries)
        self._prompted_at_ms = 0.0
        self._aborting = False
        self.process_group = server.process.process_group

    async def events(self) -> AsyncIterator[Event]:
        # The password of its server is in the environment of what the agent runs.
        redacted = RedactedEvents(self._redactor)
        async for told in events_of(self._run):
            for event in redacted.take(told):
                yield event

    async def reply(self, question_id: str, answer: Any) -> None:
        reply = self._said.people.answer(question_id, answer)
        if reply is None:
            return  # one of several questions that are answered together
        import httpx

        try:
            await self._server.call("POST", reply.path, reply.body)
        except (OpencodeRefused, httpx.HTTPError) as error:
            raise ReplyNotDelivered(f"opencode did not take it: {error}") from error

    async def stop(self) -> None:
        self._said.stopping = True
        begun = bool(self._said.session_id)
        await self._server.process.stop(self._abort if begun else None)

    async def _abort(self) -> None:
        self._aborting = True
        await self._server.call("POST", f"/session/{self._said.session_id}/abort")

    async def _run(self, emit: Emit) -> RunAgentFinished:
        for warn in unknown_options(self._task.spec, _KNOWN_OPTIONS):
            await emit(warn)
        try:
            await self._converse(emit)
        except OpencodeGone:
            pass  # its exit code and its stderr tell why
        except OpencodeRefused as error:
            self._said.error = refusal(PROVIDER, self._credentials, error)
        finally:
            code = await self._server.end()
            await asyncio.to_thread(self._setup.clear)
        for event in self._said.left_over():
            await emit(event)
        return self._finished(code)

    async def _converse(self, emit: Emit) -> None:
        """From its start to the turn's end. Raises OpencodeGone, OpencodeRefused, AgentFailed."""
        import httpx

        await self._server.ready()
        for _ in range(_CONNECTIONS):
            try:
                if await self._follow(emit):
                    return
            except EventsBroken:
                continue
            except httpx.HTTPError as error:
                await self._server.process.wait(1.0)
                if not self._server.process.running:
                    raise OpencodeGone from error
        raise AgentFailed("cli_crashed", "opencode runs, but does not answer any more; start the run again")

    async def _follow(self, emit: Emit) -> bool:
        """Take its events until the turn is over, or there are no more of them."""
        connected = False
        try:
            async with asyncio.timeout(None) as limit, contextlib.aclosing(self._server.events()) as events:
                async for said in events:
                    if not connected:
                        connected = True
                        await self._connected(emit)
                    for event in self._said.events_of(said):
                        await emit(event)
                    if self._said.hopeless is not None and not self._aborting:
                        await self._abort()
                    if self._aborting and limit.when() is None:
                        limit.reschedule(asyncio.get_running_loop().time() + _ABORT_S)
                    if self._said.turn_over and (self._said.settled or not self._aborting):
                        return True
        except TimeoutError:
            return True
        return False

    async def _connected(self, emit: Emit) -> None:
        if not self._prompted_at_ms:
            await self._begin()
            return
        for event in await self._missed():
            for each in self._said.events_of(msgspec.json.encode(event)):
                await emit(each)
        self._said.missed_some()

    async def _begin(self) -> None:
        spec, chosen = self._task.spec, self._setup.chosen
        prompt = prompt_of(spec)
        session_id = spec.resume_session_id
        if session_id:
            await self._resume(session_id)
        else:
            # With a title of its own it needs none from the model.
            title = " ".join(prompt.text.split())[:_TITLE_CHARS]
            session_id = (await self._server.call("POST", "/session", {"title": title}))["id"]
        self._said.session_id = session_id
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
            # A restored workspace may lie elsewhere; the conversation would go on in the folder where it began.
            move = {"sessionID": session_id, "destination": {"directory": here}, "moveChanges": False}
            await self._server.call("POST", "/experimental/control-plane/move-session", move)

    async def _missed(self) -> list[dict[str, Any]]:
        """What may have been said while nobody heard it, as the events that would have said it."""
        session_id = self._said.session_id
        found: list[dict[str, Any]] = []
        for message in await self._server.call("GET", f"/session/{session_id}/message"):
            if message["info"]["time"]["created"] >= self._prompted_at_ms:
                found.append({"type": "message.updated", "properties": {"info": message["info"]}})
                found += [{"type": "message.part.updated", "properties": {"part": part}} for part in message["parts"]]
        todos = await self._server.call("GET", f"/session/{session_id}/todo")
        if todos:
            found.append({"type": "todo.updated", "properties": {"sessionID": session_id, "todos": todos}})
        for kind in ("permission", "question"):
            asked = await self._server.call("GET", f"/{kind}")
            found += [{"type": f"{kind}.asked", "properties": request} for request in asked]
        statuses = await self._server.call("GET", "/session/status")
        status = statuses.get(session_id, {"type": "idle"})
        return [*found, {"type": "session.status", "properties": {"sessionID": session_id, "status": status}}]

    def _finished(self, code: int) -> RunAgentFinished:
        said = self._said
        outcome: Outcome = "failed"
        error = None
        if said.stopping:
            outcome = "canceled"
        else:
            error = said.hopeless or said.error
            if error is None and said.turn_over:
                outcome = "succeeded"
            elif error is None:
                error = self._server.process.crashed(code, "it worked on the run")
        return RunAgentFinished(
            outcome=outcome,
            error=error,
            usage=said.usage(),
            provider_session_id=said.session_id,
            exit_code=None if said.turn_over else code,
        )
