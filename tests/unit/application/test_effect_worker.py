"""The effect worker, on a ledger of this test's own: what is settled, and what handlers and log lines know."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from application.aggregates.reconcile_log import ReconcileLog, TakeoverLog
from application.diagnostic_context import diagnostic_ids
from application.effects.worker import EffectWorker
from application.outages import DOCKER, Outages
from application.ports.effect_handler import EffectFailed, EffectObsolete
from application.ports.effect_kinds import SLOTS, LedgerKind, Slot
from application.ports.effect_ledger import ClaimedEffect, EffectLease
from application.ports.executor import ExecutorError
from application.ports.object_store import ObjectStoreUnavailable
from application.ports.worker_runtime import RuntimeDown
from application.trace_context import w3c_trace_id
from domain.operations.events import ReconcileFinished
from tests.support.log_in_memory import LogInMemory

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EFFECT = ClaimedEffect(
    effect_id="workspace.sync/session:s/7",
    kind="workspace.sync",
    params={"sessionId": "s", "generation": 1},
    attempt=1,
    last_attempt=False,
    actor="ada",
    correlation_id="c",
    causation_id="e",
    trace_id="t",
)


class OneEffect:
    """A ledger with one effect to do; `settled` is set once its try has ended."""

    def __init__(self, effect: ClaimedEffect, *, keeps_lease: bool = True, taken_from: str = "") -> None:
        self._effects = [EffectLease(effect=effect, generation=1, taken_from=taken_from)]
        self._keeps_lease = keeps_lease
        self.outcomes: list[tuple[str, str]] = []
        self.settled = asyncio.Event()

    async def claim(self, *, owner: str, free: Mapping[Slot, int], lease: timedelta) -> Sequence[EffectLease]:
        claimed, self._effects = self._effects, []
        return claimed

    async def renew(self, lease: EffectLease, duration: timedelta) -> bool:
        return self._keeps_lease

    async def settle(
        self, lease: EffectLease, outcome: str, *, error: str = "", delay: timedelta = timedelta()
    ) -> None:
        self.outcomes.append((outcome, error))
        self.settled.set()

    async def defer(self, lease: EffectLease, *, error: str, delay: timedelta) -> None:
        assert delay >= timedelta(seconds=1)
        self.outcomes.append(("deferred", error))
        self.settled.set()

    async def release(self, lease: EffectLease) -> None:
        if self._keeps_lease and not self.settled.is_set():
            self.outcomes.append(("released", ""))

    async def free_stale(self) -> Sequence[str]:
        return ()

    async def wait_for_work(self, timeout_s: float) -> None:
        await asyncio.sleep(timeout_s)


class Handler:
    def __init__(self, perform: Callable[[], None]) -> None:
        self._perform = perform
        self.given_up: list[str] = []
        self.about: Mapping[str, str] = {}

    async def perform(self, effect: ClaimedEffect) -> None:
        self.about = diagnostic_ids()
        self._perform()

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        self.given_up.append(error)


def raising(error: Exception) -> Callable[[], None]:
    def perform() -> None:
        raise error

    return perform


async def nothing_more(_effect: ClaimedEffect, _error: str) -> None:
    """The log takes note of what is given up; not this test's business."""


def effect_worker(ledger: OneEffect, handlers: Mapping[LedgerKind, Any], **more: Any) -> EffectWorker:
    return EffectWorker(
        ledger=ledger,
        handlers=handlers,
        given_up=nothing_more,
        takeover_log=TakeoverLog(ReconcileLog(store=LogInMemory(), clock=lambda: NOW)),
        owner="w",
        slots=dict.fromkeys(SLOTS, 1),
        **more,
    )


def worked(handler: Any, effect: ClaimedEffect = EFFECT, **more: Any) -> list[tuple[str, str]]:
    """What the ledger heard of the effect after one try."""

    async def scene() -> list[tuple[str, str]]:
        ledger = OneEffect(effect)
        worker = asyncio.create_task(effect_worker(ledger, {effect.kind: handler}, **more).run())
        async with asyncio.timeout(90):
            await ledger.settled.wait()
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        return ledger.outcomes

    return asyncio.run(scene())


def test_what_it_performs_is_done_and_knows_what_it_is_about() -> None:
    handler = Handler(lambda: None)

    assert worked(handler) == [("done", "")]
    assert handler.about == {"traceId": "t", "sessionId": "s", "effectId": EFFECT.effect_id}


