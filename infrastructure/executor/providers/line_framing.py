"""Splits a stream of chunks into lines of bounded length."""

from collections.abc import Iterator

import msgspec

MAX_LINE_BYTES = 8 * 1024 * 1024


class Line(msgspec.Struct, frozen=True):
    """A line without its line end. `cut`: it was longer than the limit and truncated. `original`: the line before
    secrets were replaced, for values that are sent back to the CLI."""

    content: bytes
    cut: bool = False
    original: bytes = b""


class LineFraming:
    """Holds at most `limit` bytes; the rest of a longer line is dropped."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._held = bytearray()
        self._cut = False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Add a chunk; yields the lines that it completes."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._hold(piece)
            yield self._line()
        self._hold(rest)

    def finish(self) -> Iterator[Line]:
        """The last line, if it has no line end."""
        if self._held or self._cut:
            yield self._line()

    def _hold(self, piece: bytes) -> None:
        room = self._limit - len(self._held)
        self._held += piece[: max(room, 0)]
        self._cut = self._cut or len(piece) > room

    def _line(self) -> Line:
        line = Line(bytes(self._held).rstrip(b"\r"), self._cut)
        self._held.clear()
        self._cut = False
        return line
