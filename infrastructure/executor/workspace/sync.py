"""One sync: list the workspace, find what changed, store it, write the manifest."""

import hashlib
import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import msgspec

from application.executor_protocol import SyncRequest, SyncResult
from domain.errors import Conflict, InvalidInput, NotFound, StoredWorkspaceUnreadable
from domain.workspace.sync import (
    FORMAT,
    FORMAT_WITH_EXTENTS,
    MAX_MANIFEST_BYTES,
    Extents,
    ManifestEntry,
    SyncManifest,
    SyncRef,
)
from infrastructure.executor.workspace.confined import RootGone
from infrastructure.executor.workspace.errors import FilesNotStable, NotRestored, WorkspaceOverQuota
from infrastructure.executor.workspace.exclusions import Exclusions, Selection
from infrastructure.executor.workspace.layering import covers
from infrastructure.executor.workspace.progress import Progress
from infrastructure.executor.workspace.restore import WorkspaceParts
from infrastructure.executor.workspace.sparse import extents_of
from infrastructure.executor.workspace.state import FileRecord, LastSync, RestoredWorkspace
from infrastructure.executor.workspace.upload import Location, StoredFile, Uploader
from infrastructure.executor.workspace.walk import FoundFile, Walked, check_bytes, walk
from infrastructure.stored_workspaces.object_layout import manifest_key
from infrastructure.stored_workspaces.recorded_sync import load_recorded_sync
from infrastructure.stored_workspaces.stored_names import printable, storable

_log = logging.getLogger("fleetlog.executor.sync")
# A file may change again within one tick of the file system's clock without a change of its ctime: a known hash is
# trusted only if the ctime was this much older than the read.
_CLOCK_TICK_NS = 2_000_000_000
_GATE_PASSES = 3
# Content that no recorded sync names is deleted when it is a day old (stored_workspaces/collection.py). So what was
# uploaded for a sync that may never have been recorded is reused for this long only, and then uploaded again.
REUSE_UNCERTAIN_S = 3600.0
# The clock of stat values has ticks of at most 10 ms. A gate sync waits one out before it reads, so that any later
# change shows in the ctime.
_SETTLE_S = 0.02
_FINE_TICK_NS = 15_000_000


class Syncer:
    """Makes the syncs of one workspace, one at a time. All calls block."""

    def __init__(self, parts: WorkspaceParts, generation: int, *, reuse_uncertain_s: float = REUSE_UNCERTAIN_S) -> None:
        self._parts = parts
        self._generation = generation
        self._reuse_uncertain_s = reuse_uncertain_s
        # Content by hash that failed syncs have uploaded since `_uploaded_since`: the next sync need not upload it
        # again.
        self._uploaded: dict[str, Location] = {}
        self._uploaded_since = 0.0
        self.progress = Progress()

    def sync(self, request: SyncRequest) -> SyncResult:
        """Raises NotRestored, RootGone, WorkspaceOverQuota, FilesNotStable (gate only), Conflict, or what the object
        store raises."""
        marker = self._parts.state.restored()
        if marker is None or marker.generation != self._generation:
            raise NotRestored
        if request.workspace_s3_prefix != marker.workspace_s3_prefix:
            raise Conflict(
                f"this workspace was restored for {marker.workspace_s3_prefix!r}, not {request.workspace_s3_prefix!r}",
                "other_prefix",
            )
        selection = Selection(include=request.include, exclude=request.exclude)
        if request.gate and not selection.selects_all:
            raise InvalidInput("gate", "a gate sync covers everything: it takes no include and no exclude")
        started = time.time()
        if not self._uploaded or not self._is_recent(self._uploaded_since):
            self._uploaded.clear()
            self._uploaded_since = started
        last = self._base_sync(request.previous)
        if request.gate and last is not None and self._parts.store.head(last.ref.manifest_key) is None:
            # The last manifest was deleted from the store, so its content may be, too: upload everything.
            last = None
            self._uploaded.clear()
        attempt = _Attempt(
            self._parts, marker, last, request, selection, self._uploaded, self._uploaded_since, self.progress
        )
        self.progress.begin(request.sync_id)
        try:
            result = attempt.run(self._generation)
        finally:
            self.progress.end()
        self._uploaded.clear()
        return result

    def _base_sync(self, previous: SyncRef | None) -> LastSync | None:
        """The sync whose content need not be uploaded again: the last one made here, while it is the recorded one or
        recent; else the recorded one."""
        last = self._parts.state.last_sync()
        if last is None or last.ref == previous or self._is_recent(last.uncertain_since):
            return last
        if previous is None:
            return None
        try:
            return LastSync(ref=previous, manifest=load_recorded_sync(self._parts.store, previous)[0])
        except StoredWorkspaceUnreadable as error:
            _log.warning("everything is uploaded anew: %s", error)
            return None

    def _is_recent(self, moment: float) -> bool:
        return 0.0 <= time.time() - moment < self._reuse_uncertain_s


