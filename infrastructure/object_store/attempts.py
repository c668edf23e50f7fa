"""What both S3 clients do alike: how often a call is tried, what error codes mean, ranges, checksums."""

import base64
import hashlib
import random
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from application.ports.object_store import (
    BucketMissing,
    ObjectInfo,
    ObjectMissing,
    ObjectStoreError,
    ObjectStoreRefused,
    ObjectStoreUnavailable,
)

CONNECT_S = 5.0
READ_S = 60.0
CHUNK_BYTES = 256 * 1024
DELETE_BATCH = 500
_ATTEMPTS = 4
_MISSING_CODES = frozenset({"", "404", "NoSuchKey", "NotFound"})
_TRANSIENT_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_TRANSIENT_CODES = frozenset(
    {
        "SlowDown",
        "RequestTimeout",
        "InternalError",
        "ServiceUnavailable",
        "Throttling",
        "BadDigest",
        "OperationAborted",  # a conflicting call was under way
    }
)
Result = TypeVar("Result")
Judge = Callable[[Exception, str, str], ObjectStoreError | None]
"""Takes an error, what was being done, and the key. Returns what to raise for it; None when another try may help.
Raises the error itself when the store has nothing to do with it."""


def refusal(error: Exception, doing: str, key: str, *, status: int, code: str) -> ObjectStoreError | None:
    """What an error response means, as a Judge says it. `code` is S3's, "" or the status where it sent none."""
    if status == HTTPStatus.NOT_FOUND and code in _MISSING_CODES:
        return ObjectMissing(key)
    if status in _TRANSIENT_STATUSES or code in _TRANSIENT_CODES:
        return None
    if code == "NoSuchUpload":
        return _UploadGone(f"the object store refused {doing}: {error}")
    if code == "NoSuchBucket":
        return BucketMissing(f"the object store has no such bucket ({doing}): make it, or correct S3_BUCKET")
    if HTTPStatus.OK < status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return ObjectStoreRefused(f"the object store refused {doing}: {error}")
    return None


class _UploadGone(ObjectStoreRefused):
    """The store knows no such multipart upload: it was completed or aborted."""


class _CallersError(Exception):
    """Carries what a caller's own code raised past the judges."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def callers_own(write: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """`write`, to be called within an attempt: what it raises, such as a full disk, is no failure of the store, and
    `Attempts.run` raises it as it is."""

    def pass_on(chunk: bytes) -> None:
        try:
            write(chunk)
        except Exception as error:
            raise _CallersError(error) from error

    return pass_on


class Attempts:
    """Tries a call four times, with pauses that grow by `delay_s`, in seconds. `server` names the store in errors."""

    def __init__(self, server: str, judge: Judge, *, delay_s: float) -> None:
        self._server, self._judge = server, judge
        self.delay_s = delay_s

    def run(self, doing: str, key: str, attempt: Callable[[], Result]) -> Result:
        """What `attempt` returns. Raises ObjectStoreError, and what `callers_own` carries. Blocks."""
        for number in range(1, _ATTEMPTS + 1):
            try:
                return attempt()
            except _CallersError as carrier:
                raise carrier.error from None
            except Exception as error:
                verdict = self._judge(error, doing, key)
                if verdict is not None:
                    raise verdict from error
                cause = error
            if number < _ATTEMPTS:
                time.sleep(self.delay_s * number * random.uniform(0.75, 1.25))  # noqa: S311  jitter, no secret
        raise ObjectStoreUnavailable(f"{doing} failed {_ATTEMPTS} times at {self._server}: {cause}") from cause

    def complete(
        self, key: str, complete: Callable[[], object], *, size: int, head: Callable[[str], ObjectInfo | None]
    ) -> None:
        """Completes a multipart upload of `size` bytes. When the answer to a try was lost, the next one may find no
        upload any more: then an object of that size says that the first try did it. Raises as `run`."""
        tries = 0

        def attempt() -> None:
            nonlocal tries
            tries += 1
            complete()

        try:
            self.run(f"completing {key!r}", key, attempt)
        except _UploadGone:
            found = head(key) if tries > 1 else None
            if found is None or found.size != size:
                raise


def byte_range(start: int, length: int | None) -> str:
    """The value of the header Range; "" for the whole object."""
    if start == 0 and length is None:
        return ""
    return f"bytes={start}-{'' if length is None else start + length - 1}"


def md5_of(body: bytes) -> str:
    """The MD5 in base64, for the header Content-MD5."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
