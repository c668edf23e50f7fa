"""Lines out of chunks, as they come, with a bound."""

from collections.abc import Iterator

import msgspec

MAX_LINE_BYTES = 8 * 1024 * 1024


class Line(msgspec.Struct, frozen=True):
    """A line without its end. `cut`: it was longer than the bound, the rest is lost. `original`: the same before
    secrets were taken out, for what goes back to who said it."""

    content: bytes
    cut: bool = False
    original: bytes = b""


class LineFraming:
    """Memory is bounded by the longest line that is allowed, whatever comes."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._held = bytearray()
        self._cut = False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The lines that the chunk ends, in order."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._hold(piece)
            yield self._line()
        self._hold(rest)

    def finish(self) -> Iterator[Line]:
        """The last line, when nothing ended it."""
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
