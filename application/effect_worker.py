"""Performs wanted effects: claims them, keeps their leases, calls their handlers, settles what came of it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from application.effect_ledger import EffectLease, EffectLedger
from application.effects.effect import RETRY_SCHEDULES, ClaimedEffect, EffectFailed, EffectHandler, EffectObsolete
from application.ending_tasks import end_tasks
from application.findings import Takeovers
from application.ports import ContainerGone, ExecutorError, RuntimeUnavailable, StartFailed
from application.reactions import EffectKind
from application.work_context import work_context
from domain.errors import DomainError, Fenced, NotFound

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=30)
IDLE_WAIT_S = 5.0
PAUSE_AFTER_ERROR_S = 1.0
RELEASE_TIMEOUT_S = 5.0
EXPECTED_FAILURES = (EffectFailed, ExecutorError, RuntimeUnavailable, StartFailed, ContainerGone, OSError)


class EffectWorker:
    """`run` works until it is cancelled; effects under way are cancelled with it, and given back for others to claim.
    `given_up` records that an effect has become a dead letter, before the ledger says so."""

    def __init__(
        self,
        *,
        ledger: EffectLedger,
        handlers: Mapping[EffectKind, EffectHandler],
        given_up: Callable[[ClaimedEffect, str], Awaitable[None]],
        takeovers: Takeovers,
        owner: str,
        concurrency: int = 16,
        lease: timedelta = LEASE,
    ) -> None:
        self._ledger, self._handlers, self._owner = ledger, handlers, owner
        self._given_up, self._takeovers = given_up, takeovers
        self._concurrency, self._lease = concurrency, lease
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self._claim_some()
                except Exception:
                    log.exception("effects could not be claimed; trying again")
                    await asyncio.sleep(PAUSE_AFTER_ERROR_S)
        finally:
            await end_tasks(self._tasks, again_after_s=RELEASE_TIMEOUT_S + 1)

    async def _claim_some(self) -> None:
        free = self._concurrency - len(self._tasks)
        if free == 0:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            return
        leases = await self._ledger.claim(owner=self._owner, limit=free, lease=self._lease)
        for lease in leases:
            task = asyncio.create_task(self._perform_guarded(lease), name=lease.effect.effect_id)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if taken_over := [lease for lease in leases if lease.taken_from]:
            first = taken_over[0]
            await self._takeovers.record(
                "effects",
                [lease.effect.effect_id for lease in taken_over],
                actor=f"effect-worker/{self._owner}",
                command_id=f"takeover/{first.effect.effect_id}/{first.generation}",
            )
        if len(leases) < free:
            await self._ledger.wait_for_work(IDLE_WAIT_S)

    async def _perform_guarded(self, lease: EffectLease) -> None:
        effect = lease.effect
        with work_context(
            trace_id=effect.trace_id,
            session_id=effect.params.get("sessionId", ""),
            run_id=effect.params.get("runId", ""),
            effect_id=effect.effect_id,
        ):
            try:
                await self._perform_leased(lease)
            except asyncio.CancelledError:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(RELEASE_TIMEOUT_S):
                        await self._ledger.release(lease)
                raise
            except Exception:
                log.exception("effect %s could not be settled; its lease will run out", effect.effect_id)

    async def _perform_leased(self, lease: EffectLease) -> None:
        work = asyncio.create_task(self._perform(lease), name=f"perform {lease.effect.effect_id}")
        try:
            while True:
                done, _ = await asyncio.wait({work}, timeout=self._lease.total_seconds() / 3)
                if done:
                    return work.result()
                if not await self._ledger.renew(lease, self._lease):
                    log.warning("effect %s: its lease was lost", lease.effect.effect_id)
                    return None
        finally:
            await end_tasks([work])

    async def _perform(self, lease: EffectLease) -> None:
        effect = lease.effect
        handler = self._handlers[effect.kind]
        try:
            await handler.perform(effect)
        except (EffectObsolete, Fenced, NotFound) as error:
            await self._ledger.settle(lease, "obsolete", error=str(error))
        except (*EXPECTED_FAILURES, DomainError) as error:
            refused = isinstance(error, ExecutorError) and error.is_refusal
            await self._failed(lease, handler, str(error) or type(error).__name__, final=refused)
        except Exception as error:
            log.exception("effect %s failed in an unexpected way", effect.effect_id)
            await self._failed(lease, handler, f"{type(error).__name__}: {error}")
        else:
            await self._ledger.settle(lease, "done")

    async def _failed(self, lease: EffectLease, handler: EffectHandler, error: str, *, final: bool = False) -> None:
        effect = lease.effect
        if not effect.last_attempt and not final:
            delay = RETRY_SCHEDULES[effect.kind].delay(effect.attempt)
            log.warning("effect %s: try %d failed: %s", effect.effect_id, effect.attempt, error)
            await self._ledger.settle(lease, "failed", error=error, delay=delay)
            return
        log.error("effect %s is given up at its try %d: %s", effect.effect_id, effect.attempt, error)
        with contextlib.suppress(EffectObsolete, Fenced, NotFound):
            await handler.give_up(effect, error)
        await self._given_up(effect, error)
        await self._ledger.settle(lease, "dead", error=error)
