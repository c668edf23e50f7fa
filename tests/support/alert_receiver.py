"""The receiver of an Alertmanager's webhook: an HTTP server that keeps what it was told."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

PATIENCE_S = 90.0


class AlertReceiver:
    """As a context manager it serves on a free port of loopback, at `url`."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/fleetlog"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def told(self) -> int:
        """How many alerts it was told so far."""
        with self._changed:
            return len(self._told)

    def until(
        self,
        alert: str,
        status: Literal["firing", "resolved"],
        after: int,
        tell: Callable[[], str] = str,
        **labels: str,
    ) -> dict[str, Any]:
        """The first of these behind the first `after` that it was told, with these labels, once it is there."""

        def found() -> dict[str, Any] | None:
            wanted = {"alertname": alert, **labels}.items()
            return next(
                (each for each in self._told[after:] if each["status"] == status and wanted <= each["labels"].items()),
                None,
            )

        with self._changed:
            one = self._changed.wait_for(found, PATIENCE_S)
            heard = [(each["labels"]["alertname"], each["status"]) for each in self._told[after:]]
        assert one, f"{alert} is not {status}; told: {heard}\n{tell()}"
        return one

    def _take(self, body: bytes) -> None:
        with self._changed:
            self._told += json.loads(body)["alerts"]
            self._changed.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver._take(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        return Handler
