"""The current todo list of each run. The history of its changes is read from the log: `todo.update`,
`todo.snapshot`."""

from datetime import datetime

from msgspec.structs import replace

from domain.record import RecordedEvent
from domain.run import events as e
from domain.run.values import Todo, TodoStatus
from projections.projection import Column, Projection, RowStruct, View, id_of_stream

MAX_ITEMS = 10_000
"""Of a list that was recorded before runs had a quota of todos: each change copies the whole list."""


class TodoRow(RowStruct, frozen=True, kw_only=True):
    """`items`: in the order of their first appearance. `left_out`: of the list's last snapshot, and of its changes
    since, how many found no room."""

    run_id: str
    items: tuple[Todo, ...]
    left_out: int = 0


class TodoView(View, frozen=True, kw_only=True):
    todo_id: str
    content: str
    status: TodoStatus
    order: int
    updated_at: datetime | None


class TodoChange(View, frozen=True, kw_only=True):
    """One event of the history: `todo`, if one item changed, or `todos`, if the whole list was replaced. `leftOut`: how
    many items found no room in the list."""

    seq: int
    position: int
    event_id: str
    type: str
    ts: datetime
    todo: TodoView | None = None
    todos: tuple[TodoView, ...] | None = None
    left_out: int = 0


def fold(row: TodoRow | None, recorded: RecordedEvent) -> TodoRow | None:
    event = recorded.event
    row = row or TodoRow(run_id=id_of_stream(recorded), items=())
    match event:
        case e.TodoUpdated(left_out=True):
            return replace(row, left_out=row.left_out + 1)
        case e.TodoUpdated(todo=todo):
            return _put(row, _dated(todo, recorded.occurred_at))
        case e.TodosReplaced(todos=todos, left_out=left_out):
            items = {todo.todo_id: _dated(todo, recorded.occurred_at) for todo in todos}
            return TodoRow(run_id=row.run_id, items=tuple(items.values()), left_out=left_out)
        case _:
            return row


def _put(row: TodoRow, todo: Todo) -> TodoRow:
    items = row.items
    place = next((index for index, item in enumerate(items) if item.todo_id == todo.todo_id), len(items))
    if place == MAX_ITEMS:
        return replace(row, left_out=row.left_out + 1)
    return replace(row, items=(*items[:place], todo, *items[place + 1 :]))


def _dated(todo: Todo, at: datetime) -> Todo:
    """The item; without an `updated_at` of its own it gets the time of its event."""
    if todo.updated_at is not None:
        return todo
    return Todo(todo_id=todo.todo_id, content=todo.content, status=todo.status, order=todo.order, updated_at=at)


def columns(_row: TodoRow) -> tuple[Column, ...]:
    return ()


def view(row: TodoRow | None) -> tuple[TodoView, ...]:
    """The list for the API, by `order`, then by first appearance; empty for None, a run without todos."""
    items = row.items if row else ()
    return tuple(_item(item) for item in sorted(items, key=lambda item: item.order))


def change(recorded: RecordedEvent) -> TodoChange:
    """The view of a `todo.update` or `todo.snapshot` event."""
    event = recorded.event
    return TodoChange(
        seq=recorded.seq,
        position=recorded.position,
        event_id=recorded.event_id,
        type=event.wire_name,
        ts=recorded.occurred_at,
        todo=_item(_dated(event.todo, recorded.occurred_at)) if isinstance(event, e.TodoUpdated) else None,
        todos=tuple(_item(_dated(todo, recorded.occurred_at)) for todo in event.todos)
        if isinstance(event, e.TodosReplaced)
        else None,
        left_out=int(event.left_out) if isinstance(event, e.TodoUpdated | e.TodosReplaced) else 0,
    )


def _item(todo: Todo) -> TodoView:
    return TodoView(
        todo_id=todo.todo_id,
        content=todo.content,
        status=todo.status,
        order=todo.order,
        updated_at=todo.updated_at,
    )


TODOS: Projection[TodoRow] = Projection(
    name="todos",
    version=2,
    row_type=TodoRow,
    events=[e.TodoUpdated, e.TodosReplaced],
    key=id_of_stream,
    fold=fold,
    columns=columns,
    row_per_stream=True,
)
