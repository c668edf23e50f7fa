"""The event log: all of it, or one stream, as JSON pages; the whole log also live as server-sent events."""

from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from application.ports.causality import Why
from application.ports.event_streams import EventFilter
from domain.errors import InvalidInput
from domain.event import encode
from domain.record import Metadata, RecordedEvent, time_text
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import AsOfQuery, Limit, Number, ReadQuery, Text, Timestamp
from interfaces.http.edge.sse import stream_feed
from interfaces.http.resources.reading import as_of, caught_up, found, within_log
from interfaces.http.resources.views import AnswerBody
from projections.ports import EVENT_INDEX, AtPosition

TimeText = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""A time in the format of stored events, which other answers pass through undecoded: see time_text."""


class EventView(AnswerBody, frozen=True, kw_only=True):
    """A recorded event. `payload`: the fields of its type."""

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


class EventList(AnswerBody, frozen=True, kw_only=True):
    """`nextAfter`: pass it as `?after=` for the next page; null at the end of the log. A page of a search may be empty
    and still have a next one: each request searches a bounded part of the log."""

    events: tuple[EventView, ...]
    next_after: int | None
    as_of_position: int


class StoredEventList(AnswerBody, frozen=True, kw_only=True):
    """An EventList whose events are stored JSON that is passed through undecoded."""

    events: tuple[msgspec.Raw, ...]
    next_after: int | None
    as_of_position: int


class EventsQuery(ReadQuery, frozen=True, kw_only=True):
    """`after`: a position. `from` and `to`: times of recording, inclusive. `type` may be repeated. `text`: words that
    must all occur in the event's payload, in any case; only for JSON pages, not for the live feed."""

    after: Number = 0
    limit: Limit = 100
    type: tuple[Text, ...] = ()
    stream: Text = ""
    actor: Text = ""
    correlation_id: Text = ""
    text: Text = ""
    from_: Timestamp | None = msgspec.field(name="from", default=None)
    to: Timestamp | None = None


class StreamEventsQuery(AsOfQuery, frozen=True, kw_only=True):
    """`after` is a seq."""

    after: Number = 0
    limit: Limit = 100


async def list_events(call: ApiCall[None, EventsQuery]) -> JsonAnswer | Response:
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
    return JsonAnswer(
        StoredEventList(
            events=tuple(msgspec.Raw(event) for event in page.events),
            next_after=page.last if page.more else None,
            as_of_position=end if query.text else max(end, page.last),
        )
    )


async def why(call: ApiCall[None, ReadQuery]) -> JsonAnswer:
    text = call.path["position"]
    if not text.isdigit() or len(text) > 18:
        raise InvalidInput("position", f"{text[:40]!r} is not the position of an event, a number such as 12")
    await caught_up(call, EVENT_INDEX)
    return JsonAnswer(found(await call.deps.causality.why(int(text)), f"no event is at position {text}"))


async def list_stream(call: ApiCall[None, StreamEventsQuery]) -> JsonAnswer:
    stream, query, store = call.path["streamId"], call.query, call.deps.store
    if query.min_position is not None:
        await within_log(call, "minPosition", query.min_position)
    at = as_of(query) or AtPosition(await store.last_position())
    read = await call.deps.reads.end_of_stream(stream, at=at)
    last = found(read.value, f"no stream {stream!r} is known").seq
    if query.after > last:
        raise InvalidInput("after", f"{query.after} is beyond the end of the stream, which is at {last}")
    page = await store.read_page(stream, after_seq=query.after, up_to_seq=last, limit=query.limit)
    seen = page.events[-1].seq if page.events else query.after
    return JsonAnswer(
        EventList(
            events=tuple(event_view(event) for event in page.events),
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
        name="explainEvent",
        method="GET",
        path="/api/events/{position}/why",
        handler=why,
        costly=True,
        tag="log",
        summary="The causal tree of an event: from the command that led to it to all its consequences",
        query=ReadQuery,
        answers={200: Why},
        errors=(404, 503),
    ),
    Endpoint(
        name="listEvents",
        method="GET",
        path="/api/events",
        handler=list_events,
        tag="log",
        summary="The global log: a page as JSON, or live as server-sent events",
        query=EventsQuery,
        answers={200: EventList},
        streams=True,
        errors=(503,),
        example=Example(query={"type": ["run.finished"], "limit": 2}),
    ),
    Endpoint(
        name="listStreamEvents",
        method="GET",
        path="/api/streams/{streamId}/events",
        handler=list_stream,
        tag="log",
        summary="The events of one stream, now or as they were",
        query=StreamEventsQuery,
        answers={200: EventList},
        errors=(404,),
        example=Example(query={"after": 1, "limit": 2}),
    ),
)
