"""The holes of sparse files: found without reading them, never stored, and made again by a restore."""

import errno
import os
from collections.abc import Iterator

from domain.workspace.sync import Extents
from infrastructure.executor.workspace.confined import FileWriter

SMALLEST_HOLE = 1024 * 1024
MOST_EXTENTS = 1024
"""Of one file. Holes are looked for in steps of at least SMALLEST_HOLE; what is smaller is stored as zeros. Steps are
powers of two, so that a restored file, whose blocks are smaller, has the same extents."""


def extents_of(fd: int, size: int) -> Extents | None:
    """Where a file of `size` bytes holds data: (offset, length) in order; None if it has no hole worth it."""
    step = max(SMALLEST_HOLE, 1 << (-(-size // MOST_EXTENTS) - 1).bit_length())
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        data = _seek(fd, at, os.SEEK_DATA)
        if data is None or data >= size:
            break
        start = max(data // step * step, at)
        hole = _seek(fd, data, os.SEEK_HOLE)
        at = min(-(-(size if hole is None else hole) // step) * step, size)
        if found and found[-1][0] + found[-1][1] == start:
            found[-1] = (found[-1][0], at - found[-1][0])
        else:
            found.append((start, at - start))
    return tuple(found) if sum(length for _, length in found) < size else None


def _seek(fd: int, offset: int, whence: int) -> int | None:
    """None where there is nothing more of that kind."""
    try:
        return os.lseek(fd, offset, whence)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def pieces(fd: int, extents: Extents, step: int) -> Iterator[bytes]:
    """The data of the extents, one after the other, `step` bytes at a time but for the last. It ends where the file
    does."""
    held, missing = list[bytes](), step
    for offset, length in extents:
        at, end = offset, offset + length
        while at < end:
            piece = os.pread(fd, min(missing, end - at), at)
            if not piece:
                break
            at += len(piece)
            held.append(piece)
            missing -= len(piece)
            if not missing:
                yield held[0] if len(held) == 1 else b"".join(held)
                held, missing = [], step
    if held:
        yield b"".join(held)


class ExtentsWriter:
    """Writes the data of extents where they were in the file, and leaves holes between."""

    def __init__(self, write: FileWriter, extents: Extents, size: int) -> None:
        self._write, self._size = write, size
        self._left = iter(extents)
        self._room = self._at = 0

    def __call__(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if not self._room:
                offset, self._room = next(self._left, (self._size, len(view)))
                self._skip_to(offset)
            piece = view[: self._room]
            self._write(piece)
            self._at += len(piece)
            self._room -= len(piece)
            view = view[len(piece) :]

    def end(self) -> None:
        """The hole at the end of the file."""
        self._skip_to(self._size)

    def _skip_to(self, offset: int) -> None:
        self._write.skip(offset - self._at)
        self._at = max(offset, self._at)
