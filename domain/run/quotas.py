"""How much one run may record, and what is recorded once it would be more.

A run that reaches a quota is aborted: `run.quota_exceeded` names the quota, and nothing more of its agent is recorded
but its end. A list of todos that would be too long is cut instead, and the run says so.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from domain.event import MAX_PAYLOAD_BYTES, Event, encode
from domain.record import Occurrence
from domain.run import events as e
from domain.run.evolve import evolve
from domain.run.state import Recorded, Run
from domain.run.values import Todo, Warn

MAX_QUESTIONS = 10_000
"""That one run asks in its life: its state remembers each."""
MAX_ID_BYTES = 1024
"""Of a question's id, which the run's state and the list of questions hold."""
MAX_ANSWER_BYTES = 16 * 1024
"""As JSON: of an open question's default answer, and of the end of a question that was not asked yet."""
MAX_EARLY_BYTES = 1024 * 1024
"""Of all such ends of a run: its state keeps them for the requests that they came before."""
MAX_TODO_BYTES = 256 * 1024
"""Of a run's list of todos: each change writes the whole list."""


class RunQuotas(msgspec.Struct, frozen=True, kw_only=True):
    """`events`, `bytes`: what agents and callbacks report, payloads as JSON."""

    events: int = 500_000
    bytes: int = 256 * 1024 * 1024
    todos: int = 1000
    open_questions: int = 100


def evolve_counting(state: Run | None, occurrence: Occurrence) -> Run | None:
    """`evolve`, and the count of what the run has recorded, which only decisions need."""
    before, event = state, occurrence.event
    state = evolve(state, occurrence)
    if state is None or type(event) not in e.AGENT_EVENTS:
        return state
    recorded = state.recorded
    match event:
        case e.TodosReplaced(todos=todos, left_out=left_out):
            recorded = replace(recorded, todos={_key(todo): _size(todo) for todo in todos}, todos_cut=left_out > 0)
        case e.TodoUpdated(left_out=True):
            recorded = replace(recorded, todos_cut=True)
        case e.TodoUpdated(todo=todo):
            recorded = replace(recorded, todos={**recorded.todos, _key(todo): _size(todo)})
        case e.HumanLoopRequested():
            recorded = replace(recorded, questions=recorded.questions + 1)
        case e.HumanLoopResolved() | e.HumanLoopCanceled() | e.HumanLoopExpired():
            if before is None or before.question(event.question_id) is None:
                early = recorded.early_bytes + _early_size(event)
                recorded = replace(recorded, questions=recorded.questions + 1, early_bytes=early)
    recorded = replace(recorded, events=recorded.events + 1, bytes=recorded.bytes + len(encode(event)))
    return replace(state, recorded=recorded)


def exceeded(state: Run, event: Event, quotas: RunQuotas) -> e.RunQuotaExceeded | None:
    """The quota that `event` would exceed, if any."""
    recorded = state.recorded
    if recorded.events >= quotas.events:
        return _exceeded("events_per_run", quotas.events, recorded.events + 1)
    nearly = recorded.bytes + MAX_PAYLOAD_BYTES > quotas.bytes
    if nearly and (size := recorded.bytes + len(encode(event))) > quotas.bytes:
        return _exceeded("bytes_per_run", quotas.bytes, size)
    match event:
        case e.HumanLoopRequested(question_id=key):
            if len(state.questions) >= quotas.open_questions:
                return _exceeded("open_questions_per_run", quotas.open_questions, len(state.questions) + 1)
            return _exceeded_by_question(state, key, "bytes_of_default_answer", event.default_answer)
        case e.HumanLoopResolved() | e.HumanLoopCanceled() | e.HumanLoopExpired():
            return _exceeded_by_early_end(state, event) if state.question(event.question_id) is None else None
        case _:
            return None


_End = e.HumanLoopResolved | e.HumanLoopCanceled | e.HumanLoopExpired


def _exceeded_by_early_end(state: Run, event: _End) -> e.RunQuotaExceeded | None:
    said = event.answer if isinstance(event, e.HumanLoopResolved) else event.reason
    over = _exceeded_by_question(state, event.question_id, "bytes_of_early_answer", said)
    size = state.recorded.early_bytes + _early_size(event)
    if over is None and size > MAX_EARLY_BYTES:
        return _exceeded("bytes_of_early_answers", MAX_EARLY_BYTES, size)
    return over


def _early_size(event: _End) -> int:
    return len(msgspec.json.encode(event.answer if isinstance(event, e.HumanLoopResolved) else event.reason))


def _exceeded_by_question(state: Run, question_id: str, of_value: str, value: Any) -> e.RunQuotaExceeded | None:
    """Of a question that the state will remember, with this value."""
    if state.recorded.questions >= MAX_QUESTIONS:
        return _exceeded("questions_per_run", MAX_QUESTIONS, state.recorded.questions + 1)
    if (size := len(question_id.encode())) > MAX_ID_BYTES:
        return _exceeded("bytes_of_question_id", MAX_ID_BYTES, size)
    size = len(msgspec.json.encode(value))
    return _exceeded(of_value, MAX_ANSWER_BYTES, size) if size > MAX_ANSWER_BYTES else None


def _exceeded(quota: str, limit: int, reached: int) -> e.RunQuotaExceeded:
    return e.RunQuotaExceeded(quota=quota, limit=limit, reached=reached)


def within_list(state: Run, event: Event, quotas: RunQuotas) -> Sequence[Event]:
    """`event`; a change of todos as far as the list has room for it, after a warning about what is left out."""
    match event:
        case e.TodosReplaced():
            return _snapshot(event, quotas)
        case e.TodoUpdated(todo=todo) if _has_room(state.recorded, todo, quotas):
            return (replace(event, left_out=False),)
        case e.TodoUpdated():
            update = replace(event, left_out=True)
            return (update,) if state.recorded.todos_cut else (_warning(event, 1, quotas), update)
        case _:
            return (event,)


def _snapshot(event: e.TodosReplaced, quotas: RunQuotas) -> Sequence[Event]:
    todos = {todo.todo_id: todo for todo in event.todos}
    kept: list[Todo] = []
    room = MAX_TODO_BYTES
    for todo in todos.values():
        room -= _size(todo)
        if room < 0 or len(kept) >= quotas.todos:
            break
        kept.append(todo)
    left_out = max(event.left_out, 0) + len(todos) - len(kept)
    if not left_out:
        return (event,)
    return (_warning(event, left_out, quotas), replace(event, todos=tuple(kept), left_out=left_out))


def _has_room(recorded: Recorded, todo: Todo, quotas: RunQuotas) -> bool:
    known = recorded.todos.get(_key(todo))
    if known is None and len(recorded.todos) >= quotas.todos:
        return False
    return sum(recorded.todos.values()) - (known or 0) + _size(todo) <= MAX_TODO_BYTES


def _warning(event: e.LeasedEvent, left_out: int, quotas: RunQuotas) -> e.RunWarning:
    message = (
        f"{left_out} {'todo is' if left_out == 1 else 'todos are'} left out of the run's list, which holds "
        f"{quotas.todos} (MAX_TODOS_PER_RUN) of {MAX_TODO_BYTES // 1024} KiB in all at most; the agent can report a "
        "shorter list"
    )
    return e.RunWarning(lease_generation=event.lease_generation, warning=Warn(code="todos_left_out", message=message))


def _key(todo: Todo) -> str:
    return todo.todo_id if len(todo.todo_id) <= 64 else hashlib.sha256(todo.todo_id.encode()).hexdigest()


def _size(todo: Todo) -> int:
    return len(msgspec.json.encode(todo))
