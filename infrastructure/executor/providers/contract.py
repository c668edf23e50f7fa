"""The interface of a provider, which starts an agent for a run and yields its events.

A new provider is one folder with implementations of these protocols and one line in `descriptions.py`
(docs/how-to/add-a-provider.md).
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec

from application.ports.provider_descriptions import ProviderDescription
from domain.event import Event
from domain.run.values import ErrorClass, RunError, RunSpec
from infrastructure.executor.runs.agent_processes import AgentProcesses
from infrastructure.redaction import Redactor


class AgentTask(msgspec.Struct, frozen=True, kw_only=True):
    """One run to execute. `folder` is the workspace, `private_folder` the agents' home, which is never synced.
    `environment` is the agent's whole environment. `human_loop_timeout_ms` applies to questions that have no timeout of
    their own. The provider passes the agent's output through `redactor` before it truncates anything."""

    run_id: str
    attempt: int
    spec: RunSpec
    folder: str
    private_folder: str = ""
    environment: Mapping[str, str]
    human_loop_timeout_ms: int
    redactor: Redactor


class ReplyNotDelivered(Exception):
    """The agent can't take the answer, or not any more."""


class AgentFailed(Exception):
    """The agent can't start or go on; the run ends with this error."""

    def __init__(self, error_class: ErrorClass, message: str) -> None:
        super().__init__(message)
        self.error = RunError(error_class=error_class, message=message)


class AgentSession(Protocol):
    """A started agent."""

    process_group: tuple[int, int]
    """Id of the agent's process group, and when its leader started (clock ticks since boot); (0, 0) without a
    process."""

    def events(self) -> AsyncIterator[Event]:
        """The agent's events, in order; called once. The last is `run.agent_finished`, after which no process of the
        agent is left. Text deltas may be small. May raise AgentFailed instead of the last event."""
        ...

    async def reply(self, question_id: str, answer: Any) -> None:
        """Pass the answer to an open question to the agent. Raises ReplyNotDelivered."""
        ...

    async def stop(self) -> None:
        """End the agent; `events` then ends with the outcome `canceled`. Idempotent."""
        ...


class Provider(ProviderDescription, Protocol):
    """One kind of agent. Only `start` has side effects."""

    async def start(self, task: AgentTask, processes: AgentProcesses) -> AgentSession:
        """Start the agent for a task that `check` accepted. Raises AgentFailed; any other exception fails the run,
        too."""
        ...