def test_what_no_request_has_caused_knows_the_trace_that_its_events_and_spans_are_in() -> None:
    handler = Handler(lambda: None)

    worked(handler, replace(EFFECT, trace_id=""))

    assert handler.about["traceId"] == w3c_trace_id(EFFECT.correlation_id)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (EffectFailed("not now"), ("failed", "not now")),
        (EffectObsolete("passed"), ("obsolete", "passed")),
        (ZeroDivisionError("oops"), ("failed", "ZeroDivisionError: oops")),
    ],
)
def test_how_a_try_ends(error: Exception, outcome: tuple[str, str]) -> None:
    handler = Handler(raising(error))

    assert worked(handler) == [outcome]
    assert handler.given_up == []


def refused(*, kind: Literal["http", "network"] = "http", status: int | None = None, reason: str = "") -> ExecutorError:
    return ExecutorError("no", kind=kind, path="/p", attempt=1, max_attempts=1, status=status, reason=reason)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (refused(kind="network"), "failed"),
        (refused(status=409, reason="workspace_not_restored"), "failed"),
        (refused(status=422, reason="recorded_content_unreadable"), "failed"),
        (refused(status=422, reason="layer_missing"), "dead"),
        (refused(status=400, reason="invalid_input"), "dead"),
    ],
)
def test_what_an_executor_would_refuse_again_is_not_tried_again(error: ExecutorError, outcome: str) -> None:
    handler = Handler(raising(error))

    assert worked(handler) == [(outcome, "no")]
    assert handler.given_up == (["no"] if outcome == "dead" else [])


CREATE = replace(EFFECT, kind="container.create", last_attempt=True)


def test_while_docker_is_down_no_try_counts_and_none_is_made_until_its_turn() -> None:
    outages = Outages()
    tried = Handler(raising(RuntimeDown("no daemon")))
    assert worked(tried, CREATE, outages=outages) == [("deferred", "no daemon")]
    assert tried.given_up == []

    next_one = Handler(raising(AssertionError("it is tried")))
    assert worked(next_one, CREATE, outages=outages) == [("deferred", "docker is down: no daemon")]
    assert worked(Handler(lambda: None), outages=outages) == [("done", "")]  # what needs no Docker goes on

    outages.worked(DOCKER)
    assert worked(Handler(lambda: None), CREATE, outages=outages) == [("done", "")]


async def no_store() -> None:
    raise ObjectStoreUnavailable("nobody there")


def test_a_store_that_works_for_others_is_not_down_and_one_that_fails_for_all_is() -> None:
    outages, error = Outages(), refused(status=503, reason="object_store_unavailable")

    def tried(does: Callable[[], Any]) -> list[tuple[str, str]]:
        return worked(Handler(does), outages=outages, check_store=no_store)

    assert [tried(raising(error)) for _ in range(2)] == [[("failed", "no")]] * 2
    assert tried(lambda: None) == [("done", "")]
    tries = [tried(raising(error)) for _ in range(3)]
    assert tries == [[("failed", "no")], [("failed", "no")], [("deferred", "no")]]


def test_no_executor_can_declare_a_store_down_that_this_process_reaches() -> None:
    looks: list[str] = []

    async def reached() -> None:
        looks.append("reached")

    outages, error = Outages(), refused(status=503, reason="object_store_unavailable")
    tries = [worked(Handler(raising(error)), outages=outages, check_store=reached) for _ in range(5)]
    assert tries == [[("failed", "no")]] * 5
    assert looks == ["reached"] * 5
    assert worked(Handler(lambda: None), outages=outages) == [("done", "")]
    assert outages.down() == {}


def test_the_last_try_that_fails_gives_the_effect_up() -> None:
    handler = Handler(raising(EffectFailed("never")))
    last = replace(EFFECT, last_attempt=True)

    assert worked(handler, last) == [("dead", "never")]
    assert handler.given_up == ["never"]


def test_a_worker_that_is_told_to_end_gives_back_what_it_performs() -> None:
    async def scene() -> list[tuple[str, str]]:
        begun = asyncio.Event()

        class Endless(Handler):
            async def perform(self, effect: ClaimedEffect) -> None:
                begun.set()
                await asyncio.Event().wait()

        ledger = OneEffect(EFFECT)
        worker = effect_worker(ledger, {EFFECT.kind: Endless(lambda: None)})
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(90):
            await begun.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return ledger.outcomes

    assert asyncio.run(scene()) == [("released", "")]


