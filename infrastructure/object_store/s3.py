"""The executor's S3 adapter: get, put, multipart upload, copy, head, list and delete, on the standard library."""

import http.client
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import msgspec

from application.ports.object_store import FetchedObject, ObjectInfo, ObjectMissing, ObjectStoreError
from infrastructure.object_store.attempts import (
    CHUNK_BYTES,
    DELETE_BATCH,
    Attempts,
    byte_range,
    callers_own,
    md5_of,
    refusal,
)
from infrastructure.object_store.location import S3Credentials, S3Location
from infrastructure.object_store.rest import ErrorResponse, S3Rest, lower_case
from infrastructure.object_store.s3_xml import (
    ListedPage,
    MalformedResponse,
    completed_parts,
    deleted_keys,
    listed_page,
    s3_error_of,
    upload_id,
)
from infrastructure.object_store.signing import encoded_path

_METADATA = "x-amz-meta-"


class S3ObjectStore:
    """Implements ObjectStore."""

    def __init__(self, location: S3Location, *, max_connections: int = 16, retry_delay_s: float = 0.2) -> None:
        self._rest = S3Rest(location, max_idle=max_connections)
        self._attempts = Attempts(location.server, _judged, delay_s=retry_delay_s)

    @property
    def address(self) -> str:
        return self.location.address

    def close(self) -> None:
        self._rest.close()

    @property
    def location(self) -> S3Location:
        return self._rest.location

    def renew(self, credentials: S3Credentials, endpoint: str = "") -> None:
        """Sign every request from now on with these, those of calls under way included, and send them to `endpoint` if
        one is given."""
        self._rest.credentials = credentials
        if endpoint:
            self._rest.location = msgspec.structs.replace(self.location, endpoint=endpoint)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        return self.fetch(key, start=start, length=length).body

    def fetch(self, key: str, *, start: int = 0, length: int | None = None) -> FetchedObject:
        def attempt() -> FetchedObject:
            response = self._rest.call("GET", key, headers=_range(start, length))
            expected = _content_length(response.headers)
            if len(response.body) != expected:
                raise ConnectionError(f"{len(response.body)} bytes instead of {expected}")
            return FetchedObject(body=response.body, metadata=_metadata(response.headers))

        if length == 0:
            return FetchedObject(body=b"")
        return self._attempts.run(f"reading {key!r}", key, attempt)

    def copy_out(self, key: str, write: Callable[[bytes], object]) -> dict[str, str]:
        written, take = 0, callers_own(write)
        metadata: dict[str, str] = {}

        def attempt() -> None:
            nonlocal written, metadata
            with self._rest.open("GET", key, headers=_range(written, None)) as response:
                headers = lower_case(response)
                metadata = _metadata(headers)
                expected = written + _content_length(headers)
                while chunk := response.read(CHUNK_BYTES):
                    take(chunk)
                    written += len(chunk)
            if written != expected:
                raise ConnectionError(f"{written} bytes instead of {expected}")

        self._attempts.run(f"reading {key!r}", key, attempt)
        return metadata

    def put(self, key: str, body: bytes, *, metadata: dict[str, str] | None = None) -> None:
        headers = {f"{_METADATA}{name}": value for name, value in (metadata or {}).items()}
        headers["content-md5"] = md5_of(body)
        self._attempts.run(f"writing {key!r}", key, lambda: self._rest.call("PUT", key, headers=headers, body=body))

    def put_parts(self, key: str, parts: Iterable[bytes], *, confirm: Callable[[], bool] = lambda: True) -> bool:
        begun = self._attempts.run(f"writing {key!r}", key, lambda: self._rest.call("POST", key, query={"uploads": ""}))
        upload = upload_id(begun.body)
        try:
            etags, size = list[str](), 0
            for number, part in enumerate(parts, start=1):
                etags.append(self._put_part(key, upload, number, part))
                size += len(part)
            if not confirm():
                self._abort(key, upload)
                return False
            self._attempts.complete(key, lambda: self._complete(key, upload, etags), size=size, head=self.head)
        except BaseException:
            self._abort(key, upload)
            raise
        return True

    def copy(self, source: str, key: str) -> None:
        headers = {"x-amz-copy-source": encoded_path(f"/{self.location.bucket}/{source}")}

        def attempt() -> None:
            _raise_error_in_body(self._rest.call("PUT", key, headers=headers).body)

        self._attempts.run(f"copying {source!r}", source, attempt)

    def head(self, key: str) -> ObjectInfo | None:
        try:
            response = self._attempts.run(f"asking for {key!r}", key, lambda: self._rest.call("HEAD", key))
        except ObjectMissing:
            return None
        return ObjectInfo(key=key, size=_content_length(response.headers))

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        token = ""
        while True:
            page = self._attempts.run(f"listing {prefix!r}", prefix, partial(self._page, prefix, token))
            yield from page.objects
            token = page.next_token
            if not token:
                return

    def delete(self, keys: Iterable[str]) -> None:
        batch: list[str] = []
        for key in keys:
            batch.append(key)
            if len(batch) == DELETE_BATCH:
                self._delete_batch(batch)
                batch = []
        if batch:
            self._delete_batch(batch)

    def _delete_batch(self, batch: list[str]) -> None:
        body = deleted_keys(batch)

        def attempt() -> None:
            response = self._rest.call("POST", query={"delete": ""}, headers={"content-md5": md5_of(body)}, body=body)
            _raise_error_in_body(response.body)

        self._attempts.run(f"deleting {len(batch)} objects", "", attempt)

    def _page(self, prefix: str, token: str) -> ListedPage:
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        if token:
            query["continuation-token"] = token
        return listed_page(self._rest.call("GET", query=query).body)

    def _put_part(self, key: str, upload: str, number: int, part: bytes) -> str:
        query = {"partNumber": str(number), "uploadId": upload}
        headers = {"content-md5": md5_of(part)}
        response = self._attempts.run(
            f"writing part {number} of {key!r}",
            key,
            lambda: self._rest.call("PUT", key, query=query, headers=headers, body=part),
        )
        return response.headers["etag"]

    def _complete(self, key: str, upload: str, etags: list[str]) -> None:
        response = self._rest.call("POST", key, query={"uploadId": upload}, body=completed_parts(etags))
        _raise_error_in_body(response.body)

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._rest.call("DELETE", key, query={"uploadId": upload})
        except (ErrorResponse, OSError, http.client.HTTPException):
            # Parts of an incomplete upload never become an object; the error that led here is the one to raise.
            return


def _judged(error: Exception, doing: str, key: str) -> ObjectStoreError | None:
    match error:
        case ErrorResponse():
            return refusal(error, doing, key, status=error.status, code=error.code)
        case OSError() | http.client.HTTPException() | MalformedResponse():
            return None
    raise error


def _range(start: int, length: int | None) -> dict[str, str]:
    wanted = byte_range(start, length)
    return {"range": wanted} if wanted else {}


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(_METADATA): value for name, value in headers.items() if name.startswith(_METADATA)}


def _content_length(headers: Mapping[str, str]) -> int:
    # Without a length (cut headers, say) an incomplete body could not be told from a complete one.
    length = headers.get("content-length", "")
    if not length.isdigit():
        raise ConnectionError("the response does not say how long it is")
    return int(length)


def _raise_error_in_body(body: bytes) -> None:
    """Copies, multipart completions and batch deletions can fail with a 200: raise the error that such a body holds."""
    s3_error = s3_error_of(body)
    if s3_error.code:
        raise ErrorResponse(http.HTTPStatus.OK, s3_error)
