"""What can go wrong between us and the object store.

ObjectStoreError
├── ObjectMissing           no object under this key (final)
├── ObjectCorrupt           an object's bytes are not those that were asked for (final)
├── ObjectStoreRefused      credentials, bucket or request refused (final until somebody acts)
└── ObjectStoreUnavailable  not reached, or failing, after all retries (may pass)
"""


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
    """The store refused the call: wrong credentials, no such bucket, a malformed request."""


class ObjectStoreUnavailable(ObjectStoreError):
    """The store can't be reached or keeps failing."""
