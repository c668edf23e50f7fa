"""Which layer provides each path of a restored workspace. Pure: no file and no object is touched here.

The rules of SPEC §2, and what they leave open:
- A template (L0) and a session (L1) that both have a path, or of which one has a file where the other has a folder,
  are in conflict; the plan's policy decides. A template file that the session deleted (its tombstone) comes back only
  under `prefer_registry`.
- Later layers (L2, L3) lie over the earlier ones. But where they are synced with the session (not read-only, not below
  .kb) a file that the session changed or deleted since it was laid there stays as the session left it.
- Where the template's bytes replace the session's, the file keeps the permission bits that the session gave it.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from domain.workspace.manifest import ConflictPolicy
from domain.workspace.sync import ManifestEntry


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One path to make. A file comes from a plain object (`key`) or from a sync (`entry`). `mode` 0 = as the object's
    metadata says, else 0644. `recorded`: its hash belongs to the template's record."""

    kind: Literal["file", "dir", "symlink"]
    key: str = ""
    size: int = 0
    mode: int = 0
    target: str = ""
    entry: ManifestEntry | None = None
    recorded: bool = False
    read_only: bool = False


class PlainObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object of a layer. A key that ends with a slash is an empty folder."""

    key: str
    size: int
    is_dir: bool = False


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """An L2 or L3 layer: its objects by path in the workspace. `synced`: what lies there belongs to the session's
    syncs."""

    objects: Mapping[str, PlainObject]
    synced: bool
    read_only: bool = False


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """L1. `base` is the template record of the last sync, `tombstones` what was deleted of it."""

    entries: Mapping[str, Planned] = {}
    base: Mapping[str, str] = {}
    tombstones: frozenset[str] = frozenset()


class Layout:
    """Paths and what is planned there; adding one removes what can't exist beside it."""

    def __init__(self) -> None:
        self.planned: dict[str, Planned] = {}
        self._below: dict[str, int] = {}

    def conflicts(self, path: str, planned: Planned) -> bool:
        """Whether something is planned at the path, or a file is where a folder would have to be."""
        if any(ancestor in self.planned and self.planned[ancestor].kind != "dir" for ancestor in ancestors(path)):
            return True
        there = self.planned.get(path)
        if planned.kind == "dir":
            return there is not None and there.kind != "dir"
        return there is not None or self._below.get(path, 0) > 0

    def add(self, path: str, planned: Planned) -> None:
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
    session: Session,
    overlays: tuple[Overlay, ...],
    policy: ConflictPolicy,
    protected: tuple[str, ...],
) -> dict[str, Planned]:
    """Every path of the workspace with what provides it."""
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
                layout.planned[path] = msgspec.structs.replace(own, mode=entry.mode)
        else:
            layout.add(path, entry)
    for overlay in overlays:
        _lay_over(layout, overlay, session, protected)
    return layout.planned


def _template_wins(
    path: str, entry: Planned, base: Mapping[str, str], policy: ConflictPolicy, template: Mapping[str, PlainObject]
) -> bool:
    if policy == "prefer_registry":
        return True
    if policy == "keep_session":
        return False
    unchanged = entry.entry is not None and entry.entry.hash != "" and base.get(path) == entry.entry.hash
    return unchanged and path in template and not template[path].is_dir


def _lay_over(layout: Layout, overlay: Overlay, session: Session, protected: tuple[str, ...]) -> None:
    for path, item in overlay.objects.items():
        if _touches(protected, path, item):
            continue
        planned = _from_plain(item, recorded=overlay.synced)
        if overlay.read_only and not item.is_dir:
            planned = msgspec.structs.replace(planned, read_only=True)
        if overlay.synced and _session_has_its_own(path, session):
            continue
        layout.add(path, planned)


def _touches(protected: tuple[str, ...], path: str, item: PlainObject) -> bool:
    """Whether making the item would write a protected path, or put a file where the way to one leads."""
    return covers(protected, path) or (not item.is_dir and any(other.startswith(path + "/") for other in protected))


def _session_has_its_own(path: str, session: Session) -> bool:
    if path in session.tombstones:
        return True
    entry = session.entries.get(path)
    if entry is None or entry.entry is None:
        return False
    return entry.entry.kind != "dir" and session.base.get(path) != entry.entry.hash


def _with_kept_folder(layout: Layout, path: str, entry: Planned) -> Planned:
    there = layout.planned.get(path)
    return entry if there is None or entry.mode else there


def _from_plain(item: PlainObject, *, recorded: bool) -> Planned:
    if item.is_dir:
        return Planned(kind="dir", recorded=recorded)
    return Planned(kind="file", key=item.key, size=item.size, recorded=recorded)


def ancestors(path: str) -> Iterator[str]:
    """All folders above a path, without the root."""
    at = path.find("/")
    while at != -1:
        yield path[:at]
        at = path.find("/", at + 1)


def covers(folders: tuple[str, ...], path: str) -> bool:
    """Whether a path is one of `folders` or lies below one. The empty string is the root, which covers everything."""
    return any(folder in {"", path} or path.startswith(folder + "/") for folder in folders)