class _Attempt:
    def __init__(
        self,
        parts: WorkspaceParts,
        marker: RestoredWorkspace,
        last: LastSync | None,
        request: SyncRequest,
        selection: Selection,
        uploaded: dict[str, Location],
        uploaded_since: float,
        progress: Progress,
    ) -> None:
        self._parts = parts
        self._marker = marker
        self._last = last
        self._request = request
        self._selection = selection
        self._exclusions = Exclusions(left_out=marker.left_out, agent_data=marker.agent_data, cli_files=parts.cli_files)
        self._before = {entry.path: entry for entry in last.manifest.entries} if last is not None else {}
        for entry in self._before.values():
            if entry.kind == "file":
                uploaded.setdefault(entry.hash, Location(entry.pack, entry.offset))
        self._known = uploaded
        self._uploaded_since = uploaded_since
        self._progress = progress
        self._index = parts.state.index()
        self._unstable: list[str] = []
        self._unread: list[str] = []
        self._uploaded_files = 0
        self._uploaded_bytes = 0

    def run(self, generation: int) -> SyncResult:
        entries, skipped = self._stable_content() if self._request.gate else self._one_pass()
        if not self._parts.tree.refresh_root():
            raise RootGone("the workspace's folder was replaced while it was read")
        _remember(partial(self._parts.state.save_index, self._index))
        files = [entry for entry in entries.values() if entry.kind == "file"]
        ref = self._recorded(entries, generation)
        return SyncResult(
            sync=ref,
            unchanged=ref == self._request.previous,
            files=len(files),
            bytes=sum(entry.size for entry in files),
            uploaded_files=self._uploaded_files,
            uploaded_bytes=self._uploaded_bytes,
            unstable_paths=tuple(sorted(set(self._unstable))),
            skipped_paths=tuple(sorted(skipped)),
        )

    def _stable_content(self) -> tuple[dict[str, ManifestEntry], list[str]]:
        """For a gate sync: read everything, and list again after it was stored, until nothing has changed in between.
        Raises FilesNotStable after three passes."""
        unstable: tuple[str, ...] = ()
        for _ in range(_GATE_PASSES):
            self._index, self._unstable = {}, []
            time.sleep(_SETTLE_S)
            entries, skipped = self._one_pass()
            if self._unstable:
                unstable = tuple(sorted(set(self._unstable)))
                continue
            moved = self._changed_since(entries)
            if not moved:
                return entries, skipped
            unstable = tuple(sorted(moved))
        raise FilesNotStable(unstable)

    def _changed_since(self, entries: dict[str, ManifestEntry]) -> set[str]:
        again = walk(self._parts.tree, self._exclusions, self._request.limits)
        moved = set(again.unreadable)
        paths = {file.path for file in again.files} | {entry.path for entry in again.entries}
        moved.update(printable(path) for path in paths ^ set(entries))
        for file in again.files:
            record = self._index.get(file.path)
            settled = record is not None and record.ctime_ns < record.hashed_at_ns - _FINE_TICK_NS
            if (
                record is None
                or not settled
                or file.identity != _identity(record)
                or entries[file.path].mode != file.mode
            ):
                moved.add(printable(file.path))
        moved.update(printable(entry.path) for entry in again.entries if entries.get(entry.path) != entry)
        return moved

    def _one_pass(self) -> tuple[dict[str, ManifestEntry], list[str]]:
        limits = self._request.limits
        walked = walk(self._parts.tree, self._exclusions, limits)
        check_bytes(sum(map(self._stored_size, walked.files)), limits)
        selected = self._selection.selects
        entries = {entry.path: entry for entry in walked.entries if selected(entry.path)}
        to_read: list[FoundFile] = []
        for file in walked.files:
            if not selected(file.path):
                continue
            record = self._index.get(file.path)
            if record is not None and self._trusted(file, record) and record.hash in self._known:
                entries[file.path] = _entry(file, record.hash, self._known[record.hash], extents=record.extents)
            else:
                to_read.append(file)
        if not self._request.gate:
            to_read = self._without_databases(entries, walked.files, to_read)
        for stored in self._stored(to_read):
            entries[stored.found.path] = _entry(stored.found, stored.hash, stored.location, extents=stored.extents)
        self._keep_previous(entries, walked)
        self._index = {path: record for path, record in self._index.items() if path in entries}
        return entries, walked.skipped

    def _without_databases(
        self, entries: dict[str, ManifestEntry], files: list[FoundFile], to_read: list[FoundFile]
    ) -> list[FoundFile]:
        """Put copies of changed databases into `entries`; returns the files that are still to be read."""
        changed = {file.path for file in to_read}
        selected = [file for file in files if self._selection.selects(file.path)]
        copies = self._parts.databases.store(self._uploader(), self._parts.transfers, selected, changed)
        self._uploaded_files += copies.files
        self._uploaded_bytes += copies.bytes
        for path in copies.handled:
            entries.pop(path, None)
            self._index.pop(path, None)
        for stored in copies.stored:
            found = stored.found
            size = copies.sizes[found.path]
            entries[found.path] = _entry(found, stored.hash, stored.location, size=size)
            self._index[found.path] = _record(found, stored)
        return [file for file in to_read if file.path not in copies.handled]

    def _uploader(self) -> Uploader:
        prefix = self._request.workspace_s3_prefix
        return Uploader(
            self._parts.store,
            self._parts.tree,
            prefix,
            self._known,
            self._progress,
            largest=self._request.limits.file_bytes,
        )

    def _stored_size(self, file: FoundFile) -> int:
        """The bytes that are stored of a file: of a sparse one, its data."""
        if not file.may_have_holes:
            return file.size
        record = self._index.get(file.path)
        if record is not None and record.extents is not None and self._trusted(file, record):
            return sum(length for _, length in record.extents)
        try:
            fd = self._parts.tree.open_file(file.path)
        except (NotFound, Conflict, OSError):
            return 0  # it is noted when it is read
        try:
            extents = extents_of(fd, file.size)
        except OSError:
            return file.size
        finally:
            os.close(fd)
        return file.size if extents is None else sum(length for _, length in extents)

    def _trusted(self, file: FoundFile, record: FileRecord) -> bool:
        return file.identity == _identity(record) and record.ctime_ns < record.hashed_at_ns - _CLOCK_TICK_NS

    def _stored(self, files: list[FoundFile]) -> list[StoredFile]:
        uploaded = self._uploader().store_all(self._parts.transfers, files)
        self._uploaded_files += uploaded.files
        self._uploaded_bytes += uploaded.bytes
        self._unstable += [printable(path) for path in uploaded.lost]
        if self._request.gate:
            self._unstable += [printable(path) for path in uploaded.gone]
        self._unread = uploaded.lost
        for stored in uploaded.stored:
            found = stored.found
            if stored.stable:
                self._index[found.path] = _record(found, stored)
            else:
                self._index.pop(found.path, None)
                self._unstable.append(printable(found.path))
        return uploaded.stored

    def _keep_previous(self, entries: dict[str, ManifestEntry], walked: Walked) -> None:
        """Keep the previous sync's entry for what could not be read or was not selected; else it would count as
        deleted."""
        self._unstable += walked.unreadable
        kept: Callable[[str], bool] = lambda path: (  # noqa: E731
            not self._selection.selects(path) or path in self._unread or covers(tuple(walked.unreadable_folders), path)
        )
        for path, entry in self._before.items():
            if path not in entries and kept(path):
                entries[path] = entry
        for path in sorted(entries):
            _drop_impossible(entries, path)

    def _recorded(self, entries: dict[str, ManifestEntry], generation: int) -> SyncRef:
        ordered = tuple(entries[path] for path in sorted(entries))
        template = self._marker.template
        tombstones = tuple(
            path
            for path in sorted(template)
            if path not in entries and not self._exclusions.leaves_out(path, is_link=False)
        )
        if self._last is not None:
            before = self._last.manifest
            same = before.entries == ordered and before.tombstones == tombstones and before.template == template
            if same and before.template_prefix == self._marker.template_prefix:
                return self._last.ref
        number = 1
        if self._last is not None and self._last.manifest.generation == generation:
            number = self._last.manifest.number + 1
        body = msgspec.json.encode(
            SyncManifest(
                format_version=FORMAT_WITH_EXTENTS if any(entry.extents is not None for entry in ordered) else FORMAT,
                session_id=self._request.session_id,
                generation=generation,
                number=number,
                created_at=datetime.fromtimestamp(time.time(), UTC).isoformat(),
                reason=self._request.reason,
                previous=self._last.ref if self._last is not None else self._request.previous,
                entries=tuple(storable(entry) for entry in ordered),
                tombstones=tombstones,
                template=template,
                template_prefix=self._marker.template_prefix,
            )
        )
        if len(body) > MAX_MANIFEST_BYTES:
            what = f"the list of its files has {len(body):,} bytes, and {MAX_MANIFEST_BYTES:,} are allowed"
            raise WorkspaceOverQuota(f"{what}: its files have long names")
        body_hash = hashlib.sha256(body).hexdigest()
        key = manifest_key(self._request.workspace_s3_prefix, generation, number, body_hash)
        self._parts.store.put(key, body)
        ref = SyncRef(manifest_key=key, manifest_hash=body_hash)
        since = self._uploaded_since
        if self._last is not None and self._last.ref != self._request.previous:
            since = min(since, self._last.uncertain_since)
        _remember(partial(self._parts.state.save_last_sync, ref, body, uncertain_since=since))
        return ref


