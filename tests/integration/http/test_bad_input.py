"""Bad input of any kind on every route: a 4xx problem document that names the field, and nothing is written."""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from interfaces.http.compatibility import chat_history
from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.edge.queries import Query
from interfaces.http.routes import ENDPOINTS
from tests.support.api_server import ApiServer
from tests.support.problems import fields, path_of, problem, shown

JSON = {"content-type": "application/json"}
MIB = 1024 * 1024


pytestmark = pytest.mark.usefixtures("nothing_is_written")

POSTS = [endpoint for endpoint in ENDPOINTS if endpoint.method != "GET"]
BODIES = [endpoint for endpoint in POSTS if endpoint.body is not None]
TOLERANT = chat_history.ENDPOINTS
"""They take what older clients send, and ignore what they don't know: a POST to them with no more records a chat."""


@pytest.mark.parametrize("endpoint", POSTS, ids=shown)
@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"{]",
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 5000,
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"nonsense",
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_malformed_json(client: httpx.Client, endpoint: Endpoint, raw: bytes) -> None:
    assert len(fields(client.request(endpoint.method, path_of(endpoint), content=raw, headers=JSON))) == 1


@pytest.mark.parametrize("endpoint", BODIES, ids=shown)
@pytest.mark.parametrize("raw", [b"null", b"[]", b'"text"', b"17"])
def test_a_body_that_is_no_object(client: httpx.Client, endpoint: Endpoint, raw: bytes) -> None:
    assert fields(client.request(endpoint.method, path_of(endpoint), content=raw, headers=JSON)) == ["body"]


@pytest.mark.parametrize("endpoint", [e for e in BODIES if e not in TOLERANT], ids=shown)
def test_an_unknown_field_is_named(client: httpx.Client, endpoint: Endpoint) -> None:
    assert fields(client.request(endpoint.method, path_of(endpoint), json={"noSuchField": 1})) == ["noSuchField"]


@pytest.mark.parametrize("endpoint", BODIES, ids=shown)
def test_a_field_of_the_wrong_type_is_named(client: httpx.Client, endpoint: Endpoint) -> None:
    for name in endpoint.body.__struct_encode_fields__:
        if name == "answer":
            continue
        assert fields(
            client.request(endpoint.method, path_of(endpoint), content=b'{"%s":[[{}]]}' % name.encode(), headers=JSON)
        )[0].startswith(name)


@pytest.mark.parametrize("endpoint", [e for e in BODIES if not e.body_optional], ids=shown)
def test_a_missing_field_is_named(client: httpx.Client, endpoint: Endpoint) -> None:
    assert fields(client.request(endpoint.method, path_of(endpoint), json={})) != ["body"]
    assert fields(client.request(endpoint.method, path_of(endpoint), content=b"", headers=JSON)) == ["body"]


@pytest.mark.parametrize("endpoint", POSTS, ids=shown)
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
def test_another_content_type_is_refused(client: httpx.Client, endpoint: Endpoint, kind: str) -> None:
    response = client.request(endpoint.method, path_of(endpoint), content=b"{}", headers={"content-type": kind})
    assert fields(response, 415) == ["content-type"]


@pytest.mark.parametrize("endpoint", POSTS, ids=shown)
def test_a_body_over_8_mib_is_refused_with_its_length_known_or_not(client: httpx.Client, endpoint: Endpoint) -> None:
    known = client.request(endpoint.method, path_of(endpoint), content=b" " * (8 * MIB + 1), headers=JSON)
    assert fields(known, 413) == ["body"]

    def chunks() -> Any:
        for _ in range(9):
            yield b" " * MIB

    chunked = client.request(endpoint.method, path_of(endpoint), content=chunks(), headers=JSON)
    assert fields(chunked, 413) == ["body"]


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if e.parameters], ids=shown)
@pytest.mark.parametrize("bad", ["-x", "a b", "ä", "%00", "a%00b", "x" * 200, "a%2Cb", "%FF", "..%00", "a;b"])
def test_a_bad_id_is_named(client: httpx.Client, endpoint: Endpoint, bad: str) -> None:
    name = endpoint.parameters[0]
    response = client.request(endpoint.method, path_of(endpoint, **{name: bad}))
    if endpoint.method != "GET" and response.status_code == 400 and fields(response) == ["body"]:
        pytest.fail("the path is checked before the body")
    assert fields(response) == [name]


@pytest.mark.parametrize(
    "path",
    ["/api/runs/../todos", "/api/runs/..", "/api/session-workers/..", "/api/../../etc/passwd", "//", "/api/runs/"],
)
def test_dots_in_paths_lead_nowhere(api: ApiServer, path: str) -> None:
    parts = urlsplit(api.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in {b"400", b"404"}
    assert b"application/problem+json" in head
    assert json.loads(body)["traceId"]


GETS = [endpoint for endpoint in ENDPOINTS if endpoint.query is not Query]
BAD_VALUES = ["-1", "x", "", "1.5", "9" * 19, "9" * 30, "9" * 5000, "1e3", "NaN", "٣", "0x10", "1;drop"]


@pytest.mark.parametrize("endpoint", GETS, ids=shown)
def test_a_bad_query_parameter_is_named(client: httpx.Client, endpoint: Endpoint) -> None:
    numbers = {"minPosition", "limit", "after", "cursor", "atSeq", "atPosition", "waitMs"}
    if endpoint.path.endswith("/diff"):
        numbers |= {"from", "to"}  # seqs there, times elsewhere
    for name in endpoint.query.__struct_encode_fields__:
        if name in numbers and not (name == "cursor" and endpoint.path != "/api/runs/{runId}/stream"):
            for value in BAD_VALUES:
                response = client.request(endpoint.method, path_of(endpoint), params={name: value})
                assert fields(response) == [name], (name, value)
        if name in {"at", "from", "to"} - numbers:
            for value in ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "17", "0001-01-01T00:00:00+23:59"]:
                assert fields(client.get(path_of(endpoint), params={name: value})) == [name]
        if name not in {"type", "groupBy", "state"} or (endpoint.path != "/api/effects" and name == "state"):
            twice = client.request(endpoint.method, path_of(endpoint), params=[(name, "1"), (name, "1")])
            assert fields(twice) == [name]
        response = client.request(endpoint.method, path_of(endpoint), params={name: "a\0b"})
        assert [field.removesuffix("[0]") for field in fields(response)] == [name]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=shown)
