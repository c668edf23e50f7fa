"""Requests of session workers to the store proxy: signed with their keys, and of the few kinds that executors make."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.sessions.worker_storage import WorkerStorage, worker_keys
from infrastructure.boto3_store.worker_requests import Refused, requested
from infrastructure.object_store.signing import Authorization, encoded_path, encoded_query, signed_headers

SECRET = b"secret of the installation"
KEYS = worker_keys(SECRET, "s:1@x", 7)
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
KEY = "app/a/ü b/x"


def signed(method="PUT", key=KEY, query=None, *, now=NOW, secret=KEYS.secret_key, **headers):
    """How the executor's client writes a request."""
    request = {"method": method, "path": encoded_path(f"/bucket/{key}"), "query": encoded_query(query or {})}
    found = signed_headers(
        **request,
        headers={"host": "172.17.0.1:9", **headers},
        payload_hash=hashlib.sha256(b"").hexdigest(),
        region="us-east-1",
        access_key=KEYS.access_key,
        secret_key=secret,
        now=now,
    )
    return {**request, "headers": found}


def signed_now(session_id="s:1@x"):
    """A request to read, of the worker of a session, as it is sent now."""
    keys = worker_keys(SECRET, session_id, 7)
    request = {"method": "GET", "path": encoded_path(f"/bucket/{KEY}"), "query": ""}
    found = signed_headers(
        **request,
        headers={"host": "172.17.0.1:9"},
        payload_hash=hashlib.sha256(b"").hexdigest(),
        region="us-east-1",
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        now=datetime.now(UTC),
    )
    return {**request, "headers": found}


def is_genuine(request, now=NOW):
    authorization = Authorization.of(request["headers"]["authorization"])
    return authorization is not None and authorization.is_of(KEYS.secret_key, **request, now=now)


def asked(method="PUT", key=KEY, query=None, **headers):
    request = signed(method, key, query, **headers)
    return requested(request["method"], "bucket", request["path"], request["query"], request["headers"])


def test_keys_are_found_again_by_their_public_part_and_are_another_s_for_each_generation():
    never_asked: Any = None
    storage = WorkerStorage(sessions=never_asked, secret=SECRET, clock=lambda: 0.0)
    assert storage.keys_of(KEYS.access_key) == KEYS
    assert worker_keys(SECRET, "s:1@x", 8).secret_key != KEYS.secret_key
    assert worker_keys(b"another", "s:1@x", 7).secret_key != KEYS.secret_key
    assert KEYS.secret_key not in repr(KEYS)
    for wrong in ("", "FLW", "AKIA123", "FLW!!", "FLWAAAA", KEYS.access_key + "x"):
        assert storage.keys_of(wrong) is None


def test_a_request_is_genuine_within_a_quarter_of_an_hour():
    assert is_genuine(signed())
    assert is_genuine(signed("GET", query={"list-type": "2", "prefix": "a/b c"}))
    assert is_genuine(signed(), now=NOW + timedelta(minutes=14))
    assert not is_genuine(signed(), now=NOW + timedelta(minutes=16))
    assert not is_genuine(signed(now=NOW + timedelta(minutes=16)))
    assert not is_genuine(signed(secret="another"))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"path": "/bucket/other"},
        {"query": "uploads="},
        {"headers": {"x-amz-content-sha256": "0" * 64}},
        {"headers": {"x-amz-date": "20261122T100001Z"}},
        {"headers": {"host": "elsewhere"}},
    ],
)
def test_nothing_of_it_can_be_changed(change):
    request = signed()
    assert not is_genuine({**request, **change, "headers": request["headers"] | change.get("headers", {})})


@pytest.mark.parametrize("header", ["", "Bearer x", "AWS4-HMAC-SHA256 Credential=a", "AWS AKIA:x"])
def test_what_is_no_signature_is_none(header):
    assert Authorization.of(header) is None


def test_a_signature_that_leaves_out_the_body_is_none():
    short = signed()["headers"]["authorization"].replace("host;x-amz-content-sha256;x-amz-date", "host;x-amz-date")
    assert Authorization.of(short) is None


@pytest.mark.parametrize(
    ("method", "query", "verb"),
    [
        ("GET", {}, "read"),
        ("HEAD", {}, "read"),
        ("PUT", {}, "write"),
        ("POST", {"uploads": ""}, "write"),
        ("PUT", {"partNumber": "1", "uploadId": "u"}, "write"),
        ("POST", {"uploadId": "u"}, "write"),
        ("DELETE", {"uploadId": "u"}, "write"),
    ],
)
def test_what_executors_ask_for_is_understood(method, query, verb):
    found = asked(method, query=query)
    assert (found.verb, found.key, found.query) == (verb, KEY, query)


def test_a_listing_names_a_prefix():
    found = asked("GET", "", {"list-type": "2", "prefix": "a/", "encoding-type": "url", "continuation-token": "t"})
    assert (found.verb, found.prefix) == ("list", "a/")


@pytest.mark.parametrize(
    ("method", "key", "query"),
    [
        ("DELETE", KEY, {}),
        ("POST", "", {"delete": ""}),
        ("GET", "", {"policy": ""}),
        ("GET", "", {}),
        ("GET", "", {"list-type": "2", "prefix": "a", "versions": ""}),
        ("PUT", KEY, {"acl": ""}),
        ("GET", KEY, {"versionId": "1"}),
        ("PUT", "", {}),
        ("PATCH", KEY, {}),
    ],
)
def test_anything_else_is_refused(method, key, query):
    with pytest.raises(Refused, match="don't make such requests") as refused:
        asked(method, key, query)
    assert (refused.value.status, refused.value.code) == (403, "AccessDenied")


def test_another_bucket_and_a_copy_are_refused():
    request = signed()
    with pytest.raises(Refused, match="one bucket"):
        requested("PUT", "another", request["path"], "", request["headers"])
    with pytest.raises(Refused, match="don't make such requests"):
        asked(**{"x-amz-copy-source": "/bucket/another/key"})


@pytest.mark.parametrize("path", ["/bucket/a%2e%2e/x", "/bucket/a b", "/bucket/%ff", "//bucket/x", "/bucket/%61"])
def test_an_address_has_one_spelling(path):
    with pytest.raises(Refused):
        requested("GET", "bucket", path, "", signed("GET")["headers"])


def test_a_body_has_a_length_and_a_limit():
    assert asked(**{"content-length": "12"}).length == 12
    for said in ("-1", "x", str(5 * 1024**3 + 1)):
        with pytest.raises(Refused):
            asked(**{"content-length": said})
    with pytest.raises(Refused):
        asked(**{"transfer-encoding": "chunked"})
    with pytest.raises(Refused):
        asked("POST", query={"uploadId": "u"}, **{"content-length": str(3 * 1024**2)})


def test_only_what_the_store_needs_is_passed_on():
    headers = {
        "content-md5": "x",
        "range": "bytes=0-1",
        "x-amz-meta-mode": "644",
        "x-amz-acl": "public-read",
        "cookie": "c",
    }
    assert asked(**headers).passed_on == {"content-md5": "x", "range": "bytes=0-1", "x-amz-meta-mode": "644"}