def test_what_is_taken_over_from_a_worker_that_is_gone_is_found_in_the_log() -> None:
    async def scene() -> list[Any]:
        ledger, log = OneEffect(EFFECT, taken_from="dead"), LogInMemory()
        worker = EffectWorker(
            ledger=ledger,
            handlers={EFFECT.kind: Handler(lambda: None)},
            given_up=nothing_more,
            takeover_log=TakeoverLog(ReconcileLog(store=log, clock=lambda: NOW)),
            owner="w",
            slots=dict.fromkeys(SLOTS, 1),
        )
        running = asyncio.create_task(worker.run())
        assert await log.wait_for_stream("reconcile:effects", 0, 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        (found,) = log.of("reconcile:effects")
        return [found.event, found.metadata.actor]

    assert asyncio.run(scene()) == [
        ReconcileFinished(what="effects", examined=1, acted=1, subjects=(EFFECT.effect_id,)),
        "effect-worker/w",
    ]


def test_a_lost_lease_ends_the_work_without_a_word() -> None:
    async def scene() -> tuple[bool, list[tuple[str, str]]]:
        ended = asyncio.Event()

        class Endless(Handler):
            async def perform(self, effect: ClaimedEffect) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()

        ledger = OneEffect(EFFECT, keeps_lease=False)
        worker = effect_worker(ledger, {EFFECT.kind: Endless(lambda: None)}, lease=timedelta(milliseconds=30))
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(90):
            await ended.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return ended.is_set(), ledger.outcomes

    assert asyncio.run(scene()) == (True, [])


class Endless(Handler):
    def __init__(self) -> None:
        super().__init__(lambda: None)
        self.begun = 0

    async def perform(self, effect: ClaimedEffect) -> None:
        self.begun += 1
        await asyncio.Event().wait()


class Slotted(OneEffect):
    """Gives out due effects as long as there are slots; whoever waits for work hears at once that there is some."""

    def __init__(self, *effects: ClaimedEffect) -> None:
        super().__init__(EFFECT)
        self._effects = [EffectLease(effect=effect, generation=1) for effect in effects]
        self.news = asyncio.Event()

    async def claim(self, *, owner: str, free: Mapping[Slot, int], lease: timedelta) -> Sequence[EffectLease]:
        await asyncio.sleep(0)
        claimed = []
        for slot, number in free.items():
            claimed += [each for each in self._effects if each.effect.slot == slot][:number]
        self._effects = [each for each in self._effects if each not in claimed]
        return claimed

    async def want(self, effect: ClaimedEffect) -> None:
        self._effects.append(EffectLease(effect=effect, generation=1))
        self.news.set()

    async def wait_for_work(self, timeout_s: float) -> None:
        await self.news.wait()
        self.news.clear()


def test_sixteen_syncs_that_do_not_end_delay_no_activation_and_no_stop() -> None:
    async def scene() -> tuple[int, list[str]]:
        syncs = [replace(EFFECT, effect_id=f"sync/{n}") for n in range(20)]
        slow, ledger = Endless(), Slotted(*syncs)
        quick = Handler(lambda: None)
        worker = EffectWorker(
            ledger=ledger,
            handlers={"workspace.sync": slow, "container.create": quick, "container.stop": quick},
            given_up=nothing_more,
            takeover_log=TakeoverLog(ReconcileLog(store=LogInMemory(), clock=lambda: NOW)),
            owner="w",
            slots={"short": 2, "long": 16, "stop": 1},
        )
        running = asyncio.create_task(worker.run())
        performed = []
        async with asyncio.timeout(90):
            for kind in ("container.create", "container.stop", "container.create"):
                ledger.settled.clear()
                await ledger.want(replace(EFFECT, effect_id=kind, kind=kind))
                await ledger.settled.wait()
                performed.append(kind)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return slow.begun, performed

    begun, performed = asyncio.run(scene())

    assert begun == 16
    assert performed == ["container.create", "container.stop", "container.create"]


def test_a_slot_that_becomes_free_is_filled_at_once() -> None:
    async def scene() -> list[tuple[str, str]]:
        ledger = Slotted(*[replace(EFFECT, effect_id=f"sync/{n}") for n in range(5)])
        worker = effect_worker(ledger, {EFFECT.kind: Handler(lambda: None)})
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(90):
            while len(ledger.outcomes) < 5:
                await ledger.settled.wait()
                ledger.settled.clear()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return ledger.outcomes

    assert asyncio.run(scene()) == [("done", "")] * 5
