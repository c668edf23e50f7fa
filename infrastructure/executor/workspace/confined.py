"""File access that can't leave one folder: every path is opened from the root's descriptor, name by name, with
O_NOFOLLOW. So neither a given path nor a symlink swapped in by a running agent leads outside.

Paths are relative to the root, `/`-separated, the root itself the empty string. All calls block.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import NamedTuple

from domain.errors import Conflict, InvalidInput, NotFound
from domain.workspace.paths import parts_of
from infrastructure.folder_descent import descend

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = ".fleetlog-{}.part"


class NewFile(NamedTuple):
    """A small file to write, with its permission bits and, if known, its modification time."""

    path: str
    content: bytes | memoryview
    mode: int
    mtime_ns: int | None = None


class FileWriter:
    """Appends to a new file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __call__(self, data: bytes | memoryview) -> None:
        _write_all(self._fd, data)

    def skip(self, length: int) -> None:
        """Go on after a hole; at the end of a file, it is the file's end."""
        if length > 0:
            os.ftruncate(self._fd, os.lseek(self._fd, length, os.SEEK_CUR))


class NotAFile(Conflict):
    """The path is not a regular file; symlinks are not followed."""

    reason = "not_a_file"


class NotADirectory(Conflict):
    """A part of the path is not a directory; symlinks are not followed."""

    reason = "not_a_directory"


class RootGone(Conflict):
    """There is no folder at the root's path any more. The deleted folder, still open, would list as empty."""

    reason = "workspace_gone"


