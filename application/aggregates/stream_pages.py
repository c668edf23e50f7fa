"""A whole stream, page by page: never more of it in memory than a page, and others get their turn in between."""

from collections.abc import AsyncIterator

from application.ports.event_store import EventStore
from application.turns import Turn
from domain.record import RecordedEvent

EVENTS_PER_PAGE = 1000


async def events_of(
    store: EventStore, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None
) -> AsyncIterator[RecordedEvent]:
    """The events of a stream, in order."""
    turn = Turn()
    more = True
    while more:
        page = await store.read_page(stream, after_seq=after_seq, up_to_seq=up_to_seq, limit=EVENTS_PER_PAGE)
        for event in page.events:
            yield event
            if turn.over:
                await turn.next()
        more = page.more
        after_seq = page.events[-1].seq if page.events else after_seq
