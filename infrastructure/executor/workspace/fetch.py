"""Writes the planned files of a restore from the object store into the workspace, in parallel. Content of a sync is
verified by its hash."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from functools import partial

import msgspec

from application.ports.object_store import ObjectCorrupt, ObjectMissing, ObjectStore
from domain.errors import StoredWorkspaceUnreadable
from domain.workspace.sync import ManifestEntry
from infrastructure.executor.workspace.confined import ConfinedTree, FileWriter, NewFile
from infrastructure.executor.workspace.layering import PlannedPath
from infrastructure.executor.workspace.sparse import ExtentsWriter
from infrastructure.executor.workspace.state import FileRecord
from infrastructure.object_store.parallel import run_in_parallel
from infrastructure.stored_workspaces.object_layout import object_key, pack_key

_WHOLE_BYTES = 8 * 1024 * 1024
_RANGE_BYTES = 8 * 1024 * 1024
_RANGE_GAP = 64 * 1024
_READ_ONLY = 0o444
_WRITERS = 2
"""Threads that create packed files at a time. More of them only contend for the GIL; a single one leaves a processor
idle where the file system is slow to create files (ext4 after many deletions)."""


class FetchedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written, its stat with its hash, and whether the hash goes into the marker's `template`."""

    path: str
    record: FileRecord
    recorded: bool


class _Slice(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    planned: PlannedPath
    entry: ManifestEntry


def fetch_files(
    store: ObjectStore, pool: Executor, tree: ConfinedTree, prefix: str, files: Mapping[str, PlannedPath]
) -> list[FetchedFile]:
    """Write every planned file. Raises StoredWorkspaceUnreadable when an object is missing or a recorded content is
    corrupt, and what the object store raises."""
    tasks: list[Callable[[], list[FetchedFile]]] = []
    packed: dict[str, list[_Slice]] = {}
    turn = threading.BoundedSemaphore(_WRITERS)
    for path, planned in files.items():
        entry = planned.entry
        if entry is not None and planned.key == "" and entry.pack:
            packed.setdefault(entry.pack, []).append(_Slice(path=path, planned=planned, entry=entry))
        else:
            tasks.append(partial(_fetch_one, store, tree, prefix, path, planned))
    for pack, slices in packed.items():
        tasks.extend(partial(_fetch_range, store, tree, prefix, turn, pack, group) for group in _ranges(slices))
    return [file for written in run_in_parallel(pool, tasks) for file in written]


def _fetch_one(
    store: ObjectStore, tree: ConfinedTree, prefix: str, path: str, planned: PlannedPath
) -> list[FetchedFile]:
    expected = planned.entry.hash if planned.entry is not None and planned.key == "" else ""
    key = object_key(prefix, expected) if expected else planned.key
    started = time.time_ns()
    digest = hashlib.sha256()

    extents = planned.entry.extents if planned.entry is not None and expected else None
    size = planned.entry.stored_size if planned.entry is not None and expected else planned.size

    def fill(write: FileWriter) -> int:
        into = write if extents is None else ExtentsWriter(write, extents, planned.size)

        def take(chunk: bytes) -> None:
            digest.update(chunk)
            into(chunk)

        if size <= _WHOLE_BYTES:
            fetched = store.fetch(key)
            take(fetched.body)
            metadata = fetched.metadata
        else:
            metadata = store.copy_out(key, take)
        if expected and digest.hexdigest() != expected:
            raise ObjectCorrupt(f"the object {key!r} holds other bytes than its name says: {digest.hexdigest()}")
        if isinstance(into, ExtentsWriter):
            into.end()
        return _mode(planned, metadata)

    try:
        found = tree.write_file(path, fill, replace_parents=True)
    except (ObjectMissing, ObjectCorrupt) as error:
        raise _unreadable(path, error, recorded=bool(expected)) from error
    own = planned.entry
    if own is not None and own.mtime_ns is not None and (own.hash, own.extents) == (digest.hexdigest(), extents):
        found = tree.set_mtime(path, own.mtime_ns)
    record = FileRecord(
        found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, started, digest.hexdigest(), extents
    )
    return [FetchedFile(path=path, record=record, recorded=planned.recorded)]


def _fetch_range(
    store: ObjectStore,
    tree: ConfinedTree,
    prefix: str,
    turn: threading.BoundedSemaphore,
    pack: str,
    slices: list[_Slice],
) -> list[FetchedFile]:
    start = slices[0].entry.offset
    end = max(piece.entry.offset + piece.entry.size for piece in slices)
    key = pack_key(prefix, pack)
    try:
        body = memoryview(store.get(key, start=start, length=end - start))
    except ObjectMissing as error:
        raise _unreadable(slices[0].path, error, recorded=True) from error
    files: list[NewFile] = []
    for piece in slices:
        content = body[piece.entry.offset - start :][: piece.entry.size]
        if hashlib.sha256(content).hexdigest() != piece.entry.hash:
            corrupt = ObjectCorrupt(f"the pack {key!r} holds other bytes than recorded at {piece.entry.offset}")
            raise _unreadable(piece.path, corrupt, recorded=True)
        files.append(NewFile(piece.path, content, _mode(piece.planned, {}), piece.entry.mtime_ns))
    started = time.time_ns()
    with turn:
        stats = list(tree.write_files(files))
    return [
        FetchedFile(
            path=piece.path,
            record=FileRecord(
                found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, started, piece.entry.hash
            ),
            recorded=piece.planned.recorded,
        )
        for piece, found in zip(slices, stats, strict=True)
    ]


def _ranges(slices: Iterable[_Slice]) -> Iterator[list[_Slice]]:
    """Slices of one pack in order of their offsets, grouped so that one read of about 8 MiB at most covers a group."""
    group: list[_Slice] = []
    start = end = 0
    for piece in sorted(slices, key=lambda piece: piece.entry.offset):
        offset, after = piece.entry.offset, piece.entry.offset + piece.entry.size
        if group and (offset > end + _RANGE_GAP or after - start > _RANGE_BYTES):
            yield group
            group = []
        if not group:
            start = end = offset
        group.append(piece)
        end = max(end, after)
    if group:
        yield group


def _mode(planned: PlannedPath, metadata: Mapping[str, str]) -> int:
    if planned.mode or (planned.entry is not None and planned.key == ""):
        return planned.mode
    if planned.read_only:
        return _READ_ONLY
    try:
        return (int(metadata.get("mode", ""), 8) & 0o777) | 0o600
    except ValueError:
        return 0o644


def _unreadable(path: str, error: Exception, *, recorded: bool) -> StoredWorkspaceUnreadable:
    if recorded:
        return StoredWorkspaceUnreadable(
            f"the recorded content of {path!r} can't be read: {error}", "recorded_content_unreadable"
        )
    return StoredWorkspaceUnreadable(f"{path!r} can't be restored: {error}", "layer_changed")
