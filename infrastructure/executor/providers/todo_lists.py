"""Todo lists of CLIs whose items have no ids: the id is a hash of the item's content."""

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
    """The list from pairs (content, the CLI's status), in order. Equal contents get different ids by their number."""
    seen: dict[str, int] = {}
    todos = []
    for order, (content, status) in enumerate(items):
        seen[content] = seen.get(content, 0) + 1
        digest = hashlib.sha256(f"{content}\0{seen[content]}".encode()).hexdigest()[:12]
        todos.append(Todo(todo_id=digest, content=content, status=_STATUS.get(status, "todo"), order=order))
    return TodosReplaced(todos=tuple(todos))
