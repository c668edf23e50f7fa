"""The effect worker: claims wanted effects, renews their leases, calls their handlers and settles them."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Literal

from application.aggregates.reconcile_log import TakeoverLog
from application.diagnostic_context import diagnostic_context
from application.effects.dependencies import NEEDS, blames_store, outage_of
from application.effects.observed_effects import ObservedAttempt, ObservedEffects
from application.effects.retry_schedules import RETRY_SCHEDULES
from application.leases import ClaimLoop, LeaseLost, released_if_cancelled, under_lease
from application.outages import OBJECT_STORE, PAUSE_S, DependencyDown, Outages
from application.ports.effect_handler import EffectFailed, EffectHandler, EffectObsolete
from application.ports.effect_kinds import LedgerKind, Slot
from application.ports.effect_ledger import ClaimedEffect, EffectLease, EffectLedger
from application.ports.executor import ExecutorError
from application.ports.object_store import ObjectStoreUnavailable
from application.ports.telemetry import NO_MEASUREMENTS, NO_SPANS
from application.ports.worker_runtime import ContainerGone, RuntimeUnavailable, StartFailed
from application.repairs.kinds import STALE_EFFECT
from application.repairs.said import UNCOUNTED, Found, Repairs
from domain.errors import DomainError, Fenced, NotFound

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=30)
LOOK_AT_STORE_S = 15.0
EXPECTED_FAILURES = (
    EffectFailed,
    ExecutorError,
    RuntimeUnavailable,
    StartFailed,
    ContainerGone,
    ObjectStoreUnavailable,
    OSError,
)


class EffectWorker:
    """`run` goes on until it is cancelled; effects under way are cancelled with it and released for others to claim.
    `given_up` records in the log that an effect has become a dead letter, before the ledger is changed. `check_store`
    raises ObjectStoreUnavailable if this process can't reach the object store; without it nothing counts that executors
    say of the store."""

    def __init__(
        self,
        *,
        ledger: EffectLedger,
        handlers: Mapping[LedgerKind, EffectHandler],
        given_up: Callable[[ClaimedEffect, str], Awaitable[None]],
        takeover_log: TakeoverLog,
        owner: str,
        slots: Mapping[Slot, int],
        lease: timedelta = LEASE,
        outages: Outages | None = None,
        check_store: Callable[[], Awaitable[object]] | None = None,
        observed: ObservedEffects | None = None,
        repairs: Repairs = UNCOUNTED,
    ) -> None:
        self._repairs = repairs
        self._observed = observed or ObservedEffects(NO_SPANS, NO_MEASUREMENTS)
        self._outages, self._check_store = outages or Outages(), check_store
        self._ledger, self._handlers, self._owner = ledger, handlers, owner
        self._given_up, self._takeover_log = given_up, takeover_log
        self._lease = lease
        self._loop = ClaimLoop[Slot, None](
            "effects", claim=self._claim, wait_for_work=ledger.wait_for_work, slots=slots
        )

    async def run(self) -> None:
        await self._loop.run()

    async def _claim(self, free: Mapping[Slot, int]) -> Mapping[Slot, int]:
        leases = await self._ledger.claim(owner=self._owner, free=free, lease=self._lease)
        for lease in leases:
            self._loop.start(self._perform_guarded(lease), lease.effect.slot, name=lease.effect.effect_id)
        if taken_over := [lease for lease in leases if lease.taken_from]:
            first = taken_over[0]
            command_id = f"takeover/{first.effect.effect_id}/{first.generation}"
            self._repairs.made(STALE_EFFECT, *map(_found, taken_over), command_id=command_id)
            await self._takeover_log.record(
                "effects",
                [lease.effect.effect_id for lease in taken_over],
                actor=f"effect-worker/{self._owner}",
                command_id=command_id,
            )
        return Counter(lease.effect.slot for lease in leases)

    async def _perform_guarded(self, lease: EffectLease) -> None:
        effect, attempt = lease.effect, self._observed.begin(lease)
        with diagnostic_context(
            trace_id=effect.trace_id or attempt.trace_id,
            span_id=attempt.span_id,
            session_id=effect.params.get("sessionId", ""),
            run_id=effect.params.get("runId", ""),
            effect_id=effect.effect_id,
        ):
            try:
                async with released_if_cancelled(lambda: self._ledger.release(lease)):
                    await under_lease(
                        self._perform(lease, attempt),
                        renew=lambda: self._ledger.renew(lease, self._lease),
                        duration=self._lease,
                        name=f"perform {effect.effect_id}",
                    )
            except LeaseLost:
                log.warning("effect %s: its lease was lost", effect.effect_id)
            except Exception:
                log.exception("effect %s could not be settled; its lease will run out", effect.effect_id)

    async def _perform(self, lease: EffectLease, attempt: ObservedAttempt) -> None:
        effect = lease.effect
        handler, needed = self._handlers[effect.kind], NEEDS.get(effect.kind, ())
        try:
            self._outages.attempt(*needed)
            await handler.perform(effect)
        except DependencyDown as down:
            await self._ledger.defer(lease, error=str(down), delay=timedelta(seconds=down.retry_in_s))
            attempt.ended("deferred", "dependency_down")
        except (EffectObsolete, Fenced, NotFound) as error:
            await self._ledger.settle(lease, "obsolete", error=str(error))
            attempt.ended("obsolete")
        except (*EXPECTED_FAILURES, DomainError) as error:
            outage = outage_of(error) or await self._confirmed(error)
            if outage and self._outages.failed(outage, str(error)):
                await self._ledger.defer(lease, error=str(error), delay=timedelta(seconds=PAUSE_S))
                attempt.ended("deferred", "dependency_down")
                return
            refused = isinstance(error, ExecutorError) and error.is_refusal
            later = timedelta(seconds=error.retry_after_s) if isinstance(error, ExecutorError) else timedelta()
            settled = await self._failed(lease, handler, str(error) or type(error).__name__, final=refused, later=later)
            attempt.ended(settled, type(error).__name__)
        except Exception as error:
            log.exception("effect %s failed in an unexpected way", effect.effect_id)
            attempt.ended(await self._failed(lease, handler, f"{type(error).__name__}: {error}"), type(error).__name__)
        else:
            self._outages.worked(*needed)
            await self._ledger.settle(lease, "done")
            attempt.ended("done")

    async def _confirmed(self, error: BaseException) -> str:
        """The object store's name, if an executor says that it is down and so it is from here."""
        if self._check_store is None or not blames_store(error):
            return ""
        try:
            async with asyncio.timeout(LOOK_AT_STORE_S):
                await self._check_store()
        except (ObjectStoreUnavailable, TimeoutError):
            return OBJECT_STORE
        except Exception as other:  # noqa: BLE001  it answers, in its way
            log.info("the object store, which an executor calls unavailable, answers: %s", other)
        self._outages.worked(OBJECT_STORE)
        return ""

    async def _failed(
        self,
        lease: EffectLease,
        handler: EffectHandler,
        error: str,
        *,
        final: bool = False,
        later: timedelta = timedelta(),
    ) -> Literal["failed", "dead"]:
        effect = lease.effect
        if not effect.last_attempt and not final:
            schedule = RETRY_SCHEDULES[effect.kind]
            delay = max(schedule.delay(effect.attempt), min(later, schedule.longest))
            log.warning("effect %s: try %d failed: %s", effect.effect_id, effect.attempt, error)
            await self._ledger.settle(lease, "failed", error=error, delay=delay)
            return "failed"
        log.error("effect %s is given up at its try %d: %s", effect.effect_id, effect.attempt, error)
        with contextlib.suppress(EffectObsolete, Fenced, NotFound):
            await handler.give_up(effect, error)
        await self._given_up(effect, error)
        await self._ledger.settle(lease, "dead", error=error)
        return "dead"


def _found(lease: EffectLease) -> Found:
    effect = lease.effect
    return Found(
        effect_id=effect.effect_id,
        session_id=effect.params.get("sessionId", ""),
        run_id=effect.params.get("runId", ""),
        trace_id=effect.trace_id,
        about={"takenFrom": lease.taken_from, "leaseGeneration": lease.generation},
    )
