"""What differs between two documents: field by field, and as RFC 6902 JSON Patch. Pure."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from projections.projection import View


class Change(View, frozen=True, kw_only=True):
    """`path` is a JSON Pointer (RFC 6901); `before` is null for what was added, `after` for what was removed."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """From one JSON value to another; lists by index, those at the end that are gone in the order of their removal."""
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
    elif before != after or type(before) is not type(after):  # false is not 0, though Python finds them equal
        yield Change(path=path, kind="changed", before=before, after=after)


def pointer_part(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


class PatchOperation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation of RFC 6902; `value` is left out of a `remove`."""

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
    """Whether a change at one place is one of the value at another: the same place, above it or below it."""
    return changed_path == path or changed_path.startswith(f"{path}/") or path.startswith(f"{changed_path}/")
