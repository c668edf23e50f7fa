"""Which layer provides a path: the conflict policies, protected paths, tombstones, later layers."""

from typing import Literal

import pytest

from domain.workspace.sync import ManifestEntry
from infrastructure.executor.workspace.layering import Overlay, PlainObject, PlannedPath, SessionLayer, lay_out


def template(*paths):
    return {path.rstrip("/"): PlainObject(key=f"t/{path}", size=1, is_dir=path.endswith("/")) for path in paths}


def synced(**hashes):
    entries = {}
    for name, content in hashes.items():
        path = name.replace("__", "/")
        kind: Literal["dir", "file"] = "dir" if content is None else "file"
        entry = ManifestEntry(path=path, kind=kind, hash=content or "", mode=0o755)
        entries[path] = PlannedPath(kind=kind, mode=0o755, entry=entry)
    return entries


def winners(planned):
    """path → `t` (template), `s` (session), `o` (overlay), `d` (folder)."""
    return {
        path: "d" if item.kind == "dir" else "s" if item.entry is not None and not item.key else item.key[0]
        for path, item in planned.items()
    }


def laid_out(template_paths=(), entries=None, base=None, deleted=(), overlays=(), policy="keep_session", protected=()):
    session = SessionLayer(entries=entries or {}, base=base or {}, tombstones=frozenset(deleted))
    return winners(
        lay_out(
            template=template(*template_paths), session=session, overlays=overlays, policy=policy, protected=protected
        )
    )


def test_keep_session_keeps_the_session_s_bytes_and_adds_what_is_new():
    assert laid_out(["a", "b", "new"], synced(a="mine", b="h1"), {"b": "h1"}) == {"a": "s", "b": "s", "new": "t"}


def test_prefer_registry_takes_the_template_s_bytes():
    entries = synced(a="mine", own="x")
    assert laid_out(["a"], entries, {"a": "h1"}, policy="prefer_registry") == {"a": "t", "own": "s"}


def test_merge_takes_new_bytes_only_where_the_session_changed_nothing():
    entries = synced(same="h1", edited="mine", added="x")
    base = {"same": "h1", "edited": "h1", "added": ""}
    found = laid_out(["same", "edited", "added"], entries, base, policy="merge")
    assert found == {"same": "t", "edited": "s", "added": "s"}


def test_the_session_s_permission_bits_stay_where_the_template_s_bytes_win():
    planned = lay_out(
        template=template("a"),
        session=SessionLayer(entries=synced(a="h1"), base={"a": "h1"}),
        overlays=(),
        policy="merge",
        protected=(),
    )
    assert (planned["a"].key, planned["a"].mode) == ("t/a", 0o755)


@pytest.mark.parametrize(("policy", "there"), [("keep_session", False), ("merge", False), ("prefer_registry", True)])
def test_what_the_session_deleted_stays_deleted_but_under_prefer_registry(policy, there):
    assert ("a" in laid_out(["a"], {}, {"a": "h1"}, deleted=["a"], policy=policy)) is there


@pytest.mark.parametrize("policy", ["keep_session", "merge"])
def test_a_file_that_the_session_turned_into_a_folder_stays_one(policy):
    assert laid_out(["a"], synced(a=None, a__b="x"), {"a": "h"}, policy=policy) == {"a": "d", "a/b": "s"}


@pytest.mark.parametrize("policy", ["keep_session", "merge"])
def test_a_folder_that_the_session_turned_into_a_file_stays_one(policy):
    assert laid_out(["a/b", "a/c"], synced(a="x"), {"a/b": "h"}, policy=policy) == {"a": "s"}


def test_prefer_registry_decides_between_file_and_folder_too():
    assert laid_out(["a"], synced(a=None, a__b="x"), policy="prefer_registry") == {"a": "t"}
    assert laid_out(["a/b"], synced(a="x"), policy="prefer_registry") == {"a/b": "t"}


@pytest.mark.parametrize("policy", ["keep_session", "prefer_registry", "merge"])
def test_protected_paths_are_the_session_s_alone(policy):
    entries = synced(p="h1", q__x="h1")
    base = {"p": "h1", "q/x": "h1"}
    overlay = Overlay(objects={"q/y": PlainObject(key="o/y", size=1)}, synced=False)
    found = laid_out(
        ["p", "q/x", "q/new", "free"], entries, base, policy=policy, protected=("p", "q"), overlays=(overlay,)
    )
    assert found == {"p": "s", "q/x": "s", "free": "t"}


def test_a_file_can_not_take_the_place_of_the_way_to_a_protected_path():
    overlay = Overlay(objects={"q": PlainObject(key="o/q", size=1)}, synced=False)
    entries = synced(q__x="h")
    assert laid_out(["q"], entries, policy="prefer_registry", protected=("q/x",), overlays=(overlay,)) == {"q/x": "s"}


def test_later_layers_lie_over_the_earlier_ones():
    overlay = Overlay(objects={path: PlainObject(key=f"o/{path}", size=1) for path in ("kb/a", "kb/b/c")}, synced=False)
    assert laid_out(["kb/a"], synced(kb__a="mine", kb__b="file"), overlays=(overlay,)) == {"kb/a": "o", "kb/b/c": "o"}


def test_a_user_s_file_that_the_session_changed_or_deleted_stays_so():
    objects = {path: PlainObject(key=f"o/{path}", size=1) for path in ("u/same", "u/edited", "u/deleted", "u/new")}
    overlay = Overlay(objects=objects, synced=True)
    entries = {**synced(u__same="h1"), **synced(u__edited="mine")}
    base = {"u/same": "h1", "u/edited": "h1", "u/deleted": "h1"}
    found = laid_out([], entries, base, deleted=["u/deleted"], overlays=(overlay,))
    assert found == {"u/same": "o", "u/edited": "s", "u/new": "o"}


def test_plain_keys_of_a_session_yield_to_later_layers_and_keep_their_own_against_the_template():
    plain = {"a": PlannedPath(kind="file", key="s/a"), "u/x": PlannedPath(kind="file", key="s/x")}
    overlay = Overlay(objects={"u/x": PlainObject(key="o/x", size=1)}, synced=True)
    assert laid_out(["a"], plain, overlays=(overlay,), policy="merge") == {"a": "s", "u/x": "o"}


def test_empty_folders_are_laid_out_and_replaced():
    assert laid_out(["empty/", "x/"], synced(x="file")) == {"empty": "d", "x": "s"}
