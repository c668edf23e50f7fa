"""What a collector answers is not kept, and not waited for without end."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from infrastructure.operations.otlp.collector_session import ANSWER_BYTES, CollectorSession

Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def collector(answer: Answer) -> Iterator[str]:
    """One that takes a single request, and answers it so."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                answer(connection)

        serving = threading.Thread(target=serve)
        serving.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        serving.join(10)
        assert not serving.is_alive()


def without_end(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * ANSWER_BYTES)


def drop_by_drop(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.005)


def test_an_answer_without_end_is_cut_off() -> None:
    with collector(without_end) as url, CollectorSession() as session:
        assert session.post(url, b"spans", timeout=10).status_code == 200


def test_an_answer_that_comes_drop_by_drop_is_a_failure() -> None:
    with (
        collector(drop_by_drop) as url,
        CollectorSession(answer_s=0.05) as session,
        pytest.raises(requests.ReadTimeout),
    ):
        session.post(url, b"spans", timeout=10)
