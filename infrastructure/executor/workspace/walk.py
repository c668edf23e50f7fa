"""Lists a workspace: what a sync stores, what it can't store, and what could not be read."""

import errno
import os
import stat
import sys

import msgspec

from domain.workspace.limits import WorkspaceLimits
from domain.workspace.sync import ManifestEntry
from infrastructure.executor.workspace.confined import ConfinedTree
from infrastructure.executor.workspace.errors import WorkspaceOverQuota
from infrastructure.executor.workspace.exclusions import Exclusions
from infrastructure.folder_descent import descend
from infrastructure.stored_workspaces.stored_names import printable

SMALLEST_SPARSE = 8 * 1024 * 1024
"""Smaller files are read whole; what is stored of them can be no more than that."""
_BLOCK = 512
_LONGEST_SHOWN = 200
_UNLIMITED = WorkspaceLimits(files=sys.maxsize, bytes=sys.maxsize, file_bytes=sys.maxsize, depth=sys.maxsize)


class FoundFile(msgspec.Struct, frozen=True, kw_only=True):
    """A regular file with its stat values; `size` in bytes, `mode` are its permission bits. `allocated`: the bytes that
    it takes on the disk, which may change without a change of the file."""

    path: str
    size: int
    allocated: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int

    @property
    def identity(self) -> tuple[int, int, int, int]:
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode)

    @property
    def may_have_holes(self) -> bool:
        """Whether it is worth a look: smaller files are stored whole."""
        return self.size > SMALLEST_SPARSE and self.allocated < self.size

    def is_unchanged(self, later: "FoundFile") -> bool:
        return self.identity == later.identity and self.mode == later.mode


class Walked(msgspec.Struct, kw_only=True):
    """`entries`: folders and symlinks. `skipped`: sockets, FIFOs, devices. `unreadable`: what could not be listed or
    stat'd; `unreadable_folders`: the folders of these. Names that are not UTF-8 hold surrogates (os.fsdecode), but
    `skipped` and `unreadable` are printable."""

    entries: list[ManifestEntry] = []
    files: list[FoundFile] = []
    skipped: list[str] = []
    unreadable: list[str] = []
    unreadable_folders: list[str] = []


def walk(tree: ConfinedTree, exclusions: Exclusions, limits: WorkspaceLimits | None = None) -> Walked:
    """Everything below the root that is not left out; what vanishes meanwhile is not listed. Raises RootGone, and
    WorkspaceOverQuota as soon as more is found than `limits` allow."""
    tree.refresh_root()
    found = Walked()
    if limits is None:
        limits = _UNLIMITED

    def visit(fd: int, folder: str) -> list[str]:
        below: list[str] = []
        with os.scandir(fd) as names:
            for name in names:
                _take(found, below, exclusions, fd, f"{folder}/{name.name}" if folder else name.name, name)
                _check_count(found, limits)
        if below and folder.count("/") + bool(folder) >= limits.depth:
            path = f"{folder}/{below[0]}" if folder else below[0]
            raise WorkspaceOverQuota(f"{shown(path)} lies deeper than {limits.depth} folders (MAX_WORKSPACE_DEPTH)")
        return below

    def unreadable(folder: str, error: OSError) -> None:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            found.unreadable.append(printable(folder))
            found.unreadable_folders.append(folder)

    descend(tree.fileno(), visit, unreadable=unreadable)
    _check_sizes(found, limits)
    return found


def _check_count(found: Walked, limits: WorkspaceLimits) -> None:
    if len(found.files) + len(found.entries) > limits.files:
        what = f"it has more than {limits.files:,} files, links and folders (MAX_WORKSPACE_FILES)"
        raise WorkspaceOverQuota(what)


def _check_sizes(found: Walked, limits: WorkspaceLimits) -> None:
    """Sparse files count with their data, which is found later."""
    for file in found.files:
        if file.size > limits.file_bytes:
            what = f"{shown(file.path)} has {file.size:,} bytes, and {limits.file_bytes:,} are allowed"
            raise WorkspaceOverQuota(f"{what} (MAX_WORKSPACE_FILE_MB)")
    check_bytes(sum(file.size for file in found.files if not file.may_have_holes), limits)


def check_bytes(size: int, limits: WorkspaceLimits) -> None:
    """Raises WorkspaceOverQuota for files of that size in all."""
    if size > limits.bytes:
        raise WorkspaceOverQuota(f"its files have {size:,} bytes, and {limits.bytes:,} are allowed (MAX_WORKSPACE_MB)")


def shown(path: str) -> str:
    """A path in an error: of any length, with any characters."""
    text = printable(path)
    half = _LONGEST_SHOWN // 2
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:half]}…{text[-half:]}")


def _take(
    found: Walked, below: list[str], exclusions: Exclusions, fd: int, path: str, name: "os.DirEntry[str]"
) -> None:
    if exclusions.leaves_out(path, is_link=name.is_symlink()):
        return
    try:
        values = name.stat(follow_symlinks=False)
        kind, mtime_ns = stat.S_IFMT(values.st_mode), values.st_mtime_ns
        if kind == stat.S_IFDIR:
            found.entries.append(ManifestEntry(path=path, kind="dir", mode=values.st_mode & 0o777, mtime_ns=mtime_ns))
            below.append(name.name)
        elif kind == stat.S_IFREG:
            found.files.append(found_file(path, values))
        elif kind == stat.S_IFLNK:
            target = os.readlink(name.name, dir_fd=fd)
            found.entries.append(ManifestEntry(path=path, kind="symlink", target=target, mtime_ns=mtime_ns))
        else:
            found.skipped.append(printable(path))
    except FileNotFoundError:
        return
    except OSError:
        found.unreadable.append(printable(path))


def found_file(path: str, values: os.stat_result) -> FoundFile:
    return FoundFile(
        path=path,
        size=values.st_size,
        allocated=values.st_blocks * _BLOCK,
        mtime_ns=values.st_mtime_ns,
        ctime_ns=values.st_ctime_ns,
        inode=values.st_ino,
        mode=values.st_mode & 0o777,
    )
