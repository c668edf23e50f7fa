"""Commands of process managers: sent side by side, each once; refusals are recorded; what is done costs nothing."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from application.aggregates.aggregates import MAX_RACES, Aggregates
from application.effects.former_kinds import SendCommand
from application.ports.effect_handler import EffectObsolete
from application.ports.effect_ledger import ClaimedEffect
from application.ports.event_store import ExpectedSeqConflict, StreamPage
from application.process_managers import commands as commands_module
from application.process_managers.commands import (
    CausedCommand,
    CommandsUnavailable,
    ProcessManagerCommands,
    SentPage,
    to_send,
)
from application.process_managers.table import outcomes_of
from domain.event import Event
from domain.identifiers import run_stream, session_stream
from domain.operations.events import ProcessManagerCommandRefused
from domain.record import RecordedEvent
from domain.run import events as run
from domain.run.decide import decide as decide_run
from domain.run.evolve import evolve as evolve_run
from domain.run.values import Message, RunError, RunSpec
from domain.session import events as session
from domain.session.decide import decide as decide_session
from domain.session.evolve import evolve as evolve_session
from tests.support.async_run import run as run_async
from tests.support.log_in_memory import LogInMemory
from tests.support.sessions import RUNNING
from tests.support.specification import T0, occurrence


class OutOfReach(Exception):
    """The log can't be reached."""


