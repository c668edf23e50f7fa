"""A look at an executor's /health ends in time, whatever answers there."""

import socket

import pytest

from infrastructure.runtimes.executor_health import ProbeFailed, probe
from tests.support.wrong_server import ANSWERS, wrong_server_at


@pytest.mark.parametrize("misbehaviour", ["hangs", "endless", "trickles", *ANSWERS])
def test_what_is_no_executor_is_told_from_one_in_time(misbehaviour: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with wrong_server_at(port, misbehaviour) as wrong_server, pytest.raises(ProbeFailed):  # type: ignore[arg-type]  # a parameter
        probe(f"http://127.0.0.1:{port}", timeout_s=0.5)

    assert wrong_server.asked.is_set()


def test_where_nothing_listens_the_look_fails() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(ProbeFailed, match="refused"):
        probe(f"http://127.0.0.1:{port}", timeout_s=0.5)
