"""Content in an S3-compatible object store. Implemented twice, because the two programs differ in what they may load:
the executor's client is small, the control plane's is AWS's own (docs/decisions/object-store-client.md).

ObjectStoreError
├── ObjectMissing           no object under this key (final)
├── ObjectCorrupt           an object's bytes have another checksum than recorded (final)
├── ObjectStoreRefused      wrong or no credentials, malformed request (final until an operator acts)
│   └── BucketMissing           no such bucket
└── ObjectStoreUnavailable  not reachable, or failing, after all retries (transient)
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One object of a listing; `size` in bytes, `modified_at` as the store gives it (ISO 8601; "" if unknown)."""

    key: str
    size: int
    modified_at: str = ""


class FetchedObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object's bytes and the user metadata stored beside it (keys in lower case)."""

    body: bytes
    metadata: dict[str, str] = {}


class ObjectStore(Protocol):
    """One bucket. Safe to use from many threads. All calls block: run them in threads.

    Every upload carries its MD5, which the store verifies; what is read must be verified by the caller against the
    recorded SHA-256. Connecting takes 5 s at most, a read without data 60 s; a call is tried four times. All raise
    ObjectStoreUnavailable and ObjectStoreRefused.
    """

    @property
    def address(self) -> str:
        """The server and the bucket, for people; without credentials."""
        ...

    def close(self) -> None:
        """Close the idle connections."""
        ...

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object, or of its range. Raises ObjectMissing."""
        ...

    def fetch(self, key: str, *, start: int = 0, length: int | None = None) -> FetchedObject:
        """As `get`, with the object's metadata."""
        ...

    def copy_out(self, key: str, write: Callable[[bytes], object]) -> dict[str, str]:
        """Pass an object's bytes to `write` in chunks of at most 256 KiB; after a broken connection it goes on where it
        stopped. Returns the object's metadata. Raises ObjectMissing, and what `write` raises."""
        ...

    def put(self, key: str, body: bytes, *, metadata: dict[str, str] | None = None) -> None:
        """Write an object in one request. The store refuses it when the bytes that arrive have another MD5."""
        ...

    def put_parts(self, key: str, parts: Iterable[bytes], *, confirm: Callable[[], bool] = lambda: True) -> bool:
        """Write an object by multipart upload; all `parts` but the last have at least 5 MiB. After the last part
        `confirm` decides whether the object is created; returns its answer."""
        ...

    def copy(self, source: str, key: str) -> None:
        """Copy an object of at most 5 GiB within the store. Raises ObjectMissing when there is no source."""
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """The object's key and size; None when it does not exist."""
        ...

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, in the order of keys; requests a page at a time."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that does not exist is no error."""
        ...


class ObjectStoreError(Exception):
    """A call to the object store failed for good; the message names the key and the cause."""


class ObjectMissing(ObjectStoreError):
    """No object under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the object store has no object {key!r}")
        self.key = key


class ObjectCorrupt(ObjectStoreError):
    """An object's bytes don't have the checksum under which they were recorded."""


class ObjectStoreRefused(ObjectStoreError):
    """The store refused the call: wrong or no credentials, no such bucket, a malformed request."""


class BucketMissing(ObjectStoreRefused):
    """The store has no bucket of the configured name."""


class ObjectStoreUnavailable(ObjectStoreError):
    """The store can't be reached or keeps failing."""
