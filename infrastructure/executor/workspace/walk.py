"""Lists a workspace: what a sync stores, what it can't store, and what could not be read."""

import os
import stat

import msgspec

from domain.errors import Conflict, NotFound
from domain.workspace.sync import ManifestEntry
from infrastructure.executor.workspace.confined import ConfinedTree
from infrastructure.executor.workspace.exclusions import Exclusions
from infrastructure.stored_workspaces.stored_names import printable


class FoundFile(msgspec.Struct, frozen=True, kw_only=True):
    """A regular file with its stat values; `size` in bytes, `mode` are its permission bits."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int

    @property
    def identity(self) -> tuple[int, int, int, int]:
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode)


class Walked(msgspec.Struct, kw_only=True):
    """`entries`: folders and symlinks. `skipped`: sockets, FIFOs, devices. `unreadable`: what could not be listed or
    stat'd; `unreadable_folders`: the folders of these. Names that are not UTF-8 hold surrogates (os.fsdecode), but
    `skipped` and `unreadable` are printable."""

    entries: list[ManifestEntry] = []
    files: list[FoundFile] = []
    skipped: list[str] = []
    unreadable: list[str] = []
    unreadable_folders: list[str] = []


def walk(tree: ConfinedTree, exclusions: Exclusions) -> Walked:
    """Everything below the root that is not left out; what vanishes meanwhile is not listed. Raises RootGone."""
    tree.refresh_root()
    found = Walked()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with tree.directory(folder) as fd, os.scandir(fd) as names:
                for name in names:
                    _take(found, waiting, exclusions, fd, f"{folder}/{name.name}" if folder else name.name, name)
        except (NotFound, Conflict):
            if folder:
                continue
            raise
        except OSError:
            found.unreadable.append(printable(folder))
            found.unreadable_folders.append(folder)
    return found


def _take(
    found: Walked, waiting: list[str], exclusions: Exclusions, fd: int, path: str, name: "os.DirEntry[str]"
) -> None:
    if exclusions.leaves_out(path, is_link=name.is_symlink()):
        return
    try:
        values = name.stat(follow_symlinks=False)
        kind, mtime_ns = stat.S_IFMT(values.st_mode), values.st_mtime_ns
        if kind == stat.S_IFDIR:
            found.entries.append(ManifestEntry(path=path, kind="dir", mode=values.st_mode & 0o777, mtime_ns=mtime_ns))
            waiting.append(path)
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
        mtime_ns=values.st_mtime_ns,
        ctime_ns=values.st_ctime_ns,
        inode=values.st_ino,
        mode=values.st_mode & 0o777,
    )
