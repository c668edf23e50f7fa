"""How calls to an executor carry the credentials for the object store that are valid then: a part of the protocol
(executor_protocol.py)."""

from base64 import b64decode, b64encode

import msgspec

CREDENTIALS_HEADER = "x-fleetlog-object-store"
"""Carries `StoreCredentials`, as JSON in base64. Executors of both versions read it."""
STORE_HEADER = "x-fleetlog-store"
"""The same for those with an `endpoint`, which executors of version 1 don't understand and must not be given."""
LONGEST_CREDENTIALS = 16 * 1024
"""Characters of these headers' values; AWS's session tokens have about 1,000, and no promised limit."""


class StoreCredentials(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Credentials for the object store: temporary ones, or a worker's own for the `endpoint` where the caller serves
    it, "" for the one of the executor's configuration."""

    access_key: str
    secret_key: str
    session_token: str = ""
    endpoint: str = ""

    def headers(self) -> dict[str, str]:
        name = STORE_HEADER if self.endpoint else CREDENTIALS_HEADER
        return {name: b64encode(msgspec.json.encode(self)).decode()}

    @classmethod
    def of_header(cls, text: str) -> "StoreCredentials":
        """Raises ValueError."""
        if len(text) > LONGEST_CREDENTIALS:
            raise ValueError(f"{len(text)} characters, {LONGEST_CREDENTIALS} are allowed")
        return msgspec.json.decode(b64decode(text, validate=True), type=cls)

    def __repr__(self) -> str:
        return "StoreCredentials(not shown)"
