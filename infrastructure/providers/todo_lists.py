"""Todo lists of CLIs that give their items no ids: an item is known again by its words."""

import hashlib
from collections.abc import Iterable

from domain.run.events import TodosReplaced
from domain.run.values import Todo, TodoStatus

_STATUS: dict[str, TodoStatus] = {
    "pending": "todo",
    "in_progress": "doing",
    "inProgress": "doing",
    "completed": "done",
    "cancelled": "canceled",
    "canceled": "canceled",
}


def snapshot(items: Iterable[tuple[str, str]]) -> TodosReplaced:
    """The list from (content, the CLI's word for its status), in order. Equal contents are numbered."""
    seen: dict[str, int] = {}
    todos = []
    for order, (content, status) in enumerate(items):
        seen[content] = seen.get(content, 0) + 1
        digest = hashlib.sha256(f"{content}\0{seen[content]}".encode()).hexdigest()[:12]
        todos.append(Todo(todo_id=digest, content=content, status=_STATUS.get(status, "todo"), order=order))
    return TodosReplaced(todos=tuple(todos))
