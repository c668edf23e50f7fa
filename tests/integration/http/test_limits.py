"""Limits at the door: requests and streams of one caller, slow readers, connections."""

import contextlib
import hashlib
import socket
import threading
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from interfaces.http.edge import large_answers
from interfaces.http.edge.auth import KeyHash
from interfaces.http.edge.large_answers import LargeAnswers
from interfaces.http.edge.rates import RateLimits
from interfaces.http_conventions import bounded_protocol
from tests.support.api_server import ApiServer, running_api
from tests.support.problems import problem
from tests.support.servers import PostgresServer

PER_S = 5
"""So that the burst, 20 requests, is used up at once, and a second later there are some again."""


def key_of(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer secret-of-{name}"}


@pytest.fixture(scope="module")
def limited(postgres_server: PostgresServer) -> Iterator[ApiServer]:
    keys = tuple(
        KeyHash(name=name, sha256=hashlib.sha256(f"secret-of-{name}".encode()).hexdigest())
        for name in ("ann", "bob", "carl")
    )
    rates = RateLimits(requests_per_s=PER_S, new_streams_per_s=1000, open_streams=2)
    dsn = postgres_server.create_log()
    with running_api(dsn, api_keys=keys, rates=rates) as server:
        yield server
    postgres_server.drop_database(dsn)


def test_who_asks_too_often_gets_a_429_and_nobody_else_does(limited: ApiServer) -> None:
    with limited.client() as client:
        answers = [client.get("/api/runs", headers=key_of("ann")) for _ in range(8 * PER_S)]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert [answer.status_code for answer in answers[: 4 * PER_S]] == [200] * 4 * PER_S
        assert refused
        assert problem(refused[0], 429)["reason"] == "rate_limited"
        assert refused[0].headers["retry-after"] == "1"
        # Who a key speaks for makes no difference, and the probes have no limit.
        problem(client.get("/api/runs", headers=key_of("ann") | {"x-actor": "someone"}), 429)
        assert client.get("/api/runs", headers=key_of("bob")).status_code == 200
        assert client.get("/health", headers=key_of("ann")).status_code == 200
        # Strangers have a limit of their own, one for each address.
        assert {client.get("/api/runs").status_code for _ in range(6 * PER_S)} == {401, 429}
        assert client.get("/api/runs", headers=key_of("bob")).status_code == 200


def test_a_session_worker_has_a_limit_of_its_own(limited: ApiServer) -> None:
    def ask(client: httpx.Client, token: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        return client.post("/api/runs/r/callbacks", json={"eventId": "e", "type": "x"}, headers=headers).status_code

    with limited.client() as client:
        assert {ask(client, "one") for _ in range(6 * PER_S)} == {401, 429}
        assert ask(client, "another") == 401


def test_one_caller_holds_so_many_streams_and_a_closed_one_makes_room(limited: ApiServer) -> None:
    with limited.client() as client, contextlib.ExitStack() as opened:
        headers = {"accept": "text/event-stream"}
        first = contextlib.ExitStack()
        for stack in (first, opened):
            answer = stack.enter_context(client.stream("GET", "/api/events", headers=headers | key_of("carl")))
            assert answer.status_code == 200
        refused = client.get("/api/events", headers=headers | key_of("carl"))
        assert problem(refused, 429)["reason"] == "too_many_streams"
        assert int(refused.headers["retry-after"]) > 0
        with client.stream("GET", "/api/events", headers=headers | key_of("bob")) as another:
            assert another.status_code == 200
        first.close()
        while client.get("/api/events", headers=headers | key_of("carl"), params={"after": "x"}).status_code == 429:
            threading.Event().wait(0.3)  # until the server has noticed


@pytest.fixture
def large(api: ApiServer, client: httpx.Client) -> str:
    """The path of a response of about 6 MiB."""
    run_id = f"r-{uuid.uuid4().hex}"
    assert client.post(f"/api/runs/{run_id}/bind", json={"sessionId": "s"}).is_success
    batch = [{"eventId": str(n), "type": "message.delta", "payload": {"text": "x" * 200_000}} for n in range(30)]
    assert client.post(f"/api/runs/{run_id}/callbacks", json=batch).is_success
    return f"/api/streams/run:{run_id}/events?limit=100"


def ask(api: ApiServer, path: str) -> socket.socket:
    """A client that sends a request and reads nothing."""
    parts = urlsplit(api.url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=60)
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    return connection


def read_to_the_end(connection: socket.socket) -> int:
    """How many bytes come until the server closes the connection."""
    read = 0
    with connection, contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 20):
            read += len(chunk)
    return read


def test_a_reader_that_takes_nothing_is_cut_off(api: ApiServer, large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_protocol, "WRITE_WINDOW_S", 0.3)
    connection = ask(api, large)
    assert connection.recv(10) == b"HTTP/1.1 2"
    threading.Event().wait(1.5)
    assert read_to_the_end(connection) < 6_000_000


def test_a_slow_reader_that_goes_on_gets_all_of_it(
    api: ApiServer, client: httpx.Client, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_protocol, "WRITE_WINDOW_S", 0.5)
    whole = len(client.get(large).content)
    assert whole > 6_000_000
    read = 0
    with ask(api, large) as connection:
        while read < whole:
            read += len(connection.recv(400_000))
            threading.Event().wait(0.05)


def test_beyond_what_may_be_held_the_slowest_readers_are_cut_off(
    api: ApiServer, client: httpx.Client, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_answers, "LARGE_BYTES", 1)
    monkeypatch.setattr(api.deps.large_answers, "_max_held", 13_000_000)
    slow = []
    for _ in range(2):  # the second is asked for once the first is being sent
        slow.append(ask(api, large))
        assert slow[-1].recv(10) == b"HTTP/1.1 2"
    assert client.get(large).is_success  # the third: it has the oldest cut off
    assert read_to_the_end(slow[0]) < 6_000_000
    slow[1].settimeout(60)
    read = 0
    with slow[1]:
        while read < 6_000_000:
            read += len(slow[1].recv(1 << 20))
    assert isinstance(api.deps.large_answers, LargeAnswers)
    while api.deps.large_answers._held:
        threading.Event().wait(0.05)  # until the server has noticed
