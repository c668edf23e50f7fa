"""The S3 adapter: get, put, multipart, head, list and delete over boto3.

All calls block: run them in threads. Every upload carries its MD5, which the store verifies; every read is verified by
its caller against the SHA-256 that is on record. Connecting waits 5 s at most, reading 60 s, and a call is tried
four times.
"""

import base64
import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from infrastructure.object_store.errors import ObjectMissing, ObjectStoreRefused, ObjectStoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 4
_CHUNK_BYTES = 256 * 1024
_DELETE_BATCH = 500
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_PASSING = frozenset({"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "BadDigest"})
Answer = TypeVar("Answer")


class S3Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bucket is and how to get in. An empty `endpoint` means AWS itself."""

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One object of a listing; `size` in bytes."""

    key: str
    size: int


class FetchedObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object's bytes and the user metadata stored beside it (keys in lower case)."""

    body: bytes
    metadata: dict[str, str] = {}


class S3ObjectStore:
    """One bucket. Safe to use from many threads."""

    def __init__(self, location: S3Location, *, max_connections: int = 16, retry_delay_s: float = 0.2) -> None:
        self.location = location
        self._max_connections = max_connections
        self._retry_delay_s = retry_delay_s
        self._client_lock = threading.Lock()
        self._made_client: S3Client | None = None

    def warm_up(self) -> None:
        """Load and set up the client, which takes some hundred milliseconds, before the first call needs it."""
        _ = self._client

    def close(self) -> None:
        """Give the connections back."""
        with self._client_lock:
            if self._made_client is not None:
                self._made_client.close()

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object, or of its range. Raises ObjectMissing, ObjectStoreUnavailable, ObjectStoreRefused."""
        return self.fetch(key, start=start, length=length).body

    def fetch(self, key: str, *, start: int = 0, length: int | None = None) -> FetchedObject:
        """As `get`, with the object's metadata."""

        def attempt() -> FetchedObject:
            answer = self._open(key, start, length)
            with closing(answer["Body"]) as stream:
                expected = _announced(answer)
                body = stream.read()
            if len(body) != expected:
                raise ConnectionError(f"{len(body)} bytes instead of {expected}")
            return FetchedObject(
                body=body, metadata={name.lower(): value for name, value in answer.get("Metadata", {}).items()}
            )

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
            answer = self._open(key, written, None)
            metadata = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
            with closing(answer["Body"]) as stream:
                expected = written + _announced(answer)
                for chunk in stream.iter_chunks(_CHUNK_BYTES):
                    write(chunk)
                    written += len(chunk)
            if written != expected:
                raise ConnectionError(f"{written} bytes instead of {expected}")

        self._tried(f"reading {key!r}", key, attempt)
        return metadata

    def put(self, key: str, body: bytes, *, metadata: dict[str, str] | None = None) -> None:
        """Write an object whole. The store refuses it when the bytes that arrive have another MD5."""
        digest = _md5(body)
        self._tried(
            f"writing {key!r}",
            key,
            lambda: self._client.put_object(
                Bucket=self.location.bucket, Key=key, Body=body, ContentMD5=digest, Metadata=metadata or {}
            ),
        )

    def put_parts(self, key: str, parts: Iterable[bytes], *, confirm: Callable[[], bool] = lambda: True) -> bool:
        """Write an object in parts of at least 5 MiB each (but the last). It comes to be only when `confirm`, asked
        after the last part, agrees; the answer is whether it did."""
        bucket = self.location.bucket
        upload = self._tried(
            f"writing {key!r}", key, lambda: self._client.create_multipart_upload(Bucket=bucket, Key=key)
        )["UploadId"]
        try:
            done: list[Any] = []
            for number, part in enumerate(parts, start=1):
                etag = self._put_part(key, upload, number, part)
                done.append({"PartNumber": number, "ETag": etag})
            if not confirm():
                self._abort(key, upload)
                return False
            self._tried(
                f"completing {key!r}",
                key,
                lambda: self._client.complete_multipart_upload(
                    Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done}
                ),
            )
        except BaseException:
            self._abort(key, upload)
            raise
        return True

    def head(self, key: str) -> ObjectInfo | None:
        """The object's size, or None when there is none."""
        try:
            answer = self._tried(
                f"asking for {key!r}", key, lambda: self._client.head_object(Bucket=self.location.bucket, Key=key)
            )
        except ObjectMissing:
            return None
        return ObjectInfo(key=key, size=answer["ContentLength"])

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, page by page, in the order of keys."""
        token: str | None = None
        while True:
            page = self._page(prefix, token)
            for item in page.get("Contents", []):
                yield ObjectInfo(key=item["Key"], size=item["Size"])
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or token is None:
                return

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is gone already is no error."""
        batch: list[Any] = []
        for key in keys:
            batch.append({"Key": key})
            if len(batch) == _DELETE_BATCH:
                self._delete_batch(batch)
                batch = []
        if batch:
            self._delete_batch(batch)

    def _delete_batch(self, batch: list[Any]) -> None:
        self._tried(
            f"deleting {len(batch)} objects",
            "",
            lambda: self._client.delete_objects(Bucket=self.location.bucket, Delete={"Objects": batch, "Quiet": True}),
        )

    def _open(self, key: str, start: int, length: int | None) -> Any:
        if start == 0 and length is None:
            return self._client.get_object(Bucket=self.location.bucket, Key=key)
        end = "" if length is None else str(start + length - 1)
        return self._client.get_object(Bucket=self.location.bucket, Key=key, Range=f"bytes={start}-{end}")

    def _page(self, prefix: str, token: str | None) -> Any:
        bucket = self.location.bucket
        if token is None:
            return self._tried(
                f"listing {prefix!r}", prefix, lambda: self._client.list_objects_v2(Bucket=bucket, Prefix=prefix)
            )
        return self._tried(
            f"listing {prefix!r}",
            prefix,
            lambda: self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, ContinuationToken=token),
        )

    def _put_part(self, key: str, upload: str, number: int, part: bytes) -> str:
        answer = self._tried(
            f"writing part {number} of {key!r}",
            key,
            lambda: self._client.upload_part(
                Bucket=self.location.bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=part,
                ContentMD5=_md5(part),
            ),
        )
        return answer["ETag"]

    def _abort(self, key: str, upload: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.abort_multipart_upload(Bucket=self.location.bucket, Key=key, UploadId=upload)
        except (BotoCoreError, ClientError):
            # The store forgets an upload that was never completed; the error that led here is the one to tell.
            return

    def _tried(self, doing: str, key: str, attempt: Callable[[], Answer]) -> Answer:
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        for number in range(1, _ATTEMPTS + 1):
            try:
                return attempt()
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", ""))
                status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
                if code in _MISSING:
                    raise ObjectMissing(key) from error
                if status < 500 and code not in _PASSING:
                    raise ObjectStoreRefused(f"the object store refused {doing}: {error}") from error
                cause: Exception = error
            except (BotoCoreError, HTTPError, ConnectionError, TimeoutError) as error:
                cause = error
            if number < _ATTEMPTS:
                time.sleep(self._retry_delay_s * number * random.uniform(0.75, 1.25))  # noqa: S311  jitter, no secret
        raise ObjectStoreUnavailable(
            f"{doing} failed {_ATTEMPTS} times at {self.location.endpoint or 'AWS'}: {cause}"
        ) from cause

    @property
    def _client(self) -> "S3Client":
        with self._client_lock:
            if self._made_client is None:
                self._made_client = _connect(self.location, self._max_connections)
            return self._made_client


def _connect(location: S3Location, max_connections: int) -> "S3Client":
    from boto3.session import Session
    from botocore.config import Config

    return Session().client(
        "s3",
        endpoint_url=location.endpoint or None,
        region_name=location.region,
        aws_access_key_id=location.access_key,
        aws_secret_access_key=location.secret_key,
        config=Config(
            s3={"addressing_style": "path" if location.endpoint else "auto"},
            # We send MD5s and verify SHA-256s ourselves; not every store knows the newer trailing checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=max_connections,
            proxies={},
        ),
    )


def _announced(answer: Any) -> int:
    # Headers that were cut off may lack the length; without it a cut body could not be told from a whole one.
    if "ContentLength" not in answer:
        raise ConnectionError("the answer does not say how long it is")
    return int(answer["ContentLength"])


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
