"""uvicorn's HTTP protocol, with bounds on a request's head, on connections and on slow readers, and problem documents
for invalid HTTP."""

import asyncio
import sys
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from application.trace_context import new_trace_id
from interfaces.http_conventions.problems import MEDIA_TYPE, Problem, problem_body

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 30.0
WRITE_WINDOW_S = 60.0
LEAST_WRITTEN_BYTES = 16 * 1024
"""A reader must take so much of what waits for it in each WRITE_WINDOW_S, or all of it."""


class _HeadTooLarge(Exception):
    """Raised into the parser, which then calls nothing more."""


class Connections:
    """The connections of one server. Beyond `most`, the one that has been idle longest makes room; if none is idle, a
    new one is refused."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0
        self.idle: dict[BoundedHttpProtocol, None] = {}

    def make_room(self) -> bool:
        """Whether one more may stay, which is open already."""
        if self.open > self.most:
            if not self.idle:
                return False
            longest = next(iter(self.idle))
            del self.idle[longest]
            longest.transport.close()
        return True


class BoundedHttpProtocol(HttpToolsProtocol):
    """Give it to uvicorn as `http`. A head (request line and headers) over 64 KiB gets a 431, one that takes over 30 s
    closes the connection, and so does a reader that takes next to nothing for a minute; uvicorn itself bounds none of
    these."""

    def __init__(self, *args: Any, among: Connections | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._among = among or Connections(1)
        self._counted = False
        self._in_head = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._unwritten = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._counted = True
        self._among.open += 1
        if not self._among.make_room():
            self._refuse(503, "too-many-connections", "too many connections are open; try again", retry_after_s=5)
            return
        self._among.idle[self] = None
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._counted:
            self._counted = False
            self._among.open -= 1
            self._among.idle.pop(self, None)
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse_head()

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._among.idle.pop(self, None)
        self._start_head_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            raise _HeadTooLarge  # it came whole, in one read
        self._in_head = False
        self._stop_head_timer()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._counted and self.cycle.response_complete and not self._in_head:
            self._among.idle[self] = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_reader()

    def send_400_response(self, msg: str) -> None:
        del msg
        cause = sys.exception()
        if cause is not None and isinstance(cause.__context__, _HeadTooLarge):
            self._refuse_head()
            return
        self._refuse(400, "no-http", "this is no valid HTTP/1.1 request")

    def _refuse_head(self) -> None:
        self._refuse(431, "headers-too-large", f"the headers are larger than {MAX_HEAD_BYTES} bytes")

    def _refuse(self, status: int, kind: str, detail: str, *, retry_after_s: int = 0) -> None:
        self._stop_head_timer()
        problem = Problem(status, kind, "Invalid HTTP request" if status < 500 else "Not available now", detail)
        body = msgspec.json.encode(problem_body(problem, new_trace_id()))
        again = b"retry-after: %d\r\n" % retry_after_s if retry_after_s else b""
        head = b"content-type: %b\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % (MEDIA_TYPE.encode(), len(body), again) + body)
        self.transport.close()

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_timed_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _watch_reader(self) -> None:
        if self._write_timer is None:
            self._unwritten = self.transport.get_write_buffer_size()
            self._write_timer = self.loop.call_later(WRITE_WINDOW_S, self._check_reader)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_write_timer()  # it takes what is written

    def _check_reader(self) -> None:
        self._write_timer = None
        left = self.transport.get_write_buffer_size()
        if left == 0:
            return
        if left + LEAST_WRITTEN_BYTES > self._unwritten:
            self.transport.abort()
        else:
            self._watch_reader()
