"""Server-sent events: a run's stream, its replay, and the live feed of the whole log.

Answers: 200 with the stream; 204 if the run has ended and `Last-Event-ID` is its last event; 400 for a cursor that is
no number or beyond the end (field `cursor`, `after` or `Last-Event-ID`); 404; 429 with Retry-After beyond what one
caller may have; 503 with Retry-After beyond MAX_STREAMS, while the log can't be read, and during a shutdown. When one
begins, the server must call `StreamHub.end_streams`, or open streams would keep it waiting.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from application.ports.event_streams import ByteStream, EventFilter, EventStreams, StreamRefused
from domain.errors import InvalidInput
from interfaces.http.edge.exchange import SCOPE_KEY
from interfaces.http_conventions.problems import invalid, unavailable

LAST_EVENT_ID = "last-event-id"
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
_CURSOR = re.compile(r"[0-9]{1,18}", re.ASCII)


def unchanged(frames: bytes) -> bytes:
    return frames


@dataclass(frozen=True, kw_only=True)
class RunStreamWire:
    """How the frames of a run's stream are sent. `first`: a frame before all others, where they begin with the run's
    first event. `translate`: whole frames, as they are sent."""

    first: bytes = b""
    translate: Callable[[bytes], bytes] = unchanged


_AS_IT_IS = RunStreamWire()


async def stream_run(request: Request, streams: EventStreams, run_id: str, wire: RunStreamWire = _AS_IT_IS) -> Response:
    """`GET /api/runs/{runId}/stream`: the run's events after `Last-Event-ID`, else `?cursor=`, else from the first. At
    the end of a run that is over: nothing more for the header, which a browser sends, else the closing frames."""
    field, cursor = requested_cursor(request, "cursor")
    with _opening(request, field) as closed:
        stream = await streams.open_run(run_id, cursor, closing_frames=field == "cursor")
        if stream is not None:
            return EventStream(stream, closed.pop_all(), wire, first=b"" if cursor else wire.first)
    return Response(status_code=204, headers={"cache-control": "no-cache"})


async def replay_run(
    request: Request, streams: EventStreams, run_id: str, speed: float, wire: RunStreamWire = _AS_IT_IS
) -> Response:
    """`GET /api/runs/{runId}/stream?replay=true&speed=`: a finished run at its original pace,
    `speed` times as fast (0: at once); it ends with `run.closed`."""
    field, cursor = requested_cursor(request, "cursor")
    with _opening(request, field) as closed:
        stream = await streams.open_replay(run_id, cursor, speed)
        return EventStream(stream, closed.pop_all(), wire)


async def stream_feed(request: Request, streams: EventStreams, wanted: EventFilter) -> Response:
    """`GET /api/events` with `Accept: text/event-stream`: the log's events after `Last-Event-ID`, else `?after=`, else
    from the first; ids are positions."""
    field, after = requested_cursor(request, "after")
    with _opening(request, field) as closed:
        stream = await streams.open_feed(wanted, after)
        return EventStream(stream, closed.pop_all())


def requested_cursor(request: Request, parameter: str) -> tuple[str, int]:
    """The name of the header or parameter that holds the cursor, and the cursor; 0 without one. Raises Problem 400."""
    header = request.headers.get(LAST_EVENT_ID, "")
    field, value = ("Last-Event-ID", header) if header else (parameter, request.query_params.get(parameter, ""))
    if not value:
        return field, 0
    if not _CURSOR.fullmatch(value):
        raise invalid(field, f"{value[:40]!r} is not the id of an event of this stream, a number such as 17")
    return field, int(value)


class EventStream(Response):
    """Sends a stream's bytes as fast as the client takes them, until the stream ends or the client disconnects; closes
    `closed` then."""

    def __init__(
        self, stream: ByteStream, closed: contextlib.ExitStack, wire: RunStreamWire = _AS_IT_IS, *, first: bytes = b""
    ) -> None:
        super().__init__(status_code=200, headers=HEADERS)
        del self.headers["content-length"]
        self._stream, self._closed, self._wire, self._first = stream, closed, wire, first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = self._stream
        if scope["method"] == "HEAD":
            stream.close()
        watcher = asyncio.create_task(_close_on_disconnect(stream, receive), name="stream client")
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if self._first:
                await send({"type": "http.response.body", "body": self._first, "more_body": True})
            while body := await stream.next_body():
                await send({"type": "http.response.body", "body": self._wire.translate(body), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except asyncio.CancelledError:
            if not stream.dropped:
                raise
        finally:
            stream.close()
            self._closed.close()
            watcher.cancel()


async def _close_on_disconnect(stream: ByteStream, receive: Receive) -> None:
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        stream.close()


@contextlib.contextmanager
def _opening(request: Request, field: str) -> Iterator[contextlib.ExitStack]:
    """What is given counts the stream among its caller's until it is closed: at the end of the block, or later by
    whom `pop_all` hands it to."""
    try:
        with contextlib.ExitStack() as closed:
            exchange = request.scope.get(SCOPE_KEY)
            if exchange is not None and exchange.count_stream is not None:
                closed.callback(exchange.count_stream())
            yield closed
    except InvalidInput as error:
        raise invalid(field, error.message) from error
    except StreamRefused as error:
        raise unavailable(str(error), reason=error.reason, retry_after_s=error.retry_after_s) from error
