"""Histories of sessions and their runs, as a busy installation writes them: for tests and benchmarks of projections."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from application.ports.event_store import EventStore
from domain.event import Event
from domain.identifiers import run_stream, session_stream
from domain.record import NewEvent
from domain.run import events as r
from domain.run.values import Message, Option, RunError, RunOutcome, RunSpec, Todo, Usage, Warn
from domain.session import events as s
from domain.workspace.plan import build_restore_plan
from domain.workspace.sync import SyncRef
from tests.support.recorded import new_event

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
WORDS = ("the", "agent", "reads", "a", "file,", "thinks", "about", "it,", "and", "writes", "a", "better", "one")


class Clock:
    """A clock of its own, so that the same seed always makes the same history."""

    def __init__(self) -> None:
        self.now = EPOCH

    def tick(self, milliseconds: int = 40) -> datetime:
        self.now += timedelta(milliseconds=milliseconds)
        return self.now


def sync_ref(number: int) -> SyncRef:
    return SyncRef(manifest_key=f"manifests/1-{number}.json", manifest_hash=f"{number:064x}")


def spec(number: int, session_id: str, **changed: Any) -> RunSpec:
    fields: dict[str, Any] = {
        "session_id": session_id,
        "app_id": f"app-{number % 5}",
        "project_name": f"project-{number % 7}",
        "user_login_name": f"user-{number % 11}",
        "provider": ("scripted", "codex-cli", "claude-code")[number % 3],
        "model": f"model-{number % 4}",
        "messages": (Message(role="user", content="please do it"),),
        **changed,
    }
    return RunSpec(**fields)


def session_opening(number: int, session_id: str) -> list[Event]:
    app, project, user = f"app-{number % 5}", f"project-{number % 7}", f"user-{number % 11}"
    prefix = f"app/{app}/project/{project}/{user}/session/{session_id}/workspace"
    plan = build_restore_plan(
        app_id=app, project_name=project, user_login_name=user, session_prefix=prefix, manifest=None, session_sync=None
    )
    return [
        s.ActivationRequested(
            generation=1,
            kind="create",
            app_id=app,
            project_name=project,
            user_login_name=user,
            workspace_prefix=prefix,
            plan=plan,
        ),
        s.ContainerCreated(generation=1, container_id=f"c-{session_id}", runtime="process", daemon_id="local"),
        s.ContainerStarted(generation=1, boot_id=f"b-{session_id}", url="http://127.0.0.1:9"),
        s.WorkspaceRestored(generation=1, files=3, bytes=300),
        s.AgentDataLinked(generation=1, linked=("codex", "claude")),
        s.WorkspaceValidated(generation=1),
        s.SessionActivated(generation=1, action="created_and_started"),
    ]


def run_events(number: int, session_id: str, random_: random.Random) -> list[Event]:
    """One run from its start to its end, about 60 events, a third of them deltas."""
    outcomes: tuple[RunOutcome, ...] = ("succeeded", "succeeded", "succeeded", "failed", "canceled")
    outcome = outcomes[number % 5]
    lease = 1
    events: list[Event] = [
        r.RunQueued(spec=spec(number, session_id)),
        r.RunClaimed(lease_generation=lease, owner="worker-1", attempt=1),
        *(r.RunPhaseEntered(lease_generation=lease, phase=phase) for phase in ("restoring", "linking", "preparing")),
        r.RunStarted(lease_generation=lease, attempt=1, generation=1, boot_id=f"b-{session_id}"),
    ]
    if number % 6 == 0:
        warning = Warn(code="resume_unsupported", message="a new conversation begins")
        events.append(r.RunWarning(lease_generation=lease, warning=warning))
    for step in range(8):
        thoughts, pieces = random_.randint(0, 2), random_.randint(1, 3)
        events += [r.ReasoningDelta(lease_generation=lease, text=_words(random_)) for _ in range(thoughts)]
        events += [r.MessageDelta(lease_generation=lease, text=_words(random_)) for _ in range(pieces)]
        tool_id = f"t{step}"
        events.append(
            r.ToolStarted(lease_generation=lease, tool_id=tool_id, name="shell", input={"command": "pytest -q"})
        )
        events.append(
            r.ToolEnded(lease_generation=lease, tool_id=tool_id, output={"text": "3 passed"}, ok=random_.random() < 0.9)
        )
        if step == 0:
            todos = tuple(Todo(todo_id=f"d{n}", content=f"step {n}", order=n) for n in range(4))
            events.append(r.TodosReplaced(lease_generation=lease, todos=todos))
        elif step % 2:
            todo = Todo(todo_id=f"d{step // 2}", content=f"step {step // 2}", status="done", order=step // 2)
            events.append(r.TodoUpdated(lease_generation=lease, todo=todo))
        if step in {3, 7}:
            events.append(r.MessageStopped(lease_generation=lease))
        if step == 5 and number % 4 == 0:
            question = f"q-{number}"
            events += [
                r.HumanLoopRequested(
                    lease_generation=lease,
                    question_id=question,
                    prompt="which one?",
                    options=(Option(label="a"), Option(label="b")),
                    timeout_ms=3_600_000,
                ),
                r.HumanLoopReplyAccepted(question_id=question, answer="a"),
                r.HumanLoopResolved(lease_generation=lease, question_id=question, answer="a"),
            ]
    usage = Usage(input_tokens=1000 + number, output_tokens=50, cached_input_tokens=number or None, cost_usd=0.01)
    error = RunError(error_class="cli_crashed", message="exit 1") if outcome == "failed" else None
    events += [
        r.RunAgentFinished(lease_generation=lease, outcome=outcome, error=error, usage=usage),
        r.RunSyncing(lease_generation=lease, sync_id=f"sync-{number}"),
        r.RunExported(lease_generation=lease, sync=sync_ref(number)),
        r.RunFinished(lease_generation=lease, outcome=outcome, exported=True, error=error, usage=usage),
    ]
    return events


def _words(random_: random.Random) -> str:
    return " ".join(random_.choices(WORDS, k=8)) + " "


def session_events_of_run(number: int, run_id: str) -> tuple[list[Event], list[Event]]:
    """What the session's stream says before and after a run."""
    before: list[Event] = [s.SessionTouched(generation=1), s.SessionRunAttached(generation=1, attached_run_id=run_id)]
    after: list[Event] = [
        s.SyncRequested(generation=1, sync_id=f"sync-{number}", reason="run.finished", for_run_id=run_id),
        s.SessionSynced(
            generation=1, sync_id=f"sync-{number}", reason="run.finished", sync=sync_ref(number), files=3, bytes=300
        ),
        s.SessionRunDetached(generation=1, detached_run_id=run_id),
    ]
    return before, after


