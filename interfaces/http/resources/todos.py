"""A run's todo list, and the history of its changes."""

from msgspec.structs import replace

from interfaces.http.compatibility.views import TodoChange, todo_change
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.queries import AsOfQuery, Limit, Number, PageLimit
from interfaces.http.resources.reading import as_of, caught_up, found, shown_as
from projections.ports import TodoHistory, TodoList
from projections.todos import TODOS


class TodosQuery(AsOfQuery, frozen=True, kw_only=True):
    """`limit`: of items; `total` counts all of them."""

    limit: Limit | None = None


class TodoListRead(TodoList, frozen=True, kw_only=True):
    """`total`: the number of all items. `items`: sorted by `order`, then by first appearance. `leftOut`: how many items
    of the agent's list, and changes since, found no room."""

    as_of_position: int


class TodoHistoryRead(TodoHistory, frozen=True, kw_only=True):
    """`total`: the number of all changes. Oldest first; pass the last seq as `?after=` for the next page."""

    events: tuple[TodoChange, ...]
    as_of_position: int


class ChangesQuery(AsOfQuery, frozen=True, kw_only=True):
    """`after`: the seq of the last change seen."""

    after: Number = 0
    limit: PageLimit = 500


async def list_todos(call: ApiCall[None, TodosQuery]) -> JsonAnswer:
    run_id = call.path["runId"]
    await caught_up(call, TODOS.name)
    read = await call.deps.reads.todos(run_id, at=as_of(call.query))
    todos = found(read.value, f"no run {run_id!r} is known")
    shown = replace(todos, items=todos.items[: call.query.limit])
    return JsonAnswer(shown_as(TodoListRead, shown, read.as_of_position))


async def list_changes(call: ApiCall[None, ChangesQuery]) -> JsonAnswer:
    run_id = call.path["runId"]
    await caught_up(call, TODOS.name)
    query = call.query
    at = as_of(query)
    read = await call.deps.reads.todo_history(run_id, after_seq=query.after, limit=query.limit, at=at)
    history = found(read.value, f"no run {run_id!r} is known")
    events = tuple(map(todo_change, history.events))
    return JsonAnswer(
        TodoHistoryRead(run_id=run_id, total=history.total, events=events, as_of_position=read.as_of_position)
    )


ENDPOINTS = (
    Endpoint(
        name="listTodos",
        method="GET",
        path="/api/runs/{runId}/todos",
        handler=list_todos,
        tag="todos",
        summary="The run's todo list, now or as it was",
        query=TodosQuery,
        answers={200: TodoListRead},
        errors=(404,),
    ),
    Endpoint(
        name="listTodoChanges",
        method="GET",
        path="/api/runs/{runId}/todos/events",
        handler=list_changes,
        tag="todos",
        summary="The changes of the run's todo list, all or up to a point in time",
        query=ChangesQuery,
        answers={200: TodoHistoryRead},
        errors=(404,),
    ),
)
