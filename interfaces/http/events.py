"""The log itself, for audits and for people: all of it, or one stream. JSON pages, or the live feed as SSE."""

from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from application.causality import Why
from application.event_streams import EventFilter
from domain.errors import InvalidInput
from domain.event import encode
from domain.record import Metadata, RecordedEvent, time_text
from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import AsOfQuery, Limit, Moment, Number, ReadQuery, Text
from interfaces.http.reading import caught_up, found, moment_of, within_log
from interfaces.http.sse import stream_feed
from interfaces.http.views import View
from projections.ports import EVENT_INDEX, AtPosition

TimeText = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""Times are written here as in the stored events that other answers pass on: see time_text."""


class EventView(View, frozen=True, kw_only=True):
    """An event as the log has it. `payload` is the event's own fields."""

    position: int
    stream: str
    seq: int
    type: str
    schema_version: int
    event_id: str
    occurred_at: TimeText
    recorded_at: TimeText
    metadata: Metadata
    payload: Any


class EventList(View, frozen=True, kw_only=True):
    """`nextAfter`: go on with `?after=` this; None at the end of the log. A search for rare events may find none in the
    part that it looked at, and still not be at the end."""

    events: tuple[EventView, ...]
    next_after: int | None
    as_of_position: int


class StoredEventList(View, frozen=True, kw_only=True):
    """An EventList whose events are the stored bytes, not decoded."""

    events: tuple[msgspec.Raw, ...]
    next_after: int | None
    as_of_position: int


class EventsQuery(ReadQuery, frozen=True, kw_only=True):
    """`after` is a position; `from` and `to` are times of recording, inclusive. `type` may be given several times.
    `text`: words that all are in the event's texts, whatever their case; it is for pages, not for the live feed."""

    after: Number = 0
    limit: Limit = 100
    type: tuple[Text, ...] = ()
    stream: Text = ""
    actor: Text = ""
    correlation_id: Text = ""
    text: Text = ""
    from_: Moment | None = msgspec.field(name="from", default=None)
    to: Moment | None = None


class StreamEventsQuery(AsOfQuery, frozen=True, kw_only=True):
    """`after` is a seq."""

    after: Number = 0
    limit: Limit = 100


async def list_events(call: Call[None, EventsQuery]) -> Answer | Response:
    query = call.query
    wanted = EventFilter(
        types=query.type,
        stream=query.stream,
        actor=query.actor,
        correlation_id=query.correlation_id,
        recorded_from=query.from_,
        recorded_to=query.to,
        text=query.text,
    )
    if call.wants_events:
        if query.text:
            raise InvalidInput("text", "can't be searched in the live feed; ask for JSON")
        return await stream_feed(call.request, call.deps.streams, wanted)
    end = await within_log(call, "after", query.after)
    if query.text:
        await caught_up(call, EVENT_INDEX)
        end = await call.deps.search.indexed()
    elif query.min_position is not None:
        await within_log(call, "minPosition", query.min_position)
    page = await call.deps.search.find(wanted, query.after, query.limit)
    return Answer(
        StoredEventList(
            events=tuple(msgspec.Raw(event) for event in page.events),
            next_after=page.last if page.more else None,
            as_of_position=end if query.text else max(end, page.last),
        )
    )


async def why(call: Call[None, ReadQuery]) -> Answer:
    text = call.path["position"]
    if not text.isdigit() or len(text) > 18:
        raise InvalidInput("position", f"{text[:40]!r} is not the position of an event, a number such as 12")
    await caught_up(call, EVENT_INDEX)
    return Answer(found(await call.deps.causality.why(int(text)), f"no event is at position {text}"))


async def list_stream(call: Call[None, StreamEventsQuery]) -> Answer:
    stream, query, store = call.path["streamId"], call.query, call.deps.store
    if query.min_position is not None:
        await within_log(call, "minPosition", query.min_position)
    moment = moment_of(query) or AtPosition(await store.last_position())
    read = await call.deps.reads.end_of_stream(stream, at=moment)
    last = found(read.value, f"no stream {stream!r} is known").seq
    if query.after > last:
        raise InvalidInput("after", f"{query.after} is beyond the end of the stream, which is at {last}")
    events = await store.read_stream(stream, after_seq=query.after, up_to_seq=last, limit=query.limit)
    seen = events[-1].seq if events else query.after
    return Answer(
        EventList(
            events=tuple(event_view(event) for event in events),
            next_after=seen if seen < last else None,
            as_of_position=read.as_of_position,
        )
    )


def event_view(event: RecordedEvent) -> EventView:
    """An event as the API shows it."""
    return EventView(
        position=event.position,
        stream=event.stream,
        seq=event.seq,
        type=event.event.wire_name,
        schema_version=event.event.schema_version,
        event_id=event.event_id,
        occurred_at=time_text(event.occurred_at),
        recorded_at=time_text(event.recorded_at),
        metadata=event.metadata,
        payload=msgspec.Raw(encode(event.event)),
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/events/{position}/why",
        handler=why,
        tag="log",
        summary="Why an event came to be, from the command on, and everything that it led to, as a tree",
        query=ReadQuery,
        answers={200: Why},
        errors=(404, 503),
    ),
    Endpoint(
        method="GET",
        path="/api/events",
        handler=list_events,
        tag="log",
        summary="The global log: a page as JSON, or live as server-sent events",
        query=EventsQuery,
        answers={200: EventList},
        streams=True,
        errors=(503,),
    ),
    Endpoint(
        method="GET",
        path="/api/streams/{streamId}/events",
        handler=list_stream,
        tag="log",
        summary="One stream of the log, now or as it was",
        query=StreamEventsQuery,
        answers={200: EventList},
        errors=(404,),
    ),
)