class ConfinedTree:
    """One folder, held open until `close`. Raises RootGone when there is no folder at `root`.

    Files and folders made in it belong to `owner`, a numeric user and group id; None: to our own user.
    """

    def __init__(self, root: str, *, owner: int | None = None) -> None:
        self.root = os.path.realpath(root)
        self.owner = owner
        self._fd = self._open_root()

    def close(self) -> None:
        os.close(self._fd)

    def fileno(self) -> int:
        return self._fd

    def refresh_root(self) -> bool:
        """Whether the folder at the root's path is still the one that is open. If it was replaced, the new one is
        opened and is the root from now on, because agents work in it. Raises RootGone when there is none."""
        fd = self._open_root()
        try:
            same = os.path.samestat(os.fstat(fd), os.fstat(self._fd))
            if not same:
                os.dup2(fd, self._fd, inheritable=False)
        finally:
            os.close(fd)
        return same

    def _open_root(self) -> int:
        try:
            return os.open(self.root, _DIRECTORY)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                raise
            raise RootGone(f"the workspace's folder is gone: {self.root}") from error

    @contextmanager
    def directory(self, path: str) -> Iterator[int]:
        """A descriptor of the directory at `path`. Raises NotFound, NotADirectory."""
        fd = os.dup(self._fd)
        try:
            for name in parts_of(path):
                try:
                    below = os.open(name, _DIRECTORY, dir_fd=fd)
                except OSError as error:
                    raise _domain_error(error, path) from error
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def ensure_directory(self, path: str, *, replace: bool) -> Iterator[int]:
        """As `directory`, but makes missing directories. A symlink or file in the way is removed with `replace`, else
        it raises NotADirectory."""
        fd = os.dup(self._fd)
        try:
            for name in parts_of(path):
                below = self._ensure_below(fd, name, path, replace=replace)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def lstat(self, path: str) -> os.stat_result | None:
        """The stat of what is at the path, symlinks not followed; None when nothing is."""
        if path == "":
            return os.fstat(self._fd)
        parent, name = _split(path)
        try:
            with self.directory(parent) as fd:
                return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except (NotFound, NotADirectory, FileNotFoundError):
            return None

    def open_file(self, path: str) -> int:
        """A descriptor of the regular file at the path, for reading. Raises NotFound, NotAFile, PermissionError."""
        parent, name = _split(path)
        with self.directory(parent) as parent_fd:
            try:
                fd = os.open(name, _READ, dir_fd=parent_fd)
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENXIO, errno.ENODEV}:
                    raise NotAFile(f"{path!r} is not a regular file") from error
                if error.errno == errno.ENOENT:
                    raise NotFound(f"there is no file {path!r}") from error
                raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise NotAFile(f"{path!r} is not a regular file")
        return fd

    def write_file(self, path: str, fill: Callable[["FileWriter"], int], *, replace_parents: bool) -> os.stat_result:
        """Write a temporary file beside `path`, then rename it over a file or symlink at `path`. Returns its stat.

        `fill` writes the content through the function that it is given and returns the permission bits. With
        `replace_parents`, what is in the way is removed; without, raises NotADirectory when a part of the path is no
        directory and NotAFile when the path is a directory.
        """
        parent, name = _split(path)
        with self.ensure_directory(parent, replace=replace_parents) as fd:
            temporary = _TEMPORARY.format(os.urandom(8).hex())
            file = os.open(temporary, _CREATE, 0o600, dir_fd=fd)
            try:
                try:
                    mode = fill(FileWriter(file))
                    if self.owner is not None:
                        os.fchown(file, self.owner, self.owner)
                    os.fchmod(file, mode & 0o777)
                finally:
                    os.close(file)
                if replace_parents and _is_directory(fd, name):
                    self.remove(path)
                os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
            except IsADirectoryError as error:
                os.unlink(temporary, dir_fd=fd)
                raise NotAFile(f"{path!r} is a directory") from error
            except BaseException:
                os.unlink(temporary, dir_fd=fd)
                raise
            return os.stat(name, dir_fd=fd, follow_symlinks=False)

    def write_files(self, files: Iterable[NewFile]) -> Iterator[os.stat_result]:
        """Write small files and yield the stat of each; replaces what is in the way. Fast when successive files lie in
        the same folder and do not exist yet."""
        with ExitStack() as opened:
            folder, fd = None, -1
            for file in files:
                parent, name = _split(file.path)
                if parent != folder:
                    opened.close()
                    folder, fd = parent, opened.enter_context(self.ensure_directory(parent, replace=True))
                try:
                    yield _create(fd, name, file, self.owner)
                except FileExistsError:
                    written = self.write_file(file.path, partial(_fill, file), replace_parents=True)
                    yield written if file.mtime_ns is None else self.set_mtime(file.path, file.mtime_ns)

    def write_link(self, path: str, target: str) -> None:
        """Make a symlink; replaces what is at the path."""
        parent, name = _split(path)
        with self.ensure_directory(parent, replace=True) as fd:
            self.remove(path)
            os.symlink(target, name, dir_fd=fd)

    def set_mtime(self, path: str, mtime_ns: int) -> os.stat_result:
        """Set the modification time of what is at the path, symlinks not followed. Returns its stat."""
        parent, name = _split(path)
        with self.directory(parent) as fd:
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=fd, follow_symlinks=False)
            return os.stat(name, dir_fd=fd, follow_symlinks=False)

    def remove(self, path: str, *, keep: Callable[[str], bool] = lambda _path: False) -> bool:
        """Remove what is at the path and below it, except paths for which `keep` is true. Returns whether nothing is
        left."""
        found = self.lstat(path)
        if found is None:
            return True
        if keep(path):
            return False
        parent, name = _split(path)
        with self.directory(parent) as fd:
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=fd)
                return True
            if not self._emptied(path, keep):
                return False
            os.rmdir(name, dir_fd=fd)
        return True

    def wipe(self) -> None:
        """Remove everything below the root."""
        for name in names_in(self._fd):
            self.remove(name)

    def _emptied(self, path: str, keep: Callable[[str], bool]) -> bool:
        failed: list[OSError] = []

        def visit(fd: int, folder: str) -> list[str]:
            below: list[str] = []
            for name in names_in(fd):
                if keep(f"{path}/{folder}/{name}" if folder else f"{path}/{name}"):
                    continue
                mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
                if not stat.S_ISDIR(mode):
                    os.unlink(name, dir_fd=fd)
                    continue
                if mode & 0o700 != 0o700:
                    os.chmod(name, 0o700, dir_fd=fd)
                below.append(name)
            return below

        with self._writable_directory(path) as fd:
            descend(fd, visit, unreadable=lambda _path, error: failed.append(error), leave=_remove_if_empty)
            if failed:
                raise failed[0]
            return not names_in(fd)

    @contextmanager
    def _writable_directory(self, path: str) -> Iterator[int]:
        parent, name = _split(path)
        with self.directory(parent) as parent_fd:
            try:
                fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
            except PermissionError:
                os.chmod(name, 0o700, dir_fd=parent_fd)
                fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
            try:
                if os.fstat(fd).st_mode & 0o700 != 0o700:
                    os.fchmod(fd, 0o700)
                yield fd
            finally:
                os.close(fd)

    def _ensure_below(self, fd: int, name: str, path: str, *, replace: bool) -> int:
        for _ in range(3):
            try:
                return os.open(name, _DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in {errno.ENOTDIR, errno.ELOOP} or not replace:
                    raise _domain_error(error, path) from error
                with suppress(FileNotFoundError):  # another thread of the same restore has done it
                    os.unlink(name, dir_fd=fd)
            try:
                os.mkdir(name, 0o755, dir_fd=fd)
            except FileExistsError:
                continue
            if self.owner is not None:
                # By descriptor: the name may point elsewhere by now.
                made = os.open(name, _DIRECTORY, dir_fd=fd)
                os.fchown(made, self.owner, self.owner)
                return made
        raise NotADirectory(f"{path!r} keeps changing while it is made")


def _create(fd: int, name: str, file: NewFile, owner: int | None) -> os.stat_result:
    created = os.open(name, _CREATE, file.mode & 0o777, dir_fd=fd)
    try:
        _write_all(created, file.content)
        if owner is not None:
            os.fchown(created, owner, owner)
        if file.mtime_ns is not None:
            os.utime(created, ns=(file.mtime_ns, file.mtime_ns))
        values = os.fstat(created)
        if values.st_mode & 0o777 != file.mode & 0o777:
            os.fchmod(created, file.mode & 0o777)
            values = os.fstat(created)
        return values
    finally:
        os.close(created)


def _fill(file: NewFile, write: FileWriter) -> int:
    write(file.content)
    return file.mode


def _remove_if_empty(fd: int, name: str) -> None:
    try:
        os.rmdir(name, dir_fd=fd)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def _is_directory(fd: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def names_in(fd: int) -> list[str]:
    """The names in a directory, by its descriptor."""
    return os.listdir(fd)


def _split(path: str) -> tuple[str, str]:
    names = parts_of(path)
    if not names:
        raise InvalidInput("path", "the workspace's root itself is not a file")
    return "/".join(names[:-1]), names[-1]


def _write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _domain_error(error: OSError, path: str) -> Exception:
    if error.errno == errno.ENOENT:
        return NotFound(f"there is no {path!r} in the workspace")
    if error.errno in {errno.ENOTDIR, errno.ELOOP}:
        return NotADirectory(f"a part of {path!r} is not a directory")
    return error