def _remember(save: Callable[[], None]) -> None:
    """Save what makes the next sync cheaper. A failure is only logged: on a full disk the sync itself must succeed."""
    try:
        save()
    except OSError as error:
        _log.warning("what a sync leaves for the next one could not be kept: %s", error)


def _identity(record: FileRecord) -> tuple[int, int, int, int]:
    return (record.size, record.mtime_ns, record.ctime_ns, record.inode)


def _record(found: FoundFile, stored: StoredFile) -> FileRecord:
    return FileRecord(
        found.size, found.mtime_ns, found.ctime_ns, found.inode, stored.hashed_at_ns, stored.hash, stored.extents
    )


def _entry(
    file: FoundFile,
    content_hash: str,
    location: Location,
    *,
    size: int | None = None,
    extents: Extents | None = None,
) -> ManifestEntry:
    return ManifestEntry(
        path=file.path,
        kind="file",
        size=file.size if size is None else size,
        mode=file.mode,
        hash=content_hash,
        pack=location.pack,
        offset=location.offset,
        extents=extents,
        mtime_ns=file.mtime_ns,
    )


def _drop_impossible(entries: dict[str, ManifestEntry], path: str) -> None:
    """Drop a kept entry if one of its parents is a file or symlink by now."""
    at = path.find("/")
    while at != -1:
        above = entries.get(path[:at])
        if above is not None and above.kind != "dir":
            del entries[path]
            return
        at = path.find("/", at + 1)
