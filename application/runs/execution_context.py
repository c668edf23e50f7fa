"""What one execution of a run works with: its ports, its lease, and the delay before a retry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

from application.aggregates.aggregates import Clock
from application.command_context import CommandContext
from application.outages import Outages
from application.ports.log_tail import LogTail
from application.ports.run_queue import RunLease
from application.ports.run_secrets import RunSecrets
from application.runs.commands import Runs
from application.runs.fork_conversations import ForkConversations
from application.runs.lease import run_context
from application.runs.limits import RunLimits
from application.runs.session_quotas import SessionQuotas
from application.sessions.session_workers import SessionWorkers
from application.sessions.workspace_syncs import WorkspaceSyncs
from domain.run.commands import FailAttempt, ParkRun, RunCommand
from domain.run.state import Run
from domain.run.values import ErrorClass, RunError, RunSpec, WaitsFor

JITTER = 0.2
PARK_AFTER_S = 2.0
"""An agent may ask several questions, or do other work beside; and a parking costs about as much as a claim."""
PREPARE_S = 5.0
"""Most activations take less."""
LONGEST_PARK = timedelta(days=1)
"""A parked run is taken up after this time whatever has become of its wake-up."""


@dataclass(frozen=True, kw_only=True)
class ExecutionPorts:
    """What all executions of a process share. `human_loop_timeout` bounds how long an agent waits for an answer.
    `jitter` returns a random number in [0, 1). `api_url`: the API's base URL as agents reach it, if they can.
    `agent_variables`: what the agent of a run gets from the installation, such as its model's credentials.
    `park_after_s`: how long an agent that waits for a person is silent until its run is parked. `prepare_s`: how long a
    session may take to come up until the run that waits for it is parked."""

    runs: Runs
    workers: SessionWorkers
    syncs: WorkspaceSyncs
    tail: LogTail
    clock: Clock
    human_loop_timeout: timedelta
    limits: RunLimits
    jitter: Callable[[], float]
    agent_variables: Callable[[RunSpec], dict[str, str]]
    session_quotas: SessionQuotas
    outages: Outages = field(default_factory=Outages)
    api_url: str | None = None
    conversations: ForkConversations | None = None
    run_secrets: RunSecrets | None = None
    park_after_s: float = PARK_AFTER_S
    prepare_s: float = PREPARE_S

    def callback_url(self, run_id: str) -> str:
        """Where the agent of a run reports to; empty: nowhere."""
        return f"{self.api_url}/api/runs/{quote(run_id, safe='')}/callbacks" if self.api_url else ""


@dataclass(frozen=True, kw_only=True)
class ExecutionContext:
    """One run under one lease. `retry_delay`: what the first failed attempt waits before the next one. `parks`: whether
    the run is let go of while it waits."""

    ports: ExecutionPorts
    lease: RunLease
    retry_delay: timedelta
    parks: bool = True

    @property
    def run_id(self) -> str:
        return self.lease.run_id

    def command_context(self, step: str) -> CommandContext:
        """The context of a command of this execution; `step` makes its id unique under the lease."""
        return run_context(self.lease, step)

    def retry_at(self, attempt: int) -> datetime:
        """When the next attempt may begin after `attempt` has failed: the delay grows linearly with the attempt, plus
        up to 20 % of jitter."""
        return self.ports.clock() + self.retry_delay * attempt * (1 + JITTER * self.ports.jitter())

    async def handle(self, command: RunCommand, step: str) -> Run:
        """The run after `command`. Raises what the run's `decide` raises."""
        return (await self.ports.runs.handle(self.run_id, command, self.command_context(step))).state

    async def park(self, run: Run, waits_for: WaitsFor) -> Run:
        """The run, parked, until a limit of the agent's time is reached at the latest; or as it is if it does not wait
        for that any more."""
        now = self.ports.clock()
        left = self.ports.limits.next_check(run, now, timedelta())
        until = now + (LONGEST_PARK if left is None else min(left, LONGEST_PARK))
        command = ParkRun(lease_generation=self.lease.generation, waits_for=waits_for, until=until)
        return await self.handle(command, "parked")

    async def fail_attempt(
        self,
        run: Run,
        error_class: ErrorClass,
        message: str,
        *,
        never_started: bool = False,
        tail_lost: bool = False,
        excused: bool = False,
    ) -> Run:
        """The run after its present attempt has failed. `never_started`: the agent did not run although the log says
        that it was about to. `tail_lost`: the end of its journal can't be read any more. `excused`: what it needed is
        down for everybody."""
        command = FailAttempt(
            lease_generation=self.lease.generation,
            error=RunError(error_class=error_class, message=message),
            retry_at=self.retry_at(run.attempt),
            never_started=never_started,
            tail_lost=tail_lost,
            excused=excused,
        )
        return await self.handle(command, f"failed/{run.attempt}")
