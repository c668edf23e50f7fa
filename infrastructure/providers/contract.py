"""What a provider is: it starts an agent for a run and gives its events; nothing else of it is known outside.

A new provider is one file with a class like these and one line in the registry (docs/how-to/add-a-provider.md).
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec

from domain.event import Event
from domain.run.capabilities import Capabilities
from domain.run.values import ErrorClass, RunError, RunSpec
from infrastructure.providers.agent_processes import AgentProcesses
from infrastructure.providers.redaction import Redactor


class AgentCli(msgspec.Struct, frozen=True, kw_only=True):
    """The program of a provider: its name on the PATH, the word for it in the worker image's labels
    (`fleetlog.cli.{label}`), and the npm package that brings it."""

    program: str
    label: str
    package: str


class AgentTask(msgspec.Struct, frozen=True, kw_only=True):
    """One run to execute. `environment` is all that the agent may see; `private_folder` is the session's own, never
    synced; `human_loop_timeout_ms` goes into questions that bring none of their own. What the agent says passes
    `redactor`, which knows the installation's secrets, before anything is cut off."""

    run_id: str
    attempt: int
    spec: RunSpec
    folder: str
    private_folder: str = ""
    environment: Mapping[str, str]
    human_loop_timeout_ms: int
    redactor: Redactor


class ReplyNotDelivered(Exception):
    """The agent can't take the answer (any more)."""


class AgentFailed(Exception):
    """The agent can't start or go on; the run ends with this error."""

    def __init__(self, error_class: ErrorClass, message: str) -> None:
        super().__init__(message)
        self.error = RunError(error_class=error_class, message=message)


class AgentSession(Protocol):
    """A started agent."""

    process_group: tuple[int, int]
    """The agent's process group and when its leader started, in clock ticks; (0, 0) without a process."""

    def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in order, once. The last is `run.agent_finished`, after which nothing of the agent
        is left running. Text deltas may be as small as they come. May raise AgentFailed instead of a last event."""
        ...

    async def reply(self, question_id: str, answer: Any) -> None:
        """Hand the answer of an open question to the agent. Raises ReplyNotDelivered."""
        ...

    async def stop(self) -> None:
        """End the agent; `events` then ends with the outcome `canceled`. Safe to repeat."""
        ...


class Provider(Protocol):
    """One kind of agent. Only `start` touches the world; all else is known without it."""

    name: str
    aliases: tuple[str, ...]
    cli: AgentCli | None
    """None: the provider needs no program of its own."""
    credentials: tuple[str, ...]
    """Variables with secrets, any one of which suffices; the agent gets those that are set. Empty: none is needed."""
    variables: tuple[str, ...]
    """Other variables of the installation that the agent gets, such as a model's base URL."""

    def capabilities(self, version: str, options: Mapping[str, Any]) -> Capabilities:
        """Of a version of its CLI ("": not known, the newest is assumed), under a run's `providerOptions`."""
        ...

    def check(self, spec: RunSpec) -> None:
        """Raises domain InvalidInput, with the field as in the API, for what it can't accept. Options that it does not
        know are no error: the session warns of them."""
        ...

    def keeps(self, provider_session_id: str, path: str) -> bool:
        """Whether the agent keeps this conversation in that file, by its path in the workspace: where the file came
        along, the conversation can be resumed. False without `resume`."""
        ...

    async def start(self, task: AgentTask, processes: AgentProcesses) -> AgentSession:
        """Start the agent of a checked task. Raises AgentFailed; whatever else this raises fails the run, too."""
        ...
