"""Which S3 requests a session worker may make at all: those of the executor's own client, in its own spelling."""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qsl, unquote

import msgspec

from infrastructure.object_store.signing import encoded_path, encoded_query

Verb = Literal["read", "write", "list"]
MAX_OBJECT_BYTES = 5 * 1024**3
"""What S3 takes in one request."""
_MAX_LISTED_PARTS = 2 * 1024**2
"""Bytes of the body that completes an upload of 10,000 parts, S3's limit, and some more."""
_PASSED_ON = ("content-md5", "content-type", "range")
_METADATA = "x-amz-meta-"
_LIST = frozenset({"list-type", "prefix", "encoding-type", "continuation-token", "max-keys"})
_OF_UPLOADS: Mapping[tuple[str, frozenset[str]], Verb] = {
    ("PUT", frozenset()): "write",
    ("POST", frozenset({"uploads"})): "write",
    ("PUT", frozenset({"partNumber", "uploadId"})): "write",
    ("POST", frozenset({"uploadId"})): "write",
    ("DELETE", frozenset({"uploadId"})): "write",
    ("GET", frozenset()): "read",
    ("HEAD", frozenset()): "read",
}


class Refused(Exception):
    """What a session worker is answered instead of what it asked for."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class WorkerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is decoded, "" for a listing. `length`: of its body. `passed_on`: its headers for the store."""

    method: str
    verb: Verb
    key: str
    query: Mapping[str, str]
    length: int
    payload_hash: str
    passed_on: Mapping[str, str]

    @property
    def prefix(self) -> str:
        """Of the keys that a listing asks for."""
        return self.query.get("prefix", "")

    @property
    def has_body(self) -> bool:
        return self.method in {"PUT", "POST"}


def requested(method: str, bucket: str, path: str, query: str, headers: Mapping[str, str]) -> WorkerRequest:
    """What a request asks for, `path` and `query` as they came. Raises Refused for anything else than what an executor
    asks for: no policies, no deletions, no copies, no other bucket."""
    try:
        decoded = unquote(path, errors="strict")
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict") if query else []
    except (UnicodeDecodeError, ValueError) as error:
        raise Refused(400, "InvalidRequest", "the address is not valid") from error
    asked = dict(pairs)
    if encoded_path(decoded) != path or encoded_query(asked) != query or len(asked) != len(pairs):
        raise Refused(400, "InvalidRequest", "the address is not written as S3's signature wants it")
    start, _, key = decoded.removeprefix("/").partition("/")
    if start != bucket:
        raise Refused(403, "AccessDenied", "session workers use one bucket")
    return WorkerRequest(
        method=method,
        verb=_verb(method, key, asked, headers),
        key=key,
        query=asked,
        length=_length(method, headers),
        payload_hash=_hash(headers),
        passed_on={name: value for name, value in headers.items() if name in _PASSED_ON or name.startswith(_METADATA)},
    )


def _verb(method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Verb:
    if not key and method == "GET" and query.get("list-type") == "2" and query.keys() <= _LIST:
        return "list"
    verb = _OF_UPLOADS.get((method, frozenset(query))) if key else None
    if verb is None or "x-amz-copy-source" in headers:
        raise Refused(403, "AccessDenied", "session workers don't make such requests")
    return verb


def _length(method: str, headers: Mapping[str, str]) -> int:
    said = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not said.isascii() or not said.isdigit():
        raise Refused(411, "MissingContentLength", "the length of the body is missing")
    most = _MAX_LISTED_PARTS if method == "POST" else MAX_OBJECT_BYTES if method == "PUT" else 0
    length = int(said)
    if length > most:
        raise Refused(413, "EntityTooLarge", f"the body has {length} bytes; {most} are allowed")
    return length


def _hash(headers: Mapping[str, str]) -> str:
    found = headers.get("x-amz-content-sha256", "")
    if len(found) != 64 or not all(digit in "0123456789abcdef" for digit in found):
        raise Refused(400, "InvalidRequest", "x-amz-content-sha256 must be the SHA-256 of the body")
    return found
