"""Changes between any two JSON documents, and the patch that makes one of the other."""

from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from projections.changes import changes, concerns, patch_of
from tests.support.json_patch import patched

values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b/c", "~d"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b/c", "~d", "", "é"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values, values)
@example([False, False], [False, 0])
def test_the_patch_turns_one_into_the_other(before: Any, after: Any) -> None:
    found = list(changes(before, after))

    operations = msgspec.to_builtins([patch_of(change) for change in found])
    assert patched(before, operations) == after
    assert (found == []) == (msgspec.json.encode(before, order="sorted") == msgspec.json.encode(after, order="sorted"))


def test_a_patch_says_what_was_before_and_after_field_by_field() -> None:
    before = {"state": "queued", "tools": {"failed": 0}, "old": 1, "list": [1, 2, 3]}
    after = {"state": "running", "tools": {"failed": 2}, "new/er": None, "list": [1, 5]}

    told = [(change.path, change.kind, change.before, change.after) for change in changes(before, after)]

    assert told == [
        ("/state", "changed", "queued", "running"),
        ("/tools/failed", "changed", 0, 2),
        ("/old", "removed", 1, None),
        ("/list/1", "changed", 2, 5),
        ("/list/2", "removed", 3, None),
        ("/new~1er", "added", None, None),
    ]
    assert msgspec.to_builtins(patch_of(list(changes(before, after))[-1])) == {
        "op": "add",
        "path": "/new~1er",
        "value": None,
    }


def test_a_place_is_concerned_by_what_is_above_and_below_it() -> None:
    assert concerns("/a", "/a/b")
    assert concerns("/a/b", "/a")
    assert not concerns("/a", "/ab")
