"""The HTTP server: finds the reply that the request's model has next, and speaks the protocol of the request's path."""

import http.server
import itertools
import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType, TracebackType
from typing import Any, Self

from tests.support.model_server import anthropic, chat, responses
from tests.support.model_server.replies import CutOff, Garbage, HttpError, Reply, Text, Turn

PROTOCOLS: dict[str, ModuleType] = {
    "/v1/messages": anthropic,
    "/v1/responses": responses,
    "/v1/chat/completions": chat,
}
DEFAULT_TURN = Turn(Text("ok", pieces=1), input_tokens=0, output_tokens=0)
OVER = Turn(Text("(the script is over)", pieces=1))


@dataclass(frozen=True)
class ModelRequest:
    """A recorded request; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    side: bool
    text: str = field(repr=False)

    @property
    def last_message(self) -> str:
        """The JSON of the conversation's newest entry: where an answer or a tool's result arrives."""
        entries = self.body.get("messages") or self.body.get("input") or [""]
        return json.dumps(entries[-1], ensure_ascii=False)


class _Script:
    def __init__(self, replies: tuple[Reply, ...]) -> None:
        self.left = iter(replies)
        self.requests: list[ModelRequest] = []


class ModelServer:
    """As a context manager. `host` 0.0.0.0 lets containers reach it; `url` is what it is called on this machine."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._lock = threading.Lock()
        self._asked = threading.Condition(self._lock)
        self._scripts: dict[str, _Script] = {}
        self._serials = itertools.count(1)
        self.side_requests: list[ModelRequest] = []
        self._http = _HttpServer((host, 0), _Handler)
        self._http.models = self
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)

    def script(self, *replies: Reply, name: str = "") -> str:
        """The name of a model that answers with these, in order."""
        model = name or f"stub-{secrets.token_hex(6)}"
        with self._lock:
            self._scripts[model] = _Script(replies)
        return model

    def requests(self, model: str) -> list[ModelRequest]:
        """The requests of the conversation, without those aside (titles, summaries)."""
        with self._lock:
            return list(self._scripts[model].requests)

    def wait_for_requests(self, model: str, count: int, timeout_s: float = 60.0) -> list[ModelRequest]:
        """As soon as there are so many."""
        with self._asked:
            enough = self._asked.wait_for(lambda: len(self._scripts[model].requests) >= count, timeout_s)
            found = list(self._scripts[model].requests)
        assert enough, f"{len(found)} requests came within {timeout_s:.0f} s, not {count}"
        return found

    def next_reply(self, request: ModelRequest) -> tuple[Reply, int]:
        """The reply to a request, which is recorded, and a serial number for its ids."""
        with self._asked:
            serial = next(self._serials)
            script = self._scripts.get(str(request.body.get("model", "")).rpartition("/")[2])
            if script is None or request.side:
                self.side_requests.append(request)
                return DEFAULT_TURN, serial
            script.requests.append(request)
            self._asked.notify_all()
            return next(script.left, OVER), serial


class _HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    models: ModelServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in mid-stream is what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HttpServer

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self._send_json(200, {"object": "list", "data": [], "models": []})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        body = json.loads(raw or b"{}")
        protocol = PROTOCOLS.get(path)
        if protocol is None:
            self._send_json(200, {"input_tokens": 1} if path.endswith("count_tokens") else {})
            return
        request = ModelRequest(
            path=path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            side=not body.get("tools"),
            text=raw.decode(),
        )
        reply, serial = self.server.models.next_reply(request)
        self._answer(protocol, reply, serial, body)

    def _answer(self, protocol: ModuleType, reply: Reply, serial: int, body: dict[str, Any]) -> None:
        model = str(body.get("model", ""))
        match reply:
            case HttpError():
                self._send_json(reply.status, protocol.error_body(reply), reply.headers)
            case Garbage():
                self._send_body(200, "text/event-stream", reply.body)
            case CutOff():
                self._stream(protocol.stream(model, Turn(Text(reply.text)), serial, cut=True), whole=False)
            case Turn() | Text():
                turn = Turn(reply) if isinstance(reply, Text) else reply
                if body.get("stream"):
                    self._stream(protocol.stream(model, turn, serial), whole=True)
                else:
                    self._send_json(200, protocol.complete(model, turn, serial))

    def _stream(self, events: Iterator[bytes], *, whole: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        if whole:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def _send_json(self, status: int, body: Any, headers: Any = None) -> None:
        self._send_body(status, "application/json", json.dumps(body).encode(), headers)

    def _send_body(self, status: int, kind: str, body: bytes, headers: Any = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in dict(headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
