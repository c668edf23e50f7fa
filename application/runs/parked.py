"""Looks at parked runs: an event wakes a parked run, and a look finds what no event told. A journal goes on although
its run waits for a person; an executor has died; what the run waits for came just before it was parked."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Literal

from application.diagnostic_context import diagnostic_context
from application.leases import ClaimLoop
from application.ports.effect_handler import EffectObsolete
from application.ports.executor import ExecutorError
from application.ports.run_queue import ParkedRun, ParkedRuns
from application.ports.worker_runtime import RuntimeUnavailable
from application.repairs.kinds import PARKED_RUN
from application.repairs.said import UNCOUNTED, Found, Repairs
from application.runs.commands import Runs
from application.sessions.session_workers import SessionWorkers
from domain.run.state import Active

log = logging.getLogger(__name__)
LOOKS_AT_ONCE = 16
LOOK_TIMEOUT_S = 10.0


class LookAtParkedRuns:
    """`run` goes on until it is cancelled. A look changes nothing but that a run may be claimed again."""

    def __init__(
        self, *, parked: ParkedRuns, runs: Runs, workers: SessionWorkers, repairs: Repairs = UNCOUNTED
    ) -> None:
        self._repairs = repairs
        self._parked, self._runs, self._workers = parked, runs, workers
        self._loop = ClaimLoop[Literal["look"], None](
            "looks", claim=self._claim, wait_for_work=parked.wait_for_look, slots={"look": LOOKS_AT_ONCE}
        )

    async def run(self) -> None:
        await self._loop.run()

    async def _claim(self, free: Mapping[Literal["look"], int]) -> Mapping[Literal["look"], int]:
        found = await self._parked.claim_looks(free["look"])
        for parked in found:
            self._loop.start(self._look(parked), "look", name=f"look at {parked.run_id}")
        return {"look": len(found)}

    async def _look(self, parked: ParkedRun) -> None:
        with diagnostic_context(session_id=parked.session_id, run_id=parked.run_id):
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    waits = await self.waits(parked)
                if not waits:
                    await self._parked.wake(parked)
                    waited = {"waitsFor": parked.waits_for, "leaseGeneration": parked.lease_generation}
                    self._repairs.made(
                        PARKED_RUN, Found(run_id=parked.run_id, session_id=parked.session_id, about=waited)
                    )
            except TimeoutError:
                log.info("run %s: its executor did not answer in time while it waits", parked.run_id)
            except Exception:
                log.exception("run %s: it could not be looked at while it waits; the next look follows", parked.run_id)

    async def waits(self, parked: ParkedRun) -> bool:
        """Whether the run still waits for what it was parked for. An executor that does not answer although its
        container runs changes nothing: that the run is taken up would not help."""
        run = (await self._runs.load(parked.run_id)).state
        if run is None or not isinstance(run.stage, Active) or not run.stage.parked:
            return False
        if run.cancel_requested or run.abort is not None:
            return False
        if run.stage.parked != "person":
            return await self._session_is_not_ready(parked)
        if not run.waits_for_a_person:
            return False
        try:
            worker = await self._workers.recent(parked.session_id)
            state = await self._workers.executor(worker, parked.run_id).run_state(parked.run_id)
        except EffectObsolete:
            return False
        except ExecutorError as error:
            log.info("run %s: its executor did not answer while it waits: %s", parked.run_id, error)
            return error.kind != "http" and await self._is_up(parked.session_id)
        if state is None or state.attempt != run.attempt:
            return False
        return not state.finished and state.entries <= run.entries

    async def _session_is_not_ready(self, parked: ParkedRun) -> bool:
        session = (await self._workers.sessions.load(parked.session_id)).state
        if session is None:
            return False
        return session.activation_pending or any(other != parked.run_id for other in session.executing_runs)

    async def _is_up(self, session_id: str) -> bool:
        try:
            return await self._workers.is_up(await self._workers.find(session_id))
        except RuntimeUnavailable:
            return True
        except EffectObsolete:
            return False
