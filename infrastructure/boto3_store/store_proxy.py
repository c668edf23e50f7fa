"""The object store for session workers where it can't give them credentials of their own: a narrow S3 server.

It takes the requests that executors make, signed with a worker's own keys; checks that the worker may use the key; and
passes the request on to the store, signed with the installation's keys, which no worker sees. Bodies are streamed.

An ASGI app. It answers what it refuses as S3 does, in XML: `AccessDenied` (403), `InvalidRequest` (400),
`EntityTooLarge` (413), `SlowDown` and `ServiceUnavailable` (503; executors try those again).
"""

import asyncio
import http
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import httpx

from application.ports.object_store import ObjectStoreError
from application.sessions.worker_storage import WorkerStorage
from domain.workspace.storage import StorageScope
from infrastructure.boto3_store.least_rate import LeastRate
from infrastructure.boto3_store.session import AwsSession
from infrastructure.boto3_store.worker_requests import Refused, WorkerRequest, requested
from infrastructure.boto3_store.worker_usage import WorkerUsage
from infrastructure.object_store.attempts import CONNECT_S, READ_S
from infrastructure.object_store.location import S3Credentials
from infrastructure.object_store.signing import Authorization, encoded_path, encoded_query, signed_headers

_PASSED_BACK = frozenset({"content-type", "content-length", "content-range", "accept-ranges", "etag", "last-modified"})
_MOST_AT_ONCE = 256
"""Requests under way of all workers beside those that each has a place of its own for; further ones are told to come
again."""
_log = logging.getLogger("fleetlog.store_proxy")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class StoreProxy:
    """`unavailable`: what reading the log raises while it can't be reached. `predecessors`: session workers that an
    earlier release has started with the store's own keys are served, too, as the store itself would. Close it when
    done."""

    def __init__(
        self,
        session: AwsSession,
        storage: WorkerStorage,
        *,
        unavailable: tuple[type[Exception], ...],
        predecessors: bool = False,
    ) -> None:
        self._session, self._storage = session, storage
        self._failures: tuple[type[Exception], ...] = (ObjectStoreError, httpx.HTTPError, TimeoutError, *unavailable)
        self._predecessors = predecessors
        self._url = urlsplit(session.location.bucket_url)
        self._usage = WorkerUsage(asyncio.get_running_loop().time)
        self._under_way = 0
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
            trust_env=False,
            follow_redirects=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        try:
            async with AsyncExitStack() as slots:
                request = await self._admitted(scope, slots)
                async with self._store_s_answer(request, receive) as found:
                    await answer.pass_on(found)
        except Refused as refused:
            if refused.code == "RequestTimeout":
                _log.warning("a session worker's request is ended: %s", refused)
            await answer.refuse(refused.status, refused.code, str(refused))
        except _CallerGone:
            return
        except self._failures as error:
            _log.warning("a session worker's request could not be passed on: %s: %s", type(error).__name__, error)
            status = http.HTTPStatus.SERVICE_UNAVAILABLE
            await answer.refuse(status, "ServiceUnavailable", "the object store can't be reached now")

    async def _admitted(self, scope: MutableMapping[str, Any], slots: AsyncExitStack) -> WorkerRequest:
        """Raises Refused."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        authorization = Authorization.of(headers.get("authorization", ""))
        if authorization is None:
            raise Refused(403, "AccessDenied", "the request is not signed as those of session workers are")
        keys = self._storage.keys_of(authorization.access_key)
        secret = keys.secret_key if keys is not None else self._predecessors_key(authorization.access_key)
        signed = {"method": scope["method"], "path": path, "query": query, "headers": headers}
        if not secret or not authorization.is_of(secret, **signed, now=datetime.now(UTC)):
            raise Refused(403, "SignatureDoesNotMatch", "the request is not signed with the keys of a session worker")
        request = requested(scope["method"], self._session.location.bucket, path, query, headers)
        own = False
        if keys is not None:
            own = await slots.enter_async_context(self._usage.slot(keys.session_id, request.length))
        # Not before: requests that wait for a slot of their session must take none of the others' place.
        if not own:
            if self._under_way >= _MOST_AT_ONCE:
                raise Refused(503, "SlowDown", f"{_MOST_AT_ONCE} requests of session workers are under way")
            self._under_way += 1
            slots.callback(self._one_less)
        if keys is not None:
            allowed = await self._storage.scope_of(keys)
            if allowed is None or not _permits(allowed, request):
                _log.warning(
                    "session %s, generation %s: refused to %s %r",
                    keys.session_id, keys.generation, request.verb, request.key,
                )  # fmt: skip
                raise Refused(403, "AccessDenied", f"this session worker may not {request.verb} {request.key!r}")
        return request

    def _one_less(self) -> None:
        self._under_way -= 1

    def _predecessors_key(self, access_key: str) -> str:
        location = self._session.location
        same = self._predecessors and access_key == location.access_key
        return location.secret_key if same else ""

    @asynccontextmanager
    async def _store_s_answer(self, request: WorkerRequest, receive: Receive) -> AsyncIterator[httpx.Response]:
        credentials = await self._session.arrival()
        path = encoded_path(f"{self._url.path}/{request.key}")
        query = encoded_query(request.query)
        outgoing = self._client.build_request(
            request.method,
            httpx.URL(
                scheme=self._url.scheme,
                host=self._url.hostname or "",
                port=self._url.port,
                raw_path=(f"{path}?{query}" if query else path).encode(),
            ),
            headers=self._signed(request, path, query, credentials),
            content=_body(receive, request.length) if request.has_body else None,
        )
        response = await self._client.send(outgoing, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    def _signed(self, request: WorkerRequest, path: str, query: str, credentials: S3Credentials) -> dict[str, str]:
        signed = signed_headers(
            method=request.method,
            path=path,
            query=query,
            headers={"host": self._url.netloc, **request.passed_on},
            payload_hash=request.payload_hash,
            region=self._session.location.region,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            session_token=credentials.session_token,
            now=datetime.now(UTC),
        )
        length = {"content-length": str(request.length)} if request.has_body else {}
        return {**signed, **length, "accept-encoding": "identity"}


def _permits(scope: StorageScope, request: WorkerRequest) -> bool:
    if request.verb == "write":
        return scope.may_write(request.key)
    return scope.may_read(request.prefix if request.verb == "list" else request.key)


class _CallerGone(Exception):
    """The session worker has closed the connection."""


async def _body(receive: Receive, length: int) -> AsyncIterator[bytes]:
    """Exactly `length` bytes. Raises Refused, _CallerGone."""
    size, rate = 0, LeastRate("the body comes", asyncio.get_running_loop().time)
    while True:
        message = await rate.wait(receive())
        if message["type"] != "http.request":
            raise _CallerGone
        chunk = message.get("body", b"")
        size += len(chunk)
        rate.moved(len(chunk))
        if size > length:
            raise Refused(400, "InvalidRequest", "the body is longer than it was said to be")
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            break
    if size < length:
        raise _CallerGone


class _Answer:
    """The response to a session worker. Once it has begun, a failure can only cut it: its length says so."""

    def __init__(self, send: Send) -> None:
        self._send, self._begun = send, False
        self._rate = LeastRate("the answer is read", asyncio.get_running_loop().time)

    async def pass_on(self, found: httpx.Response) -> None:
        kept = [
            (name, value)
            for name, value in found.headers.raw
            if name.lower().decode("latin-1") in _PASSED_BACK or name.lower().startswith(b"x-amz-meta-")
        ]
        await self._start(found.status_code, kept)
        async for chunk in found.aiter_raw():
            await self._put({"type": "http.response.body", "body": chunk, "more_body": True})
        await self._put({"type": "http.response.body", "body": b""})

    async def refuse(self, status: int, code: str, message: str) -> None:
        if self._begun:
            raise ConnectionAbortedError(message)
        body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>".encode()
        headers = [(b"content-type", b"application/xml"), (b"content-length", str(len(body)).encode())]
        await self._start(status, headers)
        await self._put({"type": "http.response.body", "body": body})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._begun = True
        await self._put({"type": "http.response.start", "status": status, "headers": headers})

    async def _put(self, message: Message) -> None:
        await self._rate.wait(self._send(message))
        self._rate.moved(len(message.get("body", b"")))
