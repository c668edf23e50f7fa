"""A run's todo list, and the history of its changes."""

from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.queries import AsOfQuery, Number, PageLimit
from interfaces.http.resources.reading import as_of, caught_up, found, shown_as
from projections.ports import TodoHistory, TodoList
from projections.todos import TODOS


class TodoListRead(TodoList, frozen=True, kw_only=True):
    """`items` sorted by `order`, then by first appearance. `leftOut`: how many items of the agent's list, and changes
    since, found no room; 0: `items` is all of it."""

    as_of_position: int


class TodoHistoryRead(TodoHistory, frozen=True, kw_only=True):
    """Oldest first; pass the last seq as `?after=` for the next page."""

    as_of_position: int


class ChangesQuery(AsOfQuery, frozen=True, kw_only=True):
    """`after`: the seq of the last change seen."""

    after: Number = 0
    limit: PageLimit = 500


async def list_todos(call: ApiCall[None, AsOfQuery]) -> JsonAnswer:
    run_id = call.path["runId"]
    await caught_up(call, TODOS.name)
    read = await call.deps.reads.todos(run_id, at=as_of(call.query))
    return JsonAnswer(shown_as(TodoListRead, found(read.value, f"no run {run_id!r} is known"), read.as_of_position))


async def list_changes(call: ApiCall[None, ChangesQuery]) -> JsonAnswer:
    run_id = call.path["runId"]
    await caught_up(call, TODOS.name)
    query = call.query
    at = as_of(query)
    read = await call.deps.reads.todo_history(run_id, after_seq=query.after, limit=query.limit, at=at)
    return JsonAnswer(shown_as(TodoHistoryRead, found(read.value, f"no run {run_id!r} is known"), read.as_of_position))


ENDPOINTS = (
    Endpoint(
        name="listTodos",
        method="GET",
        path="/api/runs/{runId}/todos",
        handler=list_todos,
        tag="todos",
        summary="The run's todo list, now or as it was",
        query=AsOfQuery,
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
