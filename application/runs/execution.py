"""Executes one run, from its claim to its end. Every step reads the log first and continues from there, so a first
claim, a restart and a lease that was taken over need no code of their own."""

import contextlib
import logging
from datetime import timedelta

from application.ports.run_queue import RunLease
from application.runs.agent import FollowAgent
from application.runs.ending import EndRun
from application.runs.execution_context import ExecutionContext, ExecutionPorts
from application.runs.lease import run_context
from application.runs.models import await_model
from application.runs.start import StartRun
from domain.errors import Fenced, NotFound
from domain.run.commands import RecordLeaseLost
from domain.run.state import Active, Finished, Finishing, Queued, Run
from domain.session.commands import DetachRun

log = logging.getLogger(__name__)


class RunExecutions:
    """Executes runs under their leases. One call of `execute` per lease; cancelling it leaves the run as it stands."""

    def __init__(self, ports: ExecutionPorts) -> None:
        self._ports = ports

    async def execute(self, lease: RunLease, *, retry_delay: timedelta, parks: bool = True) -> Run | None:
        """The run after its end, once it is parked, or queued for its next attempt. That waits `retry_delay` times the
        number of the failed attempt, plus jitter. None when another holder has taken over. `parks`: whether it is let
        go of while it waits.

        Raises DependencyDown before anything is recorded, when the run's model is down and another run tries whether it
        works again; and whatever is unexpected. The caller releases the lease then.
        """
        await self._check_model(lease.run_id)
        try:
            execution = ExecutionContext(ports=self._ports, lease=lease, retry_delay=retry_delay, parks=parks)
            return await _execute(execution)
        except Fenced as error:
            log.info("run %s: another worker has taken over: %s", lease.run_id, error)
            return None

    async def _check_model(self, run_id: str) -> None:
        run = (await self._ports.runs.recent(run_id)).state
        if run is not None and run.spec is not None and isinstance(run.stage, Queued) and not run.cancel_requested:
            await_model(self._ports.outages, run.spec)

    async def record_lost(self, lease: RunLease) -> None:
        """Record in the log that the lease could not be renewed."""
        command = RecordLeaseLost(lost_lease_generation=lease.generation, owner=lease.owner)
        await self._ports.runs.handle(lease.run_id, command, run_context(lease, "lost"))


async def _execute(execution: ExecutionContext) -> Run:
    start, end = StartRun(execution), EndRun(execution)
    run = await start.claim()
    while True:
        match run.stage:
            case Active(parked=str()):
                return run
            case Active(phase="running"):
                follow = FollowAgent(execution, just_attached=start.attached, was_parked=start.was_parked == "person")
                run = await follow.to_its_end(run)
            case Active():
                run = await start.prepare(run)
            case Finishing():
                run = await end.to_its_end(run, run.stage)
            case _:
                if not end.detached:
                    await _detach(execution, run.session_id)
                _say_end(execution.run_id, run)
                return run


def _say_end(run_id: str, run: Run) -> None:
    """Without the message of an error, which may be what an agent wrote."""
    if isinstance(run.stage, Finished):
        error = run.stage.error
        about = {"outcome": run.stage.outcome} | ({"errorClass": error.error_class} if error else {})
        log.info("run %s has ended: %s", run_id, run.stage.outcome, extra={"sessionId": run.session_id, **about})


async def _detach(execution: ExecutionContext, session_id: str) -> None:
    """Detach the run from its session at once. A process manager does the same later, in case this process dies now."""
    with contextlib.suppress(NotFound):
        command = DetachRun(run_id=execution.run_id)
        await execution.ports.workers.sessions.handle(session_id, command, execution.command_context("detach"))
