"""Reads changed files, hashes their content, and uploads what the object store doesn't have yet.

The key is the hash of exactly the bytes that are sent. Files up to 256 KiB are read once and sent together as packs,
files up to 8 MiB once and sent alone. Larger ones are read twice, first for the hash, then in parts for a multipart
upload, which is completed only if both readings have the same hash. Of a sparse file the data alone is read and sent.
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
from domain.workspace.sync import Extents
from infrastructure.executor.workspace.confined import ConfinedTree
from infrastructure.executor.workspace.progress import Progress
from infrastructure.executor.workspace.sparse import extents_of, pieces
from infrastructure.executor.workspace.walk import FoundFile, found_file
from infrastructure.object_store.parallel import run_in_parallel
from infrastructure.stored_workspaces.object_layout import object_key, pack_key

PACKED_FILE_BYTES = 256 * 1024
PACK_BYTES = 4 * 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
MOST_PARTS = 10_000
"""Of a multipart upload: the parts of a larger file are larger."""
_READ_BYTES = 1024 * 1024
_READ_ATTEMPTS = 3
_SETTLE_S = 0.05


class Location(msgspec.Struct, frozen=True, array_like=True):
    """Where a content lies: in the pack (its hash) at the offset in bytes; without a pack in an object of its own."""

    pack: str = ""
    offset: int = 0


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose content is in the store. `stable`: it did not change while it was read. `found` is its stat after
    the read, with the size that was read; `hashed_at_ns` the time before it, since the epoch. `extents`: of a sparse
    file."""

    found: FoundFile
    hash: str
    location: Location
    hashed_at_ns: int
    stable: bool
    extents: Extents | None = None


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
        self,
        store: ObjectStore,
        tree: ConfinedTree,
        prefix: str,
        known: dict[str, Location],
        progress: Progress,
        *,
        largest: int,
    ) -> None:
        """`largest`: the bytes of a file that are read at most, as it may grow meanwhile."""
        self._store = store
        self._tree = tree
        self._prefix = prefix
        self._known = known
        self._progress, self._largest = progress, largest
        self._lock = threading.Lock()
        self._result = Uploaded()

    def reading_from(self, tree: ConfinedTree) -> "Uploader":
        """An uploader that reads from another folder, with the same prefix and the same `known`."""
        return Uploader(self._store, tree, self._prefix, self._known, self._progress, largest=self._largest)

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
            stable = before.is_unchanged(after) and len(body) == before.size
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
                if before.size > self._largest:
                    break
                extents = extents_of(fd, before.size) if before.may_have_holes else None
                content_hash = self._send_large(fd, ((0, before.size),) if extents is None else extents)
                after = found_file(file.path, os.fstat(fd))
            except OSError:
                break
            finally:
                os.close(fd)
            stable = before.is_unchanged(after)
            if content_hash is None or (not stable and attempt < _READ_ATTEMPTS - 1):
                continue
            with self._lock:
                self._result.stored.append(
                    StoredFile(
                        found=msgspec.structs.replace(after, size=before.size),
                        hash=content_hash,
                        location=self._known[content_hash],
                        hashed_at_ns=started,
                        stable=stable,
                        extents=extents,
                    )
                )
            return
        self._note(lost=file.path)

    def _send_large(self, fd: int, extents: Extents) -> str | None:
        """Upload the data of the extents; returns its hash, or None if it changed between the two readings."""
        size = sum(length for _, length in extents)
        first = hashlib.sha256()
        for chunk in pieces(fd, extents, _READ_BYTES):
            first.update(chunk)
        content_hash = first.hexdigest()
        if content_hash in self._known:
            return content_hash
        if not self._sent(object_key(self._prefix, content_hash), fd, extents, size, first.digest()):
            return None
        with self._lock:
            self._known[content_hash] = Location()
            self._result.files += 1
            self._result.bytes += size
        return content_hash

    def _sent(self, key: str, fd: int, extents: Extents, size: int, expected: bytes) -> bool:
        """Whether what was sent has the expected hash; else nothing is stored."""
        if size <= PART_BYTES:
            body = b"".join(pieces(fd, extents, PART_BYTES))
            same = hashlib.sha256(body).digest() == expected
            if same:
                self._store.put(key, body)
            return same
        sent = hashlib.sha256()

        def parts() -> Iterator[bytes]:
            for part in pieces(fd, extents, part_size(size)):
                sent.update(part)
                yield part

        return self._store.put_parts(key, parts(), confirm=lambda: sent.digest() == expected)

    def _note(self, *, lost: str | None = None, gone: str | None = None) -> None:
        with self._lock:
            if lost is not None:
                self._result.lost.append(lost)
            if gone is not None:
                self._result.gone.append(gone)


def part_size(size: int) -> int:
    """The bytes of a part, so that an object of `size` bytes has MOST_PARTS at most."""
    return max(PART_BYTES, -(-size // MOST_PARTS))


def _read_exactly(fd: int, size: int) -> bytes:
    """Exactly `size` bytes, fewer only at the file's end."""
    return b"".join(pieces(fd, ((0, size),), size)) if size else b""
