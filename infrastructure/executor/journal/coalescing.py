"""Joins small text deltas before they are journaled. The first goes at once; later ones are joined for up to 50 ms or
2 KiB (counted in characters). Other events first flush the text that is held, then go through at once, so the order
stays."""

import asyncio

from domain.event import Event
from domain.run.events import MessageDelta, ReasoningDelta
from infrastructure.executor.journal.run_journal import JournalFailed, RunJournal

FLUSH_AFTER_S = 0.05
FLUSH_BYTES = 2 * 1024
# Characters per entry. JSON needs at most six bytes for one, so the payload stays below its limit of 256 KiB.
_MAX_TEXT = 32 * 1024


class CoalescingJournal:
    """Appends one run's events to its journal. Use it from the event loop's thread."""

    def __init__(self, journal: RunJournal) -> None:
        self._journal = journal
        self._buffered: MessageDelta | ReasoningDelta | None = None
        self._texts: list[str] = []
        self._bytes = 0
        self._last_flush = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, event: Event) -> None:
        """Append the event, or hold its text for up to 50 ms. Waits while more than 1 MiB is queued for the disk.
        Raises JournalFailed."""
        if isinstance(event, MessageDelta | ReasoningDelta):
            self._buffer(event)
        else:
            self.flush()
            self._journal.append(event)
        await self._journal.room()

    def flush(self) -> None:
        """Append the text that is held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._buffered is None:
            return
        template, text = self._buffered, "".join(self._texts)
        self._buffered, self._texts, self._bytes = None, [], 0
        self._last_flush = asyncio.get_running_loop().time()
        for start in range(0, len(text), _MAX_TEXT):
            piece = text[start : start + _MAX_TEXT]
            if isinstance(template, MessageDelta):
                self._journal.append(MessageDelta(text=piece, channel=template.channel))
            else:
                self._journal.append(ReasoningDelta(text=piece))

    def _buffer(self, event: MessageDelta | ReasoningDelta) -> None:
        if self._buffered is not None and not _same_stream(self._buffered, event):
            self.flush()
        self._buffered = event
        self._texts.append(event.text)
        self._bytes += len(event.text)
        now = asyncio.get_running_loop().time()
        due = self._last_flush + FLUSH_AFTER_S
        if self._bytes >= FLUSH_BYTES or now >= due:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(due - now, self._flush_late)

    def _flush_late(self) -> None:
        self._timer = None
        try:
            self.flush()
        except JournalFailed:
            return  # the next `take`, or the run's end, raises the same error


def _same_stream(one: MessageDelta | ReasoningDelta, other: MessageDelta | ReasoningDelta) -> bool:
    if isinstance(one, MessageDelta) and isinstance(other, MessageDelta):
        return one.channel == other.channel
    return type(one) is type(other)
