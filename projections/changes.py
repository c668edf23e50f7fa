"""The differences of two JSON documents, field by field and as JSON Patch (RFC 6902). Pure."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from projections.projection import View


class Change(View, frozen=True, kw_only=True):
    """`path`: a JSON Pointer (RFC 6901). `before` is null for an added value, `after` for a removed one."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """The changes from one JSON value to another, in an order in which a patch can apply them. Lists are compared by
    index; elements missing at the end are removed from the last one down."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            place = f"{path}/{pointer_part(key)}"
            if key not in after:
                yield Change(path=place, kind="removed", before=before[key])
            elif key not in before:
                yield Change(path=place, kind="added", after=after[key])
            else:
                yield from changes(before[key], after[key], place)
    elif isinstance(before, list) and isinstance(after, list):
        for index, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from changes(one, other, f"{path}/{index}")
        for index in range(len(before) - 1, len(after) - 1, -1):
            yield Change(path=f"{path}/{index}", kind="removed", before=before[index])
        for index in range(len(before), len(after)):
            yield Change(path=f"{path}/{index}", kind="added", after=after[index])
    elif before != after or type(before) is not type(after):  # in Python False == 0
        yield Change(path=path, kind="changed", before=before, after=after)


def pointer_part(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


class PatchOperation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation of RFC 6902. `remove` has no `value`."""

    op: Literal["add", "remove", "replace"]
    path: str
    value: Any = msgspec.UNSET


def patch_of(change: Change) -> PatchOperation:
    match change.kind:
        case "added":
            return PatchOperation(op="add", path=change.path, value=change.after)
        case "removed":
            return PatchOperation(op="remove", path=change.path)
        case "changed":
            return PatchOperation(op="replace", path=change.path, value=change.after)


def concerns(changed_path: str, path: str) -> bool:
    """Whether a change at one path changes the value at another: the same path, one above it or one below it."""
    return changed_path == path or changed_path.startswith(f"{path}/") or path.startswith(f"{changed_path}/")
