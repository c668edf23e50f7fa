"""The current todo list of each run. The history of its changes is read from the log: `todo.update`,
`todo.snapshot`."""

from datetime import datetime

from domain.record import RecordedEvent
from domain.run import events as e
from domain.run.values import Todo, TodoStatus
from projections.projection import Column, Projection, RowStruct, View, id_of_stream


class TodoRow(RowStruct, frozen=True, kw_only=True):
    """`items`: in the order of their first appearance."""

    run_id: str
    items: tuple[Todo, ...]


class TodoView(View, frozen=True, kw_only=True):
    todo_id: str
    content: str
    status: TodoStatus
    order: int
    updated_at: datetime | None


class TodoChange(View, frozen=True, kw_only=True):
    """One event of the history: `todo`, if one item changed, or `todos`, if the whole list was replaced."""

    seq: int
    position: int
    type: str
    ts: datetime
    todo: TodoView | None = None
    todos: tuple[TodoView, ...] | None = None


def fold(row: TodoRow | None, recorded: RecordedEvent) -> TodoRow | None:
    event = recorded.event
    items = row.items if row else ()
    match event:
        case e.TodoUpdated(todo=todo):
            items = _put(items, _dated(todo, recorded.occurred_at))
        case e.TodosReplaced(todos=todos):
            items = tuple({todo.todo_id: _dated(todo, recorded.occurred_at) for todo in todos}.values())
        case _:
            return row
    return TodoRow(run_id=id_of_stream(recorded), items=items)


def _put(items: tuple[Todo, ...], todo: Todo) -> tuple[Todo, ...]:
    place = next((index for index, item in enumerate(items) if item.todo_id == todo.todo_id), len(items))
    return (*items[:place], todo, *items[place + 1 :])


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
        type=event.wire_name,
        ts=recorded.occurred_at,
        todo=_item(_dated(event.todo, recorded.occurred_at)) if isinstance(event, e.TodoUpdated) else None,
        todos=tuple(_item(_dated(todo, recorded.occurred_at)) for todo in event.todos)
        if isinstance(event, e.TodosReplaced)
        else None,
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
    version=1,
    row_type=TodoRow,
    events=[e.TodoUpdated, e.TodosReplaced],
    key=id_of_stream,
    fold=fold,
    columns=columns,
    row_per_stream=True,
)