def session_closing(number: int) -> list[Event]:
    gate = f"gate-{number}"
    return [
        s.StopRequested(generation=1, reason="idle", sync_id=gate),
        s.SessionSynced(generation=1, sync_id=gate, reason="pre.stop", sync=sync_ref(number), unchanged=True),
        s.SessionStopping(generation=1, reason="idle"),
        s.SessionStopped(generation=1, reason="idle"),
    ]


Batch = tuple[str, list[NewEvent]]


def mixed_history(*, sessions: int, runs_each: int = 3, seed: int = 1, prefix: str = "") -> Iterator[Batch]:
    """(stream, events) in an order in which they may be appended: `sessions` at once, interleaved at random."""
    random_, clock = random.Random(seed), Clock()
    lanes = [_session_lane(number, runs_each, random_, clock, prefix) for number in range(sessions)]
    open_lanes = lanes[:20]
    waiting = lanes[20:]
    while open_lanes:
        lane = random_.choice(open_lanes)
        batch = next(lane, None)
        if batch is not None:
            yield batch
            continue
        open_lanes.remove(lane)
        if waiting:
            open_lanes.append(waiting.pop(0))


def _session_lane(number: int, runs_each: int, random_: random.Random, clock: Clock, prefix: str) -> Iterator[Batch]:
    session_id = f"{prefix}session-{number}"
    session = _Stream(session_stream(session_id), clock)
    yield session.batch(session_opening(number, session_id))
    for index in range(runs_each):
        run_number = number * runs_each + index
        run_id = f"{prefix}run-{run_number}"
        before, after = session_events_of_run(run_number, run_id)
        yield session.batch(before)
        run = _Stream(run_stream(run_id), clock)
        events = run_events(run_number, session_id, random_)
        while events:
            size = random_.randint(1, 6)
            yield run.batch(events[:size])
            events = events[size:]
        yield session.batch(after)
    if number % 2:
        yield session.batch(session_closing(number))


class _Stream:
    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self._clock, self._seq = name, clock, 0

    def batch(self, events: list[Event]) -> Batch:
        new = []
        for event in events:
            self._seq += 1
            new.append(new_event(event, f"{self.name}/{self._seq}", self._clock.tick(), correlation_id=self.name))
        return self.name, new


async def append_all(store: EventStore, history: Iterator[Batch], ends: dict[str, int] | None = None) -> int:
    """Append a history, batch by batch; the last position. `ends` remembers the streams' seqs between calls."""
    ends = {} if ends is None else ends
    position = 0
    for stream, events in history:
        result = await store.append(stream, ends.get(stream, 0), events)
        ends[stream], position = result.last_seq, result.position
    return position
