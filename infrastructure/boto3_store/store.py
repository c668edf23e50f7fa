"""The control plane's S3 adapter, on boto3."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

from application.ports.object_store import FetchedObject, ObjectInfo, ObjectMissing
from infrastructure.boto3_store.session import AwsSession
from infrastructure.object_store.attempts import CHUNK_BYTES, DELETE_BATCH, Attempts, byte_range, callers_own, md5_of

CALLING_THREADS = 16
MOST_CONNECTIONS = CALLING_THREADS + 18
"""As many as threads that call it at once: those of `calling_threads`, and 18 that copy forks
(infrastructure/stored_workspaces/copying.py)."""


def calling_threads() -> ThreadPoolExecutor:
    """Threads for the calls of a control plane, which all block: a store that hangs fills these, and not the pool of
    asyncio, in which host names are looked up."""
    return ThreadPoolExecutor(CALLING_THREADS, thread_name_prefix="object-store")


class Boto3ObjectStore:
    """Implements ObjectStore."""

    def __init__(
        self, session: AwsSession, *, max_connections: int = MOST_CONNECTIONS, retry_delay_s: float = 0.2
    ) -> None:
        from infrastructure.boto3_store.errors import judged  # loads botocore

        self._location = session.location
        self._judged = judged
        self._client = session.s3_client(connections=max_connections)
        self._client.meta.events.register("before-call.s3.DeleteObjects", _with_md5)
        self._attempts = Attempts(self._location.server, judged, delay_s=retry_delay_s)

    @property
    def address(self) -> str:
        return self._location.address

    def close(self) -> None:
        self._client.close()

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        return self.fetch(key, start=start, length=length).body

    def fetch(self, key: str, *, start: int = 0, length: int | None = None) -> FetchedObject:
        def attempt() -> FetchedObject:
            answer = self._get(key, start, length)
            with closing(answer["Body"]) as body:
                return FetchedObject(body=body.read(), metadata=_metadata(answer))

        if length == 0:
            return FetchedObject(body=b"")
        return self._attempts.run(f"reading {key!r}", key, attempt)

    def copy_out(self, key: str, write: Callable[[bytes], object]) -> dict[str, str]:
        written, take = 0, callers_own(write)
        metadata: dict[str, str] = {}

        def attempt() -> None:
            nonlocal written, metadata
            answer = self._get(key, written, None)
            metadata = _metadata(answer)
            with closing(answer["Body"]) as body:
                while chunk := body.read(CHUNK_BYTES):
                    take(chunk)
                    written += len(chunk)

        self._attempts.run(f"reading {key!r}", key, attempt)
        return metadata

    def put(self, key: str, body: bytes, *, metadata: dict[str, str] | None = None) -> None:
        self._run(
            f"writing {key!r}",
            key,
            self._client.put_object,
            Key=key,
            Body=body,
            ContentMD5=md5_of(body),
            Metadata=metadata or {},
        )

    def put_parts(self, key: str, parts: Iterable[bytes], *, confirm: Callable[[], bool] = lambda: True) -> bool:
        begun = self._run(f"writing {key!r}", key, self._client.create_multipart_upload, Key=key)
        upload = begun["UploadId"]
        try:
            etags, size = list[dict[str, Any]](), 0
            for number, part in enumerate(parts, start=1):
                etags.append(self._put_part(key, upload, number, part))
                size += len(part)
            if not confirm():
                self._abort(key, upload)
                return False
            complete = partial(
                self._client.complete_multipart_upload,
                Bucket=self._location.bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": etags},
            )
            self._attempts.complete(key, complete, size=size, head=self.head)
        except BaseException:
            self._abort(key, upload)
            raise
        return True

    def copy(self, source: str, key: str) -> None:
        where = {"Bucket": self._location.bucket, "Key": source}
        self._run(f"copying {source!r}", source, self._client.copy_object, Key=key, CopySource=where)

    def head(self, key: str) -> ObjectInfo | None:
        try:
            answer = self._run(f"asking for {key!r}", key, self._client.head_object, Key=key)
        except ObjectMissing:
            return None
        return ObjectInfo(key=key, size=answer["ContentLength"])

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        token: dict[str, str] = {}
        while True:
            page = self._run(f"listing {prefix!r}", prefix, self._client.list_objects_v2, Prefix=prefix, **token)
            for item in page.get("Contents", []):
                yield ObjectInfo(key=item["Key"], size=item["Size"], modified_at=item["LastModified"].isoformat())
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

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
        wanted = {"Objects": [{"Key": key} for key in batch], "Quiet": True}

        def attempt() -> None:
            answer = self._client.delete_objects(Bucket=self._location.bucket, Delete=wanted)
            if left := answer.get("Errors"):
                raise OSError(f"{len(left)} stay: {left[0].get('Code')} {left[0].get('Message')}")

        self._attempts.run(f"deleting {len(batch)} objects", "", attempt)

    def _get(self, key: str, start: int, length: int | None) -> dict[str, Any]:
        wanted = byte_range(start, length)
        answer: dict[str, Any] = self._client.get_object(
            Bucket=self._location.bucket, Key=key, **({"Range": wanted} if wanted else {})
        )
        if "ContentLength" not in answer:
            # Without a length an incomplete body could not be told from a complete one.
            answer["Body"].close()
            raise ConnectionError("the response does not say how long it is")
        return answer

    def _put_part(self, key: str, upload: str, number: int, part: bytes) -> dict[str, Any]:
        answer = self._run(
            f"writing part {number} of {key!r}",
            key,
            self._client.upload_part,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            Body=part,
            ContentMD5=md5_of(part),
        )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._location.bucket, Key=key, UploadId=upload)
        except Exception as error:  # noqa: BLE001  judged
            # Parts of an incomplete upload never become an object; the error that led here is the one to raise.
            self._judged(error, "aborting an upload", key)

    def _run(self, doing: str, key: str, call: Callable[..., dict[str, Any]], **parameters: Any) -> dict[str, Any]:
        return self._attempts.run(doing, key, partial(call, Bucket=self._location.bucket, **parameters))


def _metadata(answer: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.get("Metadata", {}).items()}


def _with_md5(params: dict[str, Any], **_: Any) -> None:
    """boto3 sends a CRC32 with a batch of deletions, which other servers may not know."""
    params["headers"]["Content-MD5"] = md5_of(params["body"])
