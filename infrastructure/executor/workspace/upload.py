"""Reads changed files, hashes their content, and uploads what the object store doesn't have yet.

The key is the hash of exactly the bytes that are sent. Files up to 256 KiB are read once and sent together as packs,
files up to 8 MiB once and sent alone. Larger ones are read twice, first for the hash, then in parts for a multipart
upload, which is completed only if both readings have the same hash.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial

import msgspec

from application.ports.object_store import ObjectStore
from domain.errors import Conflict, NotFound
from infrastructure.executor.workspace.confined import ConfinedTree
from infrastructure.executor.workspace.progress import Progress
from infrastructure.executor.workspace.walk import FoundFile, found_file
from infrastructure.object_store.parallel import run_in_parallel
from infrastructure.stored_workspaces.object_layout import object_key, pack_key

PACKED_FILE_BYTES = 256 * 1024
PACK_BYTES = 4 * 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_READ_ATTEMPTS = 3
_SETTLE_S = 0.05


class Location(msgspec.Struct, frozen=True, array_like=True):
    """Where a content lies: in the pack (its hash) at the offset in bytes; without a pack in an object of its own."""

    pack: str = ""
    offset: int = 0


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose content is in the store. `stable`: it did not change while it was read. `found` is its stat after
    the read, with the size that was read; `hashed_at_ns` the time before it, since the epoch."""

    found: FoundFile
    hash: str
    location: Location
    hashed_at_ns: int
    stable: bool


class Uploaded(msgspec.Struct, kw_only=True):
    """Paths in `lost` could not be read or kept changing, those in `gone` vanished. `files`, `bytes`: what was
    uploaded."""

    stored: list[StoredFile] = []
    lost: list[str] = []
    gone: list[str] = []
    files: int = 0
    bytes: int = 0


class _Read(msgspec.Struct, kw_only=True):
    found: FoundFile
    body: bytes
    hash: str
    hashed_at_ns: int
    stable: bool


