"""Idempotency keys: a command that is sent again with the same key gets the first answer, and is not handled again."""

from typing import Protocol

import msgspec


class StoredAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The first answer to a key. `body` is None where it was too large to keep or a stream: handling the command again,
    under the same command id, then gives it again without changing anything."""

    status: int
    media_type: str
    body: bytes | None


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """The key is this caller's now, until it is completed, abandoned, or its lease ends."""

    lease: str


class InProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Another request with the same key and body is being handled."""


class OtherBody(msgspec.Struct, frozen=True, kw_only=True):
    """The key was used with another request."""


KeyState = Begun | InProgress | OtherBody | StoredAnswer


class IdempotencyKeys(Protocol):
    """An operational table: keys of each actor, kept for a bounded time."""

    async def begin(self, actor: str, key: str, fingerprint: str, lease_s: float) -> KeyState:
        """Claim the key for `lease_s` seconds, or tell what became of it. `fingerprint` is a hash of the request."""
        ...

    async def renew(self, actor: str, key: str, lease: str, lease_s: float) -> None:
        """Hold the key for `lease_s` seconds from now. Nothing happens when the lease was lost meanwhile."""
        ...

    async def complete(self, actor: str, key: str, lease: str, answer: StoredAnswer) -> None:
        """Keep the answer. Nothing happens when the lease was lost meanwhile."""
        ...

    async def abandon(self, actor: str, key: str, lease: str) -> None:
        """Give the key back: the command was not handled."""
        ...
