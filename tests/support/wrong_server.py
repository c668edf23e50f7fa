"""A server on a given port that answers every request badly, as when another program has taken an executor's port."""

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from infrastructure.runtimes.polling import wait_until

Misbehaviour = Literal["hangs", "garbage", "endless", "trickles", "not json", "wrong json", "500", "401"]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
ANSWERS: dict[Misbehaviour, bytes] = {
    "garbage": b"\x00\xff" * 1000,
    "not json": HEAD + b"content-length: 9\r\n\r\n<html></h",
    "wrong json": HEAD + b'content-length: 15\r\n\r\n{"bootId": [7]}',
    "500": b"HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\noops",
    # As another worker's executor does.
    "401": b"HTTP/1.1 401 No\r\ncontent-type: application/problem+json\r\ncontent-length: 25\r\n\r\n"
    b'{"reason":"unauthorized"}',
}


@dataclass
class WrongServer:
    """`asked` is set by the first request."""

    misbehaviour: Misbehaviour
    asked: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            self.asked.set()
            if self.misbehaviour == "hangs":
                self.over.wait(120)
            elif self.misbehaviour in {"endless", "trickles"}:
                piece, pause = (b" " * 65536, 0) if self.misbehaviour == "endless" else (b" ", 0.05)
                connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
                while not self.over.wait(pause):
                    connection.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n")
            else:
                connection.sendall(ANSWERS[self.misbehaviour])


def _take(listener: socket.socket, port: int) -> None:
    """Bind as soon as the kernel has released the port."""

    def bound() -> bool:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        return True

    assert wait_until(bound, 90), f"port {port} stays taken"


@contextmanager
def wrong_server_at(port: int, misbehaviour: Misbehaviour) -> Iterator[WrongServer]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _take(listener, port)
        listener.listen(64)
        wrong_server = WrongServer(misbehaviour)
        threading.Thread(target=wrong_server.serve, args=(listener,), daemon=True).start()
        try:
            yield wrong_server
        finally:
            wrong_server.over.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
