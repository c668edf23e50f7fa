"""RFC 6902 for `add`, `remove` and `replace`, as its text says, to check patches by."""

import copy
from typing import Any


def patched(document: Any, operations: list[dict[str, Any]]) -> Any:
    """A copy of the document with the operations applied, one after the other."""
    result = copy.deepcopy(document)
    for operation in operations:
        if operation["path"] == "":
            assert operation["op"] in {"add", "replace"}
            result = copy.deepcopy(operation["value"])
            continue
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        target = result
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        _apply(target, int(last) if isinstance(target, list) and last != "-" else last, operation)
    return result


def _apply(target: Any, key: Any, operation: dict[str, Any]) -> None:
    match operation["op"]:
        case "add" if isinstance(target, list):
            assert key == "-" or 0 <= key <= len(target)
            target.insert(len(target) if key == "-" else key, operation["value"])
        case "add":
            target[key] = operation["value"]
        case "remove":
            del target[key]
        case "replace":
            assert key in target if isinstance(target, dict) else key < len(target)
            target[key] = operation["value"]
