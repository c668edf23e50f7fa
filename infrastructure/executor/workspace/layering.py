"""Decides which layer provides each path of a restored workspace. Pure: no file and no object is touched here.

Layers by level: L0 template, L1 session (its last sync, or plain keys), L2 knowledge bases, L3 the user's files.
- A path that both template and session have, or that is a file in one and a folder in the other, is a conflict. The
  plan's policy decides: `prefer_registry` takes the template's, `keep_session` the session's, `merge` the template's
  where the session's file is unchanged since it was restored. A template file that the session deleted (tombstone)
  comes back only under `prefer_registry`.
- L2 and L3 replace earlier layers. But where they are synced with the session (not read-only, not below `.kb`), a file
  that the session changed or deleted since it was restored stays as the session left it.
- Where the template's content replaces the session's, the file keeps the session's permission bits.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from domain.workspace.manifest import ConflictPolicy
from domain.workspace.paths import ancestors
from domain.workspace.sync import ManifestEntry


class PlannedPath(msgspec.Struct, frozen=True, kw_only=True):
    """What to create at one path. A file's content is a plain object (`key`) or an entry of a sync (`entry`); with both
    it is the object, and `entry` is what the session has there: if that has the same content, its modification time
    stays. `mode` 0: as the object's metadata says, else 0644. `recorded`: its hash goes into the marker's
    `template`."""

    kind: Literal["file", "dir", "symlink"]
    key: str = ""
    size: int = 0
    mode: int = 0
    target: str = ""
    entry: ManifestEntry | None = None
    recorded: bool = False
    read_only: bool = False


class PlainObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object of a layer. `is_dir`: its key ends with a slash, it stands for a folder. `size` in bytes."""

    key: str
    size: int
    is_dir: bool = False


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """An L2 or L3 layer: its objects by path in the workspace. `synced`: files there are part of the session's
    syncs."""

    objects: Mapping[str, PlainObject]
    synced: bool
    read_only: bool = False


class SessionLayer(msgspec.Struct, frozen=True, kw_only=True):
    """L1: the entries of the last sync, its `template` as `base` (path → hash that was restored from a layer, "" if
    none) and its tombstones (paths of `base` that the session deleted)."""

    entries: Mapping[str, PlannedPath] = {}
    base: Mapping[str, str] = {}
    tombstones: frozenset[str] = frozenset()


class Layout:
    """Paths with what is planned there; adding one removes those that can't coexist with it (file against folder)."""

    def __init__(self) -> None:
        self.planned: dict[str, PlannedPath] = {}
        self._below: dict[str, int] = {}

    def conflicts(self, path: str, planned: PlannedPath) -> bool:
        """Whether the path is planned already (a folder twice is no conflict), or a file and a folder would clash."""
        if any(ancestor in self.planned and self.planned[ancestor].kind != "dir" for ancestor in ancestors(path)):
            return True
        there = self.planned.get(path)
        if planned.kind == "dir":
            return there is not None and there.kind != "dir"
        return there is not None or self._below.get(path, 0) > 0

    def add(self, path: str, planned: PlannedPath) -> None:
        for ancestor in ancestors(path):
            if ancestor in self.planned and self.planned[ancestor].kind != "dir":
                self._drop(ancestor)
        if planned.kind != "dir" and self._below.get(path, 0) > 0:
            for below in [other for other in self.planned if other.startswith(path + "/")]:
                self._drop(below)
        if path not in self.planned:
            for ancestor in ancestors(path):
                self._below[ancestor] = self._below.get(ancestor, 0) + 1
        self.planned[path] = planned

    def _drop(self, path: str) -> None:
        del self.planned[path]
        for ancestor in ancestors(path):
            self._below[ancestor] -= 1


def lay_out(
    *,
    template: Mapping[str, PlainObject],
    session: SessionLayer,
    overlays: tuple[Overlay, ...],
    policy: ConflictPolicy,
    protected: tuple[str, ...],
) -> dict[str, PlannedPath]:
    """Every path of the workspace with what is to be created there; nothing at or below `protected` paths from template
    or overlays."""
    layout = Layout()
    for path, item in template.items():
        kept_deleted = path in session.tombstones and policy != "prefer_registry"
        if not kept_deleted and not _touches(protected, path, item):
            layout.add(path, _from_plain(item, recorded=True))
    for path, entry in session.entries.items():
        if not layout.conflicts(path, entry):
            layout.add(path, _with_kept_folder(layout, path, entry))
        elif not covers(protected, path) and _template_wins(path, entry, session.base, policy, template):
            own = layout.planned.get(path)
            if own is not None and own.kind == "file" and entry.kind == "file":
                layout.planned[path] = msgspec.structs.replace(own, mode=entry.mode, entry=entry.entry)
        else:
            layout.add(path, entry)
    for overlay in overlays:
        _lay_over(layout, overlay, session, protected)
    return layout.planned


def _template_wins(
    path: str, entry: PlannedPath, base: Mapping[str, str], policy: ConflictPolicy, template: Mapping[str, PlainObject]
) -> bool:
    if policy == "prefer_registry":
        return True
    if policy == "keep_session":
        return False
    unchanged = entry.entry is not None and entry.entry.hash != "" and base.get(path) == entry.entry.hash
    return unchanged and path in template and not template[path].is_dir


def _lay_over(layout: Layout, overlay: Overlay, session: SessionLayer, protected: tuple[str, ...]) -> None:
    for path, item in overlay.objects.items():
        if _touches(protected, path, item):
            continue
        planned = _from_plain(item, recorded=overlay.synced)
        if overlay.read_only and not item.is_dir:
            planned = msgspec.structs.replace(planned, read_only=True)
        if overlay.synced:
            if _session_has_its_own(path, session):
                continue
            if path in session.entries and not item.is_dir:
                planned = msgspec.structs.replace(planned, entry=session.entries[path].entry)
        layout.add(path, planned)


def _touches(protected: tuple[str, ...], path: str, item: PlainObject) -> bool:
    """Whether the item is at or below a protected path, or is a file where a protected path needs a folder."""
    return covers(protected, path) or (not item.is_dir and any(other.startswith(path + "/") for other in protected))


def _session_has_its_own(path: str, session: SessionLayer) -> bool:
    if path in session.tombstones:
        return True
    entry = session.entries.get(path)
    if entry is None or entry.entry is None:
        return False
    return entry.entry.kind != "dir" and session.base.get(path) != entry.entry.hash


def _with_kept_folder(layout: Layout, path: str, entry: PlannedPath) -> PlannedPath:
    there = layout.planned.get(path)
    return entry if there is None or entry.mode else there


def _from_plain(item: PlainObject, *, recorded: bool) -> PlannedPath:
    if item.is_dir:
        return PlannedPath(kind="dir", recorded=recorded)
    return PlannedPath(kind="file", key=item.key, size=item.size, recorded=recorded)


def covers(folders: tuple[str, ...], path: str) -> bool:
    """Whether a path is one of `folders` or lies below one. The empty string is the root, which covers everything."""
    return any(folder in {"", path} or path.startswith(folder + "/") for folder in folders)