class Log(LogInMemory):
    """Counts reads; `errors` are raised by the next appends to a stream; appends to `held` ones wait for `release`."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.errors: dict[str, list[Exception]] = {}
        self.held: set[str] = set()
        self.release = asyncio.Event()

    async def append(self, stream: str, expected_seq: int, events: Any) -> Any:
        if self.errors.get(stream):
            raise self.errors[stream].pop(0)
        if stream in self.held:
            await self.release.wait()
        return await super().append(stream, expected_seq, events)

    async def read_page(self, stream: str, **limits: Any) -> StreamPage:
        self.reads += 1
        return await super().read_page(stream, **limits)

    async def record(self, stream: str, *events: Event) -> RecordedEvent:
        """Append events as they are; the last of them."""
        seq = len(self.of(stream))
        new = [occurrence(event, event_id=f"{stream}/{seq + index}") for index, event in enumerate(events)]
        await super().append(stream, seq, new)
        return self.events[-1]

    def types(self, stream: str) -> list[str]:
        return [event.event.wire_name for event in self.of(stream)]


class Scene:
    """Runs r1, r2 … of sessions s1, s2 …, whose workers run."""

    def __init__(self, log: Log | None = None) -> None:
        self.log = log or Log()
        clock = lambda: T0  # noqa: E731
        self.runs: Any = Aggregates(
            store=self.log, clock=clock, stream_of=run_stream, decide=decide_run, evolve=evolve_run
        )
        self.sessions: Any = Aggregates(
            store=self.log, clock=clock, stream_of=session_stream, decide=decide_session, evolve=evolve_session
        )
        self.commands = ProcessManagerCommands(
            runs=self.runs, sessions=self.sessions, store=self.log, clock=clock, unavailable=(OutOfReach,)
        )

    async def queued(self, run_id: str, session_id: str, *, running: bool = True) -> None:
        if running and not self.log.of(session_stream(session_id)):
            await self.log.record(session_stream(session_id), *RUNNING)
        spec = RunSpec(
            session_id=session_id,
            user_login_name="ann",
            provider="scripted",
            messages=(Message(role="user", content="x"),),
        )
        await self.log.record(run_stream(run_id), run.RunQueued(spec=spec))

    async def attached(self, run_id: str, session_id: str) -> None:
        attached = session.SessionRunAttached(generation=1, attached_run_id=run_id)
        await self.log.record(session_stream(session_id), attached)

    async def happens(self, run_id: str, event: Event) -> list[CausedCommand]:
        """The commands that an event of a run leads to."""
        recorded = await self.log.record(run_stream(run_id), event)
        return commands_of([recorded])

    async def send(self, *caused: CausedCommand) -> Any:
        return await self.commands.send_page("run_life", caused)


def commands_of(events: Sequence[RecordedEvent]) -> list[CausedCommand]:
    page = [(event, outcome) for event in events for outcome in outcomes_of(event)]
    return to_send(page, page)


STOPPED = run.MessageStopped()
FINISHED = run.RunFinished(outcome="succeeded", exported=True)
RETRY = run.RunRetryScheduled(attempt=1, error=RunError(error_class="network", message="m"), available_at=T0)


def test_message_stop_requests_a_sync_of_its_session_once_however_often_it_is_sent() -> None:
    async def scenario() -> list[RecordedEvent]:
        scene = Scene()
        await scene.queued("r1", "s1")
        caused = await scene.happens("r1", STOPPED)
        assert await scene.send(*caused) == SentPage()
        assert await scene.send(*caused) == SentPage()
        another_process = Scene(scene.log)
        assert await another_process.send(*caused) == SentPage()
        return scene.log.of("session:s1")[len(RUNNING) :]

    (requested,) = run_async(scenario())

    assert requested.event == session.SyncRequested(
        generation=1, sync_id="run:r1/2", reason="message.stop", for_run_id="r1"
    )
    assert (requested.event_id, requested.metadata.causation_id) == (
        "session.request_sync/run:r1/2:requested",
        "run:r1/2",
    )


def test_a_finished_run_is_detached_and_one_that_is_detached_costs_neither_append_nor_read() -> None:
    async def scenario() -> tuple[list[str], int, int]:
        scene = Scene()
        await scene.queued("r1", "s1")
        await scene.attached("r1", "s1")
        caused = await scene.happens("r1", FINISHED)
        assert await scene.send(*caused) == SentPage()
        events, reads = len(scene.log.events), scene.log.reads
        assert await scene.send(*caused) == SentPage()
        return scene.log.types("session:s1")[-2:], len(scene.log.events) - events, scene.log.reads - reads

    types, appended, read = run_async(scenario())

    assert types == ["session.run_attached", "session.run_detached"]
    assert (appended, read) == (0, 0)


def test_a_detachment_that_the_same_page_shows_done_is_not_sent() -> None:
    async def scenario() -> list[RecordedEvent]:
        log = Log()
        await log.record("run:r1", FINISHED)
        await log.record("run:r2", FINISHED)
        await log.record("session:s1", session.SessionRunDetached(generation=1, detached_run_id="r1"))
        await log.record("run:r1", RETRY)
        return log.events

    commands = commands_of(run_async(scenario()))

    assert [command.command_id for _, command in commands] == [
        "session.detach_run/run:r2/1:detached",
        "session.detach_run/run:r1/2:detached",
    ]


def test_a_run_that_is_under_way_again_is_not_detached_for_its_attempt_before() -> None:
    """A process that led the process managers sends what another one has long dealt with."""

    async def scenario() -> list[str]:
        scene = Scene()
        await scene.queued("r1", "s1")
        await scene.log.record("run:r1", run.RunClaimed(lease_generation=1, owner="w", attempt=1))
        late = await scene.happens("r1", RETRY)
        await scene.log.record("run:r1", run.RunClaimed(lease_generation=2, owner="w", attempt=2))
        await scene.attached("r1", "s1")
        assert await scene.send(*late) == SentPage()
        return scene.log.types("session:s1")

    assert run_async(scenario())[-1] == "session.run_attached"


def test_a_refusal_is_recorded_once_and_counts_as_done() -> None:
    async def scenario() -> list[RecordedEvent]:
        scene = Scene()
        await scene.queued("r1", "nowhere", running=False)
        caused = await scene.happens("r1", STOPPED)
        more = await scene.happens("r1", STOPPED)
        assert await scene.send(*caused) == SentPage()
        assert await scene.send(*caused, *more) == SentPage()
        return scene.log.of("refused_commands:run_life")

    first, second = run_async(scenario())

    assert first.event == ProcessManagerCommandRefused(
        at_position=2,
        command_id="session.request_sync/run:r1/2:requested",
        refused_by="session:nowhere",
        error="no session worker is known under this id; activate it first",
    )
    assert (first.metadata.causation_id, first.metadata.actor) == ("run:r1/2", "process-managers")
    assert isinstance(second.event, ProcessManagerCommandRefused)
    assert second.event.at_position == 3


def test_a_run_of_an_unknown_session_has_nothing_to_be_detached_from() -> None:
    async def scenario() -> list[str]:
        scene = Scene()
        await scene.queued("r1", "nowhere", running=False)
        assert await scene.send(*await scene.happens("r1", FINISHED)) == SentPage()
        return [event.stream for event in scene.log.events]

    assert run_async(scenario()) == ["run:r1", "run:r1"]


def test_a_slow_session_holds_back_its_own_commands_alone() -> None:
    async def scenario() -> None:
        scene = Scene()
        await scene.queued("r1", "s1")
        await scene.queued("r2", "s2")
        caused = [
            *await scene.happens("r1", STOPPED),
            *await scene.happens("r1", STOPPED),
            *await scene.happens("r2", STOPPED),
            *await scene.happens("r2", STOPPED),
        ]
        scene.log.held.add("session:s1")
        sending = asyncio.create_task(scene.send(*caused))
        assert await scene.log.wait_for_stream("session:s2", len(RUNNING) + 1, 10) == len(RUNNING) + 2
        assert len(scene.log.of("session:s1")) == len(RUNNING)
        scene.log.release.set()
        assert await sending == SentPage()
        syncs = [event.event.sync_id for event in scene.log.of("session:s1")[len(RUNNING) :]]  # type: ignore[attr-defined]
        assert syncs == ["run:r1/2", "run:r1/3"]

    run_async(scenario())


def test_a_session_that_does_not_answer_leaves_its_commands_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands_module, "ANSWER_S", 0.05)

    async def scenario() -> tuple[list[int], list[int]]:
        scene = Scene()
        await scene.queued("r1", "s1")
        await scene.queued("r2", "s2")
        slow = [*await scene.happens("r1", STOPPED), *await scene.happens("r1", STOPPED)]
        caused = [*slow, *await scene.happens("r2", STOPPED)]
        scene.log.held.add("session:s1")
        sent = await scene.send(*caused)
        assert (sent.failed, [(each.event, each.command) for each in sent.unanswered]) == (None, slow)
        more = [*await scene.happens("r1", STOPPED), *await scene.happens("r2", STOPPED)]
        scene.log.release.set()
        behind = await scene.commands.send_page("run_life", more, waiting={"s1"})
        before = [len(scene.log.of(f"session:{name}")) - len(RUNNING) for name in ("s1", "s2")]
        for each in (*sent.unanswered, *behind.unanswered):
            await scene.commands.deliver("run_life", each)
        return before, [event.event.sync_id for event in scene.log.of("session:s1")[len(RUNNING) :]]  # type: ignore[attr-defined]

    assert run_async(scenario()) == ([0, 2], ["run:r1/2", "run:r1/3", "run:r1/4"])


def test_a_session_that_others_write_to_all_the_time_leaves_its_command_behind() -> None:
    async def scenario() -> tuple[list[str], int]:
        scene = Scene()
        await scene.queued("r1", "s1")
        caused = await scene.happens("r1", STOPPED)
        scene.log.errors["session:s1"] = [ExpectedSeqConflict("session:s1", 1, 2) for _ in range(MAX_RACES)]
        sent = await scene.send(*caused)
        return [each.session_id for each in sent.unanswered], len(scene.log.of("session:s1")) - len(RUNNING)

    assert run_async(scenario()) == (["s1"], 0)


def test_an_outage_is_told_and_the_page_may_be_sent_again() -> None:
    async def scenario() -> list[str]:
        scene = Scene()
        await scene.queued("r1", "s1")
        await scene.queued("r2", "s2")
        caused = [*await scene.happens("r1", STOPPED), *await scene.happens("r2", STOPPED)]
        scene.log.errors["session:s1"] = [OutOfReach("the log is away")]
        with pytest.raises(CommandsUnavailable, match="the log is away"):
            await scene.send(*caused)
        assert await scene.send(*caused) == SentPage()
        return [scene.log.types(f"session:{name}")[-1] for name in ("s1", "s2")]

    assert run_async(scenario()) == ["session.sync_requested"] * 2


def test_an_unexpected_failure_names_its_event_and_stops_the_commands_of_its_session() -> None:
    async def scenario() -> tuple[int, list[int]]:
        scene = Scene()
        await scene.queued("r1", "s1")
        await scene.queued("r2", "s2")
        caused = [
            *await scene.happens("r1", STOPPED),
            *await scene.happens("r1", STOPPED),
            *await scene.happens("r2", STOPPED),
        ]
        scene.log.errors["session:s1"] = [ZeroDivisionError("not today")]
        failed = (await scene.send(*caused)).failed
        assert isinstance(failed.error, ZeroDivisionError)
        sent = [len(scene.log.of(f"session:{name}")) - len(RUNNING) for name in ("s1", "s2")]
        return failed.event.position - caused[0][0].position, sent

    assert run_async(scenario()) == (0, [0, 1])


def test_a_row_of_a_former_kind_is_carried_out_by_the_same_command() -> None:
    """An older process may have led the process managers, and have died before its row was worked."""

    async def scenario() -> list[RecordedEvent]:
        scene = Scene()
        await scene.queued("r1", "s1")
        await scene.attached("r1", "s1")
        sync = await scene.happens("r1", STOPPED)
        await scene.happens("r1", FINISHED)
        handler = SendCommand(scene.commands)
        await handler.perform(row("session.request_sync/run:r1/2", syncId="run:r1/2"))
        await handler.perform(row("session.detach_run/run:r1/3"))
        assert await scene.send(*sync) == SentPage()  # it changes nothing that a newer process has sent it too
        return scene.log.of("session:s1")[len(RUNNING) + 1 :]

    requested, detached = run_async(scenario())

    assert requested.event_id == "session.request_sync/run:r1/2:requested"
    assert requested.metadata.causation_id == "session.request_sync/run:r1/2"
    assert detached.event == session.SessionRunDetached(generation=1, detached_run_id="r1")


def test_a_row_of_a_former_kind_that_is_refused_is_obsolete() -> None:
    async def scenario() -> None:
        scene = Scene()
        await scene.queued("r1", "nowhere", running=False)
        with pytest.raises(EffectObsolete):
            await SendCommand(scene.commands).perform(row("session.request_sync/run:r1/2", syncId="run:r1/2"))

    run_async(scenario())


def row(effect_id: str, **params: str) -> ClaimedEffect:
    kind: Any = effect_id.partition("/")[0]
    return ClaimedEffect(
        effect_id=effect_id,
        kind=kind,
        params={"runId": "r1", **params},
        attempt=1,
        last_attempt=False,
        actor="ada",
        correlation_id="c",
        causation_id="e",
    )
