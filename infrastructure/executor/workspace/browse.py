"""Reads the live workspace for people: lists it, opens files, makes a tar of it. All calls block."""

import contextlib
import os
import queue
import stat
import tarfile
from collections.abc import Generator
from io import RawIOBase

import msgspec

from application.executor_protocol import TreeEntry
from domain.errors import Conflict, NotFound
from domain.workspace.paths import WORKSPACE, check_workspace_path, relative
from infrastructure.executor.workspace.confined import ConfinedTree, names_in
from infrastructure.executor.workspace.exclusions import Exclusions
from infrastructure.executor.workspace.walk import walk
from infrastructure.folder_descent import descend
from infrastructure.stored_workspaces.stored_names import is_utf8, printable

MAX_TREE_ENTRIES = 50_000
READ_BYTES = 256 * 1024
_QUEUED_CHUNKS = 16
_PUT_TIMEOUT_S = 60.0


class TooManyEntries(Conflict):
    reason = "too_many_entries"


def list_tree(tree: ConfinedTree, path: str) -> tuple[TreeEntry, ...]:
    """Everything below a folder, sorted by path; for a file or symlink the one entry. Raises NotFound, TooManyEntries
    (over 50,000)."""
    root = relative(check_workspace_path("path", path))
    found = tree.lstat(root)
    if found is None:
        raise NotFound(f"there is no {path!r} in the workspace")
    if not stat.S_ISDIR(found.st_mode):
        with tree.directory(root.rpartition("/")[0]) as fd:
            return (_tree_entry(fd, root.rpartition("/")[2], root, found),)
    entries: list[TreeEntry] = []

    def visit(fd: int, folder: str) -> list[str]:
        below: list[str] = []
        for name in names_in(fd):
            with contextlib.suppress(FileNotFoundError):
                values = os.stat(name, dir_fd=fd, follow_symlinks=False)
                entries.append(_tree_entry(fd, name, "/".join(filter(None, (root, folder, name))), values))
                if stat.S_ISDIR(values.st_mode) and is_utf8(name):
                    below.append(name)
            if len(entries) > MAX_TREE_ENTRIES:
                raise TooManyEntries(f"more than {MAX_TREE_ENTRIES} entries below {path!r}: ask for a subfolder")
        return below

    with tree.directory(root) as fd:
        descend(fd, visit, unreadable=lambda _path, _error: None)
    return tuple(sorted(entries, key=lambda entry: entry.path))


def _tree_entry(fd: int, name: str, path: str, values: os.stat_result) -> TreeEntry:
    shown = f"{WORKSPACE}/{printable(path)}"
    mode = values.st_mode & 0o777
    if stat.S_ISDIR(values.st_mode):
        return TreeEntry(path=shown, kind="dir", mode=mode)
    if stat.S_ISREG(values.st_mode):
        return TreeEntry(path=shown, kind="file", size=values.st_size, mode=mode)
    if stat.S_ISLNK(values.st_mode):
        return TreeEntry(path=shown, kind="symlink", target=printable(os.readlink(name, dir_fd=fd)))
    return TreeEntry(path=shown, kind="other", mode=mode)


def open_for_reading(tree: ConfinedTree, path: str) -> tuple[int, int]:
    """A descriptor of the regular file, and its size in bytes. Raises NotFound, Conflict, InvalidInput."""
    try:
        fd = tree.open_file(relative(check_workspace_path("path", path)))
    except PermissionError as error:
        raise Conflict(f"{path!r} can't be read by the executor", "unreadable") from error
    return fd, os.fstat(fd).st_size


def tar_chunks(tree: ConfinedTree, path: str, *, exclusions: Exclusions, chunks: "queue.Queue[bytes | None]") -> None:
    """Put an uncompressed tar of a folder into the bounded queue, chunk by chunk, then None. Names are relative to the
    folder; agents' credential files, sockets, FIFOs and devices are left out. Raises queue.Full when nothing reads the
    queue for 60 s."""
    root = relative(check_workspace_path("path", path))
    writer = _QueueWriter(chunks)
    with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT, bufsize=READ_BYTES) as tar:
        # Folders and links with the name of a credential file are packed; files with such a name are left out below.
        walked = walk(tree, msgspec.structs.replace(exclusions, agent_data="\0"))
        inside = f"{root}/" if root else ""
        for entry in sorted(walked.entries, key=lambda entry: entry.path):
            if entry.path.startswith(inside):
                info = tarfile.TarInfo(entry.path[len(inside) :])
                info.type = tarfile.DIRTYPE if entry.kind == "dir" else tarfile.SYMTYPE
                info.mode = entry.mode or 0o777
                info.linkname = entry.target
                tar.addfile(info)
        for file in walked.files:
            if file.path.startswith(inside) and not exclusions.is_credential(file.path):
                _add_file(tree, tar, file.path, file.path[len(inside) :])
    writer.end()


def _add_file(tree: ConfinedTree, tar: tarfile.TarFile, path: str, name: str) -> None:
    try:
        fd = tree.open_file(path)
    except (NotFound, Conflict, OSError):
        return
    with os.fdopen(fd, "rb") as file:
        values = os.fstat(file.fileno())
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = values.st_size, values.st_mode & 0o777, values.st_mtime
        tar.addfile(info, _ExactLength(file.fileno(), values.st_size))  # type: ignore[arg-type]


class _ExactLength:
    """A file's first `size` bytes, padded with zeros if it shrinks meanwhile: the tar header has named its size."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self._left = fd, size

    def read(self, size: int) -> bytes:
        size = min(size, self._left)
        self._left -= size
        data = os.read(self._fd, size) if size else b""
        while len(data) < size:
            more = os.read(self._fd, size - len(data))
            data += more or bytes(size - len(data))
        return data


class _QueueWriter(RawIOBase):
    def __init__(self, chunks: "queue.Queue[bytes | None]") -> None:
        super().__init__()
        self._chunks = chunks

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._chunks.put(bytes(data), timeout=_PUT_TIMEOUT_S)
        return len(data)

    def end(self) -> None:
        self._chunks.put(None, timeout=_PUT_TIMEOUT_S)


def queue_of_chunks() -> "queue.Queue[bytes | None]":
    return queue.Queue(maxsize=_QUEUED_CHUNKS)


def read_chunks(fd: int) -> Generator[bytes, None, None]:
    """A descriptor's bytes to the end of the file, in chunks; closes it."""
    with os.fdopen(fd, "rb", buffering=0) as file:
        while chunk := file.read(READ_BYTES):
            yield chunk
