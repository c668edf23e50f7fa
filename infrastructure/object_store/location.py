"""Where the object store is."""

import msgspec


class S3Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bucket is and how to get in. An empty `endpoint` means AWS itself."""

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str
