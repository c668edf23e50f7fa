"""What a provider is: it starts an agent for a run and gives its events; nothing else of it is known outside.

A new provider is one file with a class like these and one line in the registry.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec

from domain.event import Event
from domain.run.values import RunSpec
from infrastructure.providers.agent_processes import AgentProcesses


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    resume: bool = False
    human_loop: bool = False
    todo_stream: bool = False
    build_plan_mode: bool = False


class AgentTask(msgspec.Struct, frozen=True, kw_only=True):
    """One run to execute. `environment` is all that the agent may see; `human_loop_timeout_ms` goes into questions that
    bring none of their own."""

    run_id: str
    attempt: int
    spec: RunSpec
    folder: str
    environment: Mapping[str, str]
    human_loop_timeout_ms: int


class ReplyNotDelivered(Exception):
    """The agent can't take the answer (any more)."""


class AgentSession(Protocol):
    """A started agent."""

    process_group: tuple[int, int]
    """The agent's process group and when its leader started, in clock ticks; (0, 0) without a process."""

    def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in order, once. The last is `run.agent_finished`, after which nothing of the agent
        is left running. Text deltas may be as small as they come."""
        ...

    async def reply(self, question_id: str, answer: Any) -> None:
        """Hand the answer of an open question to the agent. Raises ReplyNotDelivered."""
        ...

    async def stop(self) -> None:
        """End the agent; `events` then ends with the outcome `canceled`. Safe to repeat."""
        ...


class Provider(Protocol):
    """One kind of agent."""

    name: str
    capabilities: Capabilities
    credential_variables: tuple[str, ...]
    """Variables of the executor's environment that the agent gets beside the common short list."""

    def check(self, spec: RunSpec) -> None:
        """Raises domain InvalidInput, with the field, for what it can't accept."""
        ...

    async def start(self, task: AgentTask, processes: AgentProcesses) -> AgentSession:
        """Start the agent of a checked task. Whatever this raises is the failure of the run."""
        ...
