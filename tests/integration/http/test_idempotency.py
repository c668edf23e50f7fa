"""Idempotency-Key: one command, one effect, one answer, however often it is sent."""

import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from application.ports.idempotency_keys import Begun, InProgress, OtherBody, StoredAnswer
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.idempotency_keys import PostgresIdempotencyKeys
from interfaces.http.edge import idempotency
from tests.support.api_server import ApiServer
from tests.support.async_run import run

RUN = {"provider": "scripted", "messages": [{"role": "user", "content": "echo"}]}


def _key() -> dict[str, str]:
    return {"idempotency-key": uuid.uuid4().hex}


def test_the_same_key_and_body_give_the_first_answer_again(api: ApiServer, client: httpx.Client) -> None:
    key = _key()
    first = client.post("/api/runs/queue/enqueue", json=RUN, headers=key)
    position = api.last_position()
    again = client.post("/api/runs/queue/enqueue", json=RUN, headers=key)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["content-type"] == "application/json"
    assert again.headers["idempotent-replay"] == "true"
    assert api.last_position() == position


def test_another_body_query_or_path_is_a_conflict(client: httpx.Client) -> None:
    key = _key()
    assert client.post("/api/runs/start?waitMs=0", json=RUN, headers=key).status_code == 202
    for path, body in (
        ("/api/runs/start?waitMs=0", RUN | {"model": "m"}),
        ("/api/runs/queue/enqueue", RUN),
        ("/api/runs/start?waitMs=1", RUN),
    ):
        other = client.post(path, json=body, headers=key)
        assert (other.status_code, other.json()["reason"]) == (409, "idempotency_key_reused")


def test_a_refusal_is_the_answer_too(client: httpx.Client) -> None:
    run_id, key = f"r-{uuid.uuid4().hex}", _key()
    first = client.post(f"/api/runs/{run_id}/stop", headers=key)
    assert first.status_code == 404
    client.post(f"/api/runs/{run_id}/bind", json={"sessionId": "s"})
    again = client.post(f"/api/runs/{run_id}/stop", headers=key)
    assert (again.status_code, again.json()) == (404, first.json())
    assert again.headers["content-type"] == "application/problem+json"
    assert client.post(f"/api/runs/{run_id}/stop").status_code == 200


def test_a_malformed_body_does_not_use_up_the_key(client: httpx.Client) -> None:
    key = _key()
    assert client.post("/api/runs/queue/enqueue", content=b"{", headers=key).status_code == 400
    assert client.post("/api/runs/queue/enqueue", json=RUN, headers=key).status_code == 202


def test_a_request_while_the_first_goes_on_is_told_to_come_back(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "LEASE_S", 0.3)  # it is renewed for as long as the first is handled
    key, run_id = _key(), uuid.uuid4().hex

    def start() -> httpx.Response:
        return client.post("/api/runs/start", params={"waitMs": 2000}, json=RUN | {"runId": run_id}, headers=key)

    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(start)
        while client.get(f"/api/streams/run:{run_id}/events").status_code == 404:
            assert not first.done()
        second = start()
        assert second.json()["reason"] == "idempotency_in_progress"
        assert second.headers["retry-after"] == "1"
        assert first.result().status_code == 202
    assert start().json() == first.result().json()


def test_a_caller_that_goes_away_gives_the_key_back_and_starts_nothing_twice(
    api: ApiServer, client: httpx.Client
) -> None:
    key, gone = _key(), 0
    before = api.last_position()
    while gone < 3:
        # Each of these finds the key free again, as soon as the one before is noticed to be gone.
        try:
            answer = client.post("/api/runs/start", params={"waitMs": 60_000}, json=RUN, headers=key, timeout=0.5)
        except httpx.ReadTimeout:
            gone += 1
        else:
            assert answer.json()["reason"] == "idempotency_in_progress"
    assert api.last_position() == before + 1


def test_a_caller_that_goes_away_at_any_moment_leaves_no_key_leased(api: ApiServer, client: httpx.Client) -> None:
    parts = urlsplit(api.url)
    bodies = {uuid.uuid4().hex: msgspec.json.encode(RUN | {"runId": uuid.uuid4().hex}) for _ in range(80)}
    for number, (key, body) in enumerate(bodies.items()):
        head = f"POST /api/runs/queue/enqueue HTTP/1.1\r\nhost: localhost\r\nidempotency-key: {key}\r\n"
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
            time.sleep(number % 16 * 0.0005)  # a moment within the handling, another each time
    for key, body in bodies.items():
        again = client.post("/api/runs/queue/enqueue", content=body, headers={"idempotency-key": key})
        assert again.status_code == 202, again.text


def test_keys_on_postgres(database: str) -> None:
    async def walk() -> None:
        pool = await open_pool(database, size=2)
        try:
            keys = PostgresIdempotencyKeys(pool)
            begun = await keys.begin("ann", "k", "body", 60)
            assert isinstance(begun, Begun)
            assert await keys.begin("ann", "k", "body", 60) == InProgress()
            assert await keys.begin("ann", "k", "other", 60) == OtherBody()
            assert isinstance(await keys.begin("bob", "k", "other", 60), Begun)
            await keys.complete("ann", "k", "not the lease", StoredAnswer(status=200, media_type="a", body=b""))
            assert await keys.begin("ann", "k", "body", 60) == InProgress()
            answer = StoredAnswer(status=202, media_type="application/json", body=b'{"a":"\\u0000"}')
            await keys.complete("ann", "k", begun.lease, answer)
            assert await keys.begin("ann", "k", "body", 60) == answer
            await keys.abandon("ann", "k", begun.lease)
            assert await keys.begin("ann", "k", "body", 60) == answer
            # A lease that ran out is taken over, by the same request alone.
            assert isinstance(await keys.begin("ann", "crashed", "body", 0), Begun)
            assert await keys.begin("ann", "crashed", "other", 60) == OtherBody()
            assert isinstance(await keys.begin("ann", "crashed", "body", 60), Begun)
            # A renewed one is not, and only its holder can renew it.
            renewed = await keys.begin("ann", "long", "body", 0)
            assert isinstance(renewed, Begun)
            await keys.renew("ann", "long", renewed.lease, 60)
            assert await keys.begin("ann", "long", "body", 60) == InProgress()
            await keys.renew("ann", "long", "not the lease", 0)
            assert await keys.begin("ann", "long", "body", 60) == InProgress()
            # What is given back is free for anything.
            given = await keys.begin("ann", "given back", "body", 60)
            assert isinstance(given, Begun)
            await keys.abandon("ann", "given back", given.lease)
            assert isinstance(await keys.begin("ann", "given back", "other", 60), Begun)
            # Retention: an expired key is free, and expired rows go away.
            short = PostgresIdempotencyKeys(pool, keep=timedelta(0))
            assert isinstance(await short.begin("ann", "old", "body", 60), Begun)
            assert isinstance(await keys.begin("ann", "old", "other", 60), Begun)
            assert isinstance(await short.begin("ann", "older", "body", 60), Begun)
            await keys.begin("ann", "new", "body", 60)
            async with pool.connection() as connection:
                left = await connection.execute("SELECT count(*) FROM idempotency_keys WHERE key = 'older'")
                assert await left.fetchone() == (0,)
        finally:
            await pool.close()

    run(walk())