def test_a_query_parameter_that_a_route_does_not_know_is_named(client: httpx.Client, endpoint: Endpoint) -> None:
    known = endpoint.query.__struct_encode_fields__
    for name in ["unknown", "limits", "MinPosition", *(["minPosition"] if "minPosition" not in known else [])]:
        response = client.request(endpoint.method, path_of(endpoint), params={name: "1"})
        assert fields(response) == [name]
        assert all(parameter in response.json()["detail"] for parameter in known)


def test_every_read_of_the_api_takes_a_min_position() -> None:
    reads = [one for one in ENDPOINTS if one.method == "GET" and one.path.startswith("/api") and not one.streams]
    without = {one.path for one in reads if "minPosition" not in one.query.__struct_encode_fields__}
    # These are about the whole log, up to a position that they say themselves.
    assert without == {"/api/audit/verify", "/api/audit/checkpoint", "/api/audit/export"}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/session-workers?cursor=nonsense", "cursor"),
        ("/api/runs?cursor=%C3%A4", "cursor"),
        ("/api/human-loop/requests?cursor=YmVmb3JlOi0x", "cursor"),
        ("/api/runs?state=asleep", "state"),
        ("/api/session-workers?state=asleep", "state"),
        ("/api/human-loop/pending?status=x", "status"),
        ("/api/human-loop/requests?runId=..", "runId"),
        ("/api/human-loop/requests?atSeq=1", "runId"),
        ("/api/usage?groupBy=moon", "groupBy[0]"),
        ("/api/usage?fromDay=2026-02-31", "fromDay"),
        ("/api/usage?toDay=0000-01-01", "toDay"),
        ("/api/usage?toDay=20260101", "toDay"),
        ("/api/events?after=9223372036854775807", "after"),
        ("/api/runs?minPosition=9223372036854775807", "minPosition"),
        ("/api/usage?minPosition=999999999", "minPosition"),
        ("/api/runs/nobody?atSeq=1&atPosition=2", "atPosition"),
    ],
)
def test_a_query_value_beyond_what_there_is_is_named(client: httpx.Client, path: str, field: str) -> None:
    assert fields(client.get(path)) == [field]


def test_a_value_that_a_parameter_does_not_take_is_refused_with_those_that_it_takes(client: httpx.Client) -> None:
    message = client.get("/api/session-workers?state=bogus").json()["errors"][0]["message"]
    assert message == "'bogus' is none of running, stopped, deleted"


@pytest.mark.parametrize(
    "path",
    [
        "/api/session-workers/nobody",
        "/api/session-workers/nobody?atSeq=1",
        "/api/session-workers/nobody?at=2026-01-01T00:00:00Z",
        "/api/session-workers/nobody?at=2026-01-01T00:00:00+02:00",
        "/api/session-workers/nobody?atPosition=0",
        "/api/runs/nobody",
        "/api/runs/nobody?atSeq=0",
        "/api/runs/nobody/stream",
        "/api/runs/nobody/todos",
        "/api/runs/nobody/todos?atSeq=1",
        "/api/runs/nobody/todos/events",
        "/api/runs/nobody/usage",
        "/api/runs/queue/nobody",
        "/api/streams/run:nobody/events",
        "/api/streams/moon:nobody/events",
        "/api/nothing",
        "/api",
        "/api/runs/nobody/nothing",
    ],
)
def test_what_is_not_known_is_a_404(client: httpx.Client, path: str) -> None:
    problem(client.get(path), 404)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/session-workers/nobody/sync", None),
        ("/api/session-workers/nobody/stop", {}),
        ("/api/runs/nobody/stop", {"reason": "why not"}),
        ("/api/human-loop/reply", {"runId": "nobody", "questionId": "q", "answer": None}),
    ],
)
def test_a_command_on_what_is_not_known_is_a_404(client: httpx.Client, path: str, body: Any) -> None:
    problem(client.post(path, json=body) if body is not None else client.post(path), 404)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=shown)
def test_another_method_is_a_405_that_says_which_are_possible(client: httpx.Client, endpoint: Endpoint) -> None:
    possible = {each.method for each in ENDPOINTS if each.path == endpoint.path}
    for method in {"DELETE", "PUT", "PATCH", "TRACE", "OPTIONS"} - possible:
        response = client.request(method, path_of(endpoint))
        problem(response, 405)
        assert endpoint.method in response.headers["allow"]