class Uploader:
    """One sync's uploads. `known` maps hashes to where their content lies in the store; what is uploaded is added to
    it."""

    def __init__(
        self, store: ObjectStore, tree: ConfinedTree, prefix: str, known: dict[str, Location], progress: Progress
    ) -> None:
        self._store = store
        self._tree = tree
        self._prefix = prefix
        self._known = known
        self._progress = progress
        self._lock = threading.Lock()
        self._result = Uploaded()

    def reading_from(self, tree: ConfinedTree) -> "Uploader":
        """An uploader that reads from another folder, with the same prefix and the same `known`."""
        return Uploader(self._store, tree, self._prefix, self._known, self._progress)

    def store_all(self, pool: Executor, files: list[FoundFile]) -> Uploaded:
        """Read every file and upload its content unless it is known. Blocks. Raises what the object store raises."""
        self._progress.expect(files)
        tasks: list[Callable[[], None]] = []
        group: list[FoundFile] = []
        grouped = 0
        for file in files:
            if file.size > PART_BYTES:
                tasks.append(partial(self._store_large, file))
            elif file.size > PACKED_FILE_BYTES:
                tasks.append(partial(self._store_group, [file]))
            else:
                group.append(file)
                grouped += file.size
                if grouped >= PACK_BYTES:
                    tasks.append(partial(self._store_group, group))
                    group, grouped = [], 0
        if group:
            tasks.append(partial(self._store_group, group))
        run_in_parallel(pool, tasks)
        return self._result

    def _store_group(self, group: list[FoundFile]) -> None:
        fresh: dict[str, bytes] = {}
        reads: list[_Read] = []
        for file in group:
            read = self._read(file)
            if read is not None:
                reads.append(read)
                if read.hash not in self._known:
                    fresh[read.hash] = read.body
                read.body = b""
        self._put_fresh(fresh)
        self._progress.done(group)
        with self._lock:
            for read in reads:
                self._result.stored.append(
                    StoredFile(
                        found=read.found,
                        hash=read.hash,
                        location=self._known[read.hash],
                        hashed_at_ns=read.hashed_at_ns,
                        stable=read.stable,
                    )
                )

    def _put_fresh(self, fresh: dict[str, bytes]) -> None:
        if not fresh:
            return
        size = sum(len(body) for body in fresh.values())
        locations: dict[str, Location] = {}
        if len(fresh) == 1:
            [(content_hash, body)] = fresh.items()
            self._store.put(object_key(self._prefix, content_hash), body)
            locations[content_hash] = Location()
        else:
            body = b"".join(fresh.values())
            pack = hashlib.sha256(body).hexdigest()
            offset = 0
            for content_hash, content in fresh.items():
                locations[content_hash] = Location(pack, offset)
                offset += len(content)
            self._store.put(pack_key(self._prefix, pack), body)
        with self._lock:
            self._known.update(locations)
            self._result.files += len(fresh)
            self._result.bytes += size

    def _read(self, file: FoundFile) -> _Read | None:
        last: _Read | None = None
        for attempt in range(_READ_ATTEMPTS):
            if attempt:
                time.sleep(_SETTLE_S * attempt)
            started = time.time_ns()
            try:
                fd = self._tree.open_file(file.path)
            except NotFound:
                self._note(gone=file.path)
                return None
            except (OSError, Conflict):
                self._note(lost=file.path)
                return None
            try:
                before = found_file(file.path, os.fstat(fd))
                body = _read_exactly(fd, before.size)
                after = found_file(file.path, os.fstat(fd))
            except OSError:
                self._note(lost=file.path)
                return None
            finally:
                os.close(fd)
            stable = before == after and len(body) == before.size
            found = msgspec.structs.replace(after, size=len(body))
            content_hash = hashlib.sha256(body).hexdigest()
            last = _Read(found=found, body=body, hash=content_hash, hashed_at_ns=started, stable=stable)
            if stable:
                break
        return last

    def _store_large(self, file: FoundFile) -> None:
        self._read_large(file)
        self._progress.done([file])

    def _read_large(self, file: FoundFile) -> None:
        for attempt in range(_READ_ATTEMPTS):
            if attempt:
                time.sleep(_SETTLE_S * attempt)
            started = time.time_ns()
            try:
                fd = self._tree.open_file(file.path)
            except NotFound:
                self._note(gone=file.path)
                return
            except (OSError, Conflict):
                break
            try:
                before = found_file(file.path, os.fstat(fd))
                content_hash = self._send_large(fd, before.size)
                after = found_file(file.path, os.fstat(fd))
            except OSError:
                break
            finally:
                os.close(fd)
            if content_hash is None or (before != after and attempt < _READ_ATTEMPTS - 1):
                continue
            with self._lock:
                self._result.stored.append(
                    StoredFile(
                        found=msgspec.structs.replace(after, size=before.size),
                        hash=content_hash,
                        location=self._known[content_hash],
                        hashed_at_ns=started,
                        stable=before == after,
                    )
                )
            return
        self._note(lost=file.path)

    def _send_large(self, fd: int, size: int) -> str | None:
        """Upload the first `size` bytes; returns their hash, or None if they changed between the two readings."""
        first = hashlib.sha256()
        for chunk in _chunks(fd, size, _READ_BYTES):
            first.update(chunk)
        content_hash = first.hexdigest()
        if content_hash in self._known:
            return content_hash
        sent = hashlib.sha256()

        def parts() -> Iterator[bytes]:
            for part in _chunks(fd, size, PART_BYTES):
                sent.update(part)
                yield part

        key = object_key(self._prefix, content_hash)
        if not self._store.put_parts(key, parts(), confirm=lambda: sent.digest() == first.digest()):
            return None
        with self._lock:
            self._known[content_hash] = Location()
            self._result.files += 1
            self._result.bytes += size
        return content_hash

    def _note(self, *, lost: str | None = None, gone: str | None = None) -> None:
        with self._lock:
            if lost is not None:
                self._result.lost.append(lost)
            if gone is not None:
                self._result.gone.append(gone)


def _chunks(fd: int, size: int, step: int) -> Iterator[bytes]:
    at = 0
    while at < size:
        chunk = _pread(fd, min(step, size - at), at)
        if not chunk:
            return
        at += len(chunk)
        yield chunk


def _pread(fd: int, size: int, offset: int) -> bytes:
    """Exactly `size` bytes, fewer only at the file's end (a part of a multipart upload must be full)."""
    pieces: list[bytes] = []
    missing = size
    while missing:
        piece = os.pread(fd, missing, offset + size - missing)
        if not piece:
            break
        pieces.append(piece)
        missing -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_exactly(fd: int, size: int) -> bytes:
    return _pread(fd, size, 0)
