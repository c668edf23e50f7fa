"""File access that can't leave one folder: every path is walked from the root's descriptor, name by name, and no
symlink is ever followed. So neither a planned path nor a link swapped in at the wrong moment leads outside.

Paths are relative to the root, `/`-separated, the root itself the empty string. All calls block.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from domain.errors import Conflict, InvalidInput, NotFound

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = ".fleetlog-{}.part"


class NotAFile(Conflict):
    """What is at the path is no regular file (a link is never followed)."""

    reason = "not_a_file"


class NotADirectory(Conflict):
    """A part of the path is no directory (a link is never followed)."""

    reason = "not_a_directory"


def parts_of(path: str) -> list[str]:
    """The names of a relative path. Raises InvalidInput for whatever could lead elsewhere."""
    if path == "":
        return []
    names = path.split("/")
    if any(name in {"", ".", ".."} or "\0" in name for name in names):
        raise InvalidInput("path", f"{path!r} must be relative, without empty, '.' or '..' parts")
    return names


class ConfinedTree:
    """One folder, opened once. `close` it at the end."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self._fd = os.open(self.root, _DIRECTORY)

    def close(self) -> None:
        os.close(self._fd)

    def fileno(self) -> int:
        return self._fd

    @contextmanager
    def directory(self, path: str) -> Iterator[int]:
        """A descriptor of the directory at `path`. Raises NotFound, NotADirectory."""
        fd = os.dup(self._fd)
        try:
            for name in parts_of(path):
                try:
                    below = os.open(name, _DIRECTORY, dir_fd=fd)
                except OSError as error:
                    raise _told(error, path) from error
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def made_directory(self, path: str, *, replace: bool) -> Iterator[int]:
        """As `directory`, made where it is missing. With `replace` a link or file in the way is removed first, else
        it is a NotADirectory."""
        fd = os.dup(self._fd)
        try:
            for name in parts_of(path):
                below = self._made_below(fd, name, path, replace=replace)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def lstat(self, path: str) -> os.stat_result | None:
        """What is at the path itself; None when nothing is."""
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

    def read_link(self, path: str) -> str:
        parent, name = _split(path)
        with self.directory(parent) as fd:
            return os.readlink(name, dir_fd=fd)

    def write_file(
        self, path: str, fill: Callable[[Callable[[bytes], object]], int], *, replace_parents: bool
    ) -> os.stat_result:
        """Write a file next to its place, then move it there, over whatever file or link is in that place.

        `fill` writes the content through the function that it is given and answers the permission bits. The answer
        is the stat of the file in place. Raises NotADirectory when the place, or without `replace_parents` a part of
        the way to it, is taken otherwise.
        """
        parent, name = _split(path)
        with self.made_directory(parent, replace=replace_parents) as fd:
            temporary = _TEMPORARY.format(os.urandom(8).hex())
            file = os.open(temporary, _CREATE, 0o600, dir_fd=fd)
            try:
                try:
                    mode = fill(lambda data: _write_all(file, data))
                    os.fchmod(file, mode & 0o777)
                finally:
                    os.close(file)
                if replace_parents:
                    self._clear(fd, name)
                os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
            except IsADirectoryError as error:
                os.unlink(temporary, dir_fd=fd)
                raise NotAFile(f"{path!r} is a directory") from error
            except BaseException:
                os.unlink(temporary, dir_fd=fd)
                raise
            return os.stat(name, dir_fd=fd, follow_symlinks=False)

    def write_link(self, path: str, target: str) -> None:
        """Make a symlink, over whatever is in its place."""
        parent, name = _split(path)
        with self.made_directory(parent, replace=True) as fd:
            self._clear(fd, name)
            os.symlink(target, name, dir_fd=fd)

    def set_mode(self, path: str, mode: int) -> None:
        """Set the permission bits of a directory."""
        with self.directory(path) as fd:
            os.fchmod(fd, mode & 0o777)

    def remove(self, path: str, *, keep: Callable[[str], bool] = lambda _path: False) -> bool:
        """Remove whatever is at the path, with all below it but the paths that `keep` names. Whether nothing stayed."""
        parent, name = _split(path)
        try:
            with self.directory(parent) as fd:
                return self._remove_at(fd, name, path, keep)
        except (NotFound, NotADirectory):
            return True

    def wipe(self) -> None:
        """Remove everything below the root."""
        for name in names_in(self._fd):
            self._remove_at(self._fd, name, name, lambda _path: False)

    def _made_below(self, fd: int, name: str, path: str, *, replace: bool) -> int:
        for _ in range(3):
            try:
                return os.open(name, _DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in {errno.ENOTDIR, errno.ELOOP} or not replace:
                    raise _told(error, path) from error
                os.unlink(name, dir_fd=fd)
            try:
                os.mkdir(name, 0o755, dir_fd=fd)
            except FileExistsError:
                continue
        raise NotADirectory(f"{path!r} keeps changing while it is made")

    def _clear(self, fd: int, name: str) -> None:
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            self._remove_at(fd, name, name, lambda _path: False)
        else:
            os.unlink(name, dir_fd=fd)

    def _remove_at(self, fd: int, name: str, path: str, keep: Callable[[str], bool]) -> bool:
        if keep(path):
            return False
        try:
            below = os.open(name, _DIRECTORY, dir_fd=fd)
        except FileNotFoundError:
            return True
        except PermissionError:
            os.chmod(name, 0o700, dir_fd=fd)
            below = os.open(name, _DIRECTORY, dir_fd=fd)
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
            os.unlink(name, dir_fd=fd)
            return True
        try:
            if os.fstat(below).st_mode & 0o700 != 0o700:
                os.fchmod(below, 0o700)
            emptied = True
            for child in names_in(below):
                emptied = self._remove_at(below, child, f"{path}/{child}", keep) and emptied
        finally:
            os.close(below)
        if emptied:
            os.rmdir(name, dir_fd=fd)
        return emptied


def names_in(fd: int) -> list[str]:
    """What a directory holds, by its descriptor."""
    return os.listdir(fd)


def _split(path: str) -> tuple[str, str]:
    names = parts_of(path)
    if not names:
        raise InvalidInput("path", "the workspace's root itself is not a file")
    return "/".join(names[:-1]), names[-1]


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _told(error: OSError, path: str) -> Exception:
    if error.errno == errno.ENOENT:
        return NotFound(f"there is no {path!r} in the workspace")
    if error.errno in {errno.ENOTDIR, errno.ELOOP}:
        return NotADirectory(f"a part of {path!r} is not a directory")
    return error
