"""The S3 adapter: get, put, multipart, head, list and delete.

All calls block: run them in threads. Every upload carries its MD5, which the store verifies; every read is verified by
its caller against the SHA-256 that is on record. Connecting waits 5 s at most, reading 60 s, and a call is tried
four times.
"""

import http.client
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TypeVar

import msgspec

from infrastructure.object_store.answers import (
    ListedPage,
    NotS3,
    ObjectInfo,
    completed_parts,
    deleted_keys,
    fault_of,
    listed_page,
    upload_id,
)
from infrastructure.object_store.errors import ObjectMissing, ObjectStoreRefused, ObjectStoreUnavailable
from infrastructure.object_store.location import S3Location
from infrastructure.object_store.rest import Refused, S3Rest, lower_case, md5_of
from infrastructure.object_store.signing import encoded_path

_ATTEMPTS = 4
_CHUNK_BYTES = 256 * 1024
_DELETE_BATCH = 500
_METADATA = "x-amz-meta-"
_MISSING = frozenset({"", "NoSuchKey", "NotFound"})
_PASSING = frozenset({"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "BadDigest"})
Answer = TypeVar("Answer")


class FetchedObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object's bytes and the user metadata stored beside it (keys in lower case)."""

    body: bytes
    metadata: dict[str, str] = {}


class S3ObjectStore:
    """One bucket. Safe to use from many threads."""

    def __init__(self, location: S3Location, *, max_connections: int = 16, retry_delay_s: float = 0.2) -> None:
        self.location = location
        self._rest = S3Rest(location, max_idle=max_connections)
        self._retry_delay_s = retry_delay_s

    def close(self) -> None:
        """Give the connections back."""
        self._rest.close()

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object, or of its range. Raises ObjectMissing, ObjectStoreUnavailable, ObjectStoreRefused."""
        return self.fetch(key, start=start, length=length).body

    def fetch(self, key: str, *, start: int = 0, length: int | None = None) -> FetchedObject:
        """As `get`, with the object's metadata."""

        def attempt() -> FetchedObject:
            answer = self._rest.call("GET", key, headers=_range(start, length))
            expected = _announced(answer.headers)
            if len(answer.body) != expected:
                raise ConnectionError(f"{len(answer.body)} bytes instead of {expected}")
            return FetchedObject(body=answer.body, metadata=_metadata(answer.headers))

        if length == 0:
            return FetchedObject(body=b"")
        return self._tried(f"reading {key!r}", key, attempt)

    def copy_out(self, key: str, write: Callable[[bytes], object]) -> dict[str, str]:
        """Hand an object's bytes to `write` in chunks of bounded size; a cut connection is resumed where it broke.
        The answer is the object's metadata."""
        written = 0
        metadata: dict[str, str] = {}

        def attempt() -> None:
            nonlocal written, metadata
            with self._rest.open("GET", key, headers=_range(written, None)) as answer:
                headers = lower_case(answer)
                metadata = _metadata(headers)
                expected = written + _announced(headers)
                while chunk := answer.read(_CHUNK_BYTES):
                    write(chunk)
                    written += len(chunk)
            if written != expected:
                raise ConnectionError(f"{written} bytes instead of {expected}")

        self._tried(f"reading {key!r}", key, attempt)
        return metadata

    def put(self, key: str, body: bytes, *, metadata: dict[str, str] | None = None) -> None:
        """Write an object whole. The store refuses it when the bytes that arrive have another MD5."""
        headers = {f"{_METADATA}{name}": value for name, value in (metadata or {}).items()}
        headers["content-md5"] = md5_of(body)
        self._tried(f"writing {key!r}", key, lambda: self._rest.call("PUT", key, headers=headers, body=body))

    def put_parts(self, key: str, parts: Iterable[bytes], *, confirm: Callable[[], bool] = lambda: True) -> bool:
        """Write an object in parts of at least 5 MiB each (but the last). It comes to be only when `confirm`, asked
        after the last part, agrees; the answer is whether it did."""
        begun = self._tried(f"writing {key!r}", key, lambda: self._rest.call("POST", key, query={"uploads": ""}))
        upload = upload_id(begun.body)
        try:
            etags = [self._put_part(key, upload, number, part) for number, part in enumerate(parts, start=1)]
            if not confirm():
                self._abort(key, upload)
                return False
            self._tried(f"completing {key!r}", key, lambda: self._complete(key, upload, etags))
        except BaseException:
            self._abort(key, upload)
            raise
        return True

    def copy(self, source: str, key: str) -> None:
        """Copy an object of at most 5 GiB within the store. Raises ObjectMissing when there is no source."""
        headers = {"x-amz-copy-source": encoded_path(f"/{self.location.bucket}/{source}")}

        def attempt() -> None:
            _refuse_fault(self._rest.call("PUT", key, headers=headers).body)

        self._tried(f"copying {source!r}", source, attempt)

    def head(self, key: str) -> ObjectInfo | None:
        """The object's size, or None when there is none."""
        try:
            answer = self._tried(f"asking for {key!r}", key, lambda: self._rest.call("HEAD", key))
        except ObjectMissing:
            return None
        return ObjectInfo(key=key, size=_announced(answer.headers))

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, page by page, in the order of keys."""
        token = ""
        while True:
            page = self._tried(f"listing {prefix!r}", prefix, partial(self._page, prefix, token))
            yield from page.objects
            token = page.next_token
            if not token:
                return

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is gone already is no error."""
        batch: list[str] = []
        for key in keys:
            batch.append(key)
            if len(batch) == _DELETE_BATCH:
                self._delete_batch(batch)
                batch = []
        if batch:
            self._delete_batch(batch)

    def _delete_batch(self, batch: list[str]) -> None:
        body = deleted_keys(batch)

        def attempt() -> None:
            answer = self._rest.call("POST", query={"delete": ""}, headers={"content-md5": md5_of(body)}, body=body)
            _refuse_fault(answer.body)

        self._tried(f"deleting {len(batch)} objects", "", attempt)

    def _page(self, prefix: str, token: str) -> ListedPage:
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        if token:
            query["continuation-token"] = token
        return listed_page(self._rest.call("GET", query=query).body)

    def _put_part(self, key: str, upload: str, number: int, part: bytes) -> str:
        query = {"partNumber": str(number), "uploadId": upload}
        headers = {"content-md5": md5_of(part)}
        answer = self._tried(
            f"writing part {number} of {key!r}",
            key,
            lambda: self._rest.call("PUT", key, query=query, headers=headers, body=part),
        )
        return answer.headers["etag"]

    def _complete(self, key: str, upload: str, etags: list[str]) -> None:
        answer = self._rest.call("POST", key, query={"uploadId": upload}, body=completed_parts(etags))
        _refuse_fault(answer.body)

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._rest.call("DELETE", key, query={"uploadId": upload})
        except (Refused, OSError, http.client.HTTPException):
            # The store forgets an upload that was never completed; the error that led here is the one to tell.
            return

    def _tried(self, doing: str, key: str, attempt: Callable[[], Answer]) -> Answer:
        for number in range(1, _ATTEMPTS + 1):
            try:
                return attempt()
            except Refused as error:
                if error.status == http.HTTPStatus.NOT_FOUND and error.code in _MISSING:
                    raise ObjectMissing(key) from error
                if 200 < error.status < 500 and error.code not in _PASSING:
                    raise ObjectStoreRefused(f"the object store refused {doing}: {error}") from error
                cause: Exception = error
            except (OSError, http.client.HTTPException, NotS3) as error:
                cause = error
            if number < _ATTEMPTS:
                time.sleep(self._retry_delay_s * number * random.uniform(0.75, 1.25))  # noqa: S311  jitter, no secret
        raise ObjectStoreUnavailable(
            f"{doing} failed {_ATTEMPTS} times at {self.location.endpoint or 'AWS'}: {cause}"
        ) from cause


def _range(start: int, length: int | None) -> dict[str, str]:
    if start == 0 and length is None:
        return {}
    return {"range": f"bytes={start}-{'' if length is None else start + length - 1}"}


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(_METADATA): value for name, value in headers.items() if name.startswith(_METADATA)}


def _announced(headers: Mapping[str, str]) -> int:
    # Headers that were cut off may lack the length; without it a cut body could not be told from a whole one.
    length = headers.get("content-length", "")
    if not length.isdigit():
        raise ConnectionError("the answer does not say how long it is")
    return int(length)


def _refuse_fault(body: bytes) -> None:
    """Some calls answer 200 and tell their failure in the body."""
    fault = fault_of(body)
    if fault.code:
        raise Refused(http.HTTPStatus.OK, fault)
