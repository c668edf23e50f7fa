"""Signed HTTP requests to one bucket, over reused connections. No retries: those are the adapter's (s3.py).

Written on the standard library, because an SDK would take 200 ms and 30 MB to load in every session worker
(docs/decisions/object-store-client.md).
"""

import hashlib
import http.client
import select
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

import msgspec

from infrastructure.object_store.attempts import CONNECT_S, READ_S
from infrastructure.object_store.location import S3Location
from infrastructure.object_store.s3_xml import S3Error, s3_error_of
from infrastructure.object_store.signing import encoded_path, encoded_query, signed_headers

_ERROR_BYTES = 64 * 1024
_NO_QUERY: Mapping[str, str] = {}
_NO_HEADERS: Mapping[str, str] = {}


class S3Response(msgspec.Struct, frozen=True, kw_only=True):
    """A whole response of status 2xx; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes


class ErrorResponse(Exception):
    """A response with another status than 2xx, or with an S3 error in the body of a 200."""

    def __init__(self, status: int, s3_error: S3Error) -> None:
        super().__init__(f"{status} {s3_error.code} {s3_error.message}".strip())
        self.status, self.code = status, s3_error.code


class S3Rest:
    """Safe to use from many threads; at most `max_idle` connections are kept between calls. `credentials` and
    `location` may be replaced at any time; each request is signed with, and sent to, those of its moment."""

    def __init__(self, location: S3Location, *, max_idle: int = 16) -> None:
        self.location = location
        self.credentials = location.credentials
        self._tls = ssl.create_default_context() if location.server.startswith("https:") else None
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
    ) -> S3Response:
        """One call, its response read whole. Raises ErrorResponse, OSError, http.client.HTTPException."""
        with self.open(method, key, query=query, headers=headers, body=body) as response:
            return S3Response(headers=lower_case(response), body=response.read())

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
        """One call; the response is read within the block. Raises as `call` does."""
        location = self.location
        url = urlsplit(location.bucket_url)
        path, query_text = encoded_path(f"{url.path}/{key}"), encoded_query(query)
        signed = self._signed(method, path, query_text, {"host": url.netloc, **headers}, body)
        connection = self._connection(url)
        target = f"{path}?{query_text}" if query_text else path
        reusable = False
        try:
            response = _exchange(connection, method, target, body, signed)
            if not 200 <= response.status < 300:
                s3_error = s3_error_of(response.read(_ERROR_BYTES))
                reusable = response.isclosed() and not response.will_close
                raise ErrorResponse(response.status, s3_error)
            yield response
            reusable = response.isclosed() and not response.will_close
        finally:
            if reusable:
                self._keep(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = list(self._idle), deque(maxlen=self._idle.maxlen)
        for connection in idle:
            connection.close()

    def _signed(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        credentials = self.credentials
        return signed_headers(
            method=method,
            path=path,
            query=query,
            headers=headers,
            payload_hash=hashlib.sha256(body).hexdigest(),
            region=self.location.region,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            session_token=credentials.session_token,
            now=datetime.now(UTC),
        )

    def _connection(self, url: SplitResult) -> http.client.HTTPConnection:
        fresh = self._unconnected(url)
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            if kept is None:
                return _connected(fresh)
            if (kept.host, kept.port) == (fresh.host, fresh.port) and _is_usable(kept):
                return kept
            kept.close()

    def _unconnected(self, url: SplitResult) -> http.client.HTTPConnection:
        host, port = url.hostname or "", url.port
        if url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=CONNECT_S, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=CONNECT_S)

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            evicted = self._idle.popleft() if len(self._idle) == self._idle.maxlen else None
            self._idle.append(connection)
        if evicted is not None:
            evicted.close()


def lower_case(response: http.client.HTTPResponse) -> dict[str, str]:
    """Response headers by name, in lower case."""
    return {name.lower(): value for name, value in response.getheaders()}


def _connected(connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise
    connection.sock.settimeout(READ_S)
    return connection


def _exchange(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    try:
        connection.request(method, target, body=body or None, headers=_with_length(method, body, headers))
    except (BrokenPipeError, ConnectionResetError):
        # A server that refuses early closes the connection while the body is being sent; its response says why.
        return connection.getresponse()
    return connection.getresponse()


def _with_length(method: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    if method in {"PUT", "POST"}:
        return {**headers, "content-length": str(len(body))}
    return dict(headers)


def _is_usable(connection: http.client.HTTPConnection) -> bool:
    """Whether an idle connection is still open: nothing to read, neither data nor end-of-file."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)
