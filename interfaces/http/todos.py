"""A run's todo list, and the history of its changes."""

from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.history import as_of, todos_as_of
from interfaces.http.queries import AsOfQuery, ReadQuery
from interfaces.http.reading import found
from interfaces.http.views import View
from projections.todos import TodoChange, TodoView


class TodoList(View, frozen=True, kw_only=True):
    """`items` by `order`, ties by first appearance."""

    run_id: str
    total: int
    items: tuple[TodoView, ...]
    as_of_position: int


class TodoHistory(View, frozen=True, kw_only=True):
    """Every change, oldest first."""

    run_id: str
    total: int
    events: tuple[TodoChange, ...]
    as_of_position: int


async def list_todos(call: Call[None, AsOfQuery]) -> Answer:
    run_id, point = call.path["runId"], as_of(call.query)
    if point is not None:
        past = await todos_as_of(call.deps.store, run_id, point)
        items, position = past.value, past.as_of_position
    else:
        read = await call.deps.reads.todos(run_id, min_position=call.query.min_position)
        items, position = found(read.value, f"no run {run_id!r} is known"), read.as_of_position
    return Answer(TodoList(run_id=run_id, total=len(items), items=items, as_of_position=position))


async def list_changes(call: Call[None, ReadQuery]) -> Answer:
    run_id = call.path["runId"]
    read = await call.deps.reads.todo_changes(run_id, min_position=call.query.min_position)
    events = found(read.value, f"no run {run_id!r} is known")
    return Answer(TodoHistory(run_id=run_id, total=len(events), events=events, as_of_position=read.as_of_position))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/runs/{runId}/todos",
        handler=list_todos,
        tag="todos",
        summary="The run's todo list, now or as it was",
        query=AsOfQuery,
        answers={200: TodoList},
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path="/api/runs/{runId}/todos/events",
        handler=list_changes,
        tag="todos",
        summary="The history of the run's todo list",
        query=ReadQuery,
        answers={200: TodoHistory},
        errors=(404,),
    ),
)
