"""Signed HTTP requests to one bucket, over connections that are kept. No retries: the adapter decides on those.

A client of our own on the standard library: an SDK takes a quarter of a second and 30 MB to load, in every worker,
before its first call (docs/decisions/object-store-client.md).
"""

import base64
import hashlib
import http.client
import select
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from infrastructure.object_store.answers import Fault, fault_of
from infrastructure.object_store.location import S3Location
from infrastructure.object_store.signing import encoded_path, encoded_query, signed_headers

_CONNECT_S = 5.0
_READ_S = 60.0
_FAULT_BYTES = 64 * 1024
_NO_QUERY: Mapping[str, str] = {}
_NO_HEADERS: Mapping[str, str] = {}


class S3Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer of status 2xx; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes


class Refused(Exception):
    """The store answered with another status than 2xx."""

    def __init__(self, status: int, fault: Fault) -> None:
        super().__init__(f"{status} {fault.code} {fault.message}".strip())
        self.status, self.code = status, fault.code


class S3Rest:
    """Safe to use from many threads; at most `max_idle` connections are kept between calls."""

    def __init__(self, location: S3Location, *, max_idle: int = 16) -> None:
        self._location = location
        self._url = urlsplit(location.endpoint or _aws(location))
        # A bucket of its own host name at AWS; everywhere else the bucket is the path's first part.
        in_host = not location.endpoint and "." not in location.bucket
        self._base = self._url.path.rstrip("/") + ("/" if in_host else f"/{location.bucket}/")
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=max_idle)
        self._lock = threading.Lock()

    def call(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] = _NO_QUERY,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes = b"",
    ) -> S3Answer:
        """One call, its answer read whole. Raises Refused, OSError, http.client.HTTPException."""
        with self.open(method, key, query=query, headers=headers, body=body) as answer:
            return S3Answer(headers=lower_case(answer), body=answer.read())

    @contextmanager
    def open(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] = _NO_QUERY,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes = b"",
    ) -> Iterator[http.client.HTTPResponse]:
        """One call, its answer to be read within the block. Raises as `call` does."""
        path, query_text = encoded_path(self._base + key), encoded_query(query)
        signed = self._signed(method, path, query_text, headers, body)
        connection = self._connection()
        target = f"{path}?{query_text}" if query_text else path
        reusable = False
        try:
            answer = _exchanged(connection, method, target, body, signed)
            if not 200 <= answer.status < 300:
                fault = fault_of(answer.read(_FAULT_BYTES))
                reusable = answer.isclosed() and not answer.will_close
                raise Refused(answer.status, fault)
            yield answer
            reusable = answer.isclosed() and not answer.will_close
        finally:
            if reusable:
                self._keep(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            idle, self._idle = list(self._idle), deque(maxlen=self._idle.maxlen)
        for connection in idle:
            connection.close()

    def _signed(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        return signed_headers(
            method=method,
            path=path,
            query=query,
            headers={"host": self._url.netloc, **headers},
            payload_hash=hashlib.sha256(body).hexdigest(),
            region=self._location.region,
            access_key=self._location.access_key,
            secret_key=self._location.secret_key,
            now=datetime.now(UTC),
        )

    def _connection(self) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            if kept is None:
                return self._connected()
            if _is_usable(kept):
                return kept
            kept.close()

    def _connected(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        connection = (
            http.client.HTTPConnection(host, port, timeout=_CONNECT_S)
            if self._tls is None
            else http.client.HTTPSConnection(host, port, timeout=_CONNECT_S, context=self._tls)
        )
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        connection.sock.settimeout(_READ_S)
        return connection

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            pushed_out = self._idle.popleft() if len(self._idle) == self._idle.maxlen else None
            self._idle.append(connection)
        if pushed_out is not None:
            pushed_out.close()


def lower_case(answer: http.client.HTTPResponse) -> dict[str, str]:
    """An answer's headers, their names in lower case."""
    return {name.lower(): value for name, value in answer.getheaders()}


def md5_of(body: bytes) -> str:
    """As the header Content-MD5 has it."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _exchanged(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    try:
        connection.request(method, target, body=body or None, headers=_with_length(method, body, headers))
    except (BrokenPipeError, ConnectionResetError):
        # A server that refuses early hangs up while the body is still on its way; its answer tells why.
        return connection.getresponse()
    return connection.getresponse()


def _with_length(method: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    if method in {"PUT", "POST"}:
        return {**headers, "content-length": str(len(body))}
    return dict(headers)


def _is_usable(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has neither hung up nor said anything since the last answer."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)


def _aws(location: S3Location) -> str:
    domain = "amazonaws.com.cn" if location.region.startswith("cn-") else "amazonaws.com"
    host = f"s3.{location.region}.{domain}"
    return f"https://{host}" if "." in location.bucket else f"https://{location.bucket}.{host}"
