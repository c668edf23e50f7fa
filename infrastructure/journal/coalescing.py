"""Puts small pieces of text together before they are journaled: the first at once, then what comes within 50 ms or up
to 2 KiB. Everything else goes straight through, in order."""

import asyncio

from domain.event import Event
from domain.run.events import MessageDelta, ReasoningDelta
from infrastructure.journal.run_journal import JournalFailed, RunJournal

FLUSH_AFTER_S = 0.05
FLUSH_BYTES = 2 * 1024
# In JSON a character takes at most six bytes here, so that a payload stays well below its limit.
_MAX_TEXT = 32 * 1024


class CoalescingJournal:
    """One run's way into its journal. Use it from the event loop's thread."""

    def __init__(self, journal: RunJournal) -> None:
        self._journal = journal
        self._buffered: MessageDelta | ReasoningDelta | None = None
        self._texts: list[str] = []
        self._bytes = 0
        self._last_flush = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, event: Event) -> None:
        """Journal the event, now or soon. Waits while the disk is behind. Raises JournalFailed."""
        if isinstance(event, MessageDelta | ReasoningDelta):
            self._buffer(event)
        else:
            self.flush()
            self._journal.append(event)
        await self._journal.room()

    def flush(self) -> None:
        """Journal the text that waits."""
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
            return  # the next event's taker, or the run's end, meets the same failure and tells it


def _same_stream(one: MessageDelta | ReasoningDelta, other: MessageDelta | ReasoningDelta) -> bool:
    if isinstance(one, MessageDelta) and isinstance(other, MessageDelta):
        return one.channel == other.channel
    return type(one) is type(other)
