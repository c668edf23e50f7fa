"""What of the object store a session worker may use: its session's prefix, and the layers of its restore plan."""

import msgspec

from domain.workspace.plan import LINK_AGENT_DATA, RestorePlan

MAX_KEY_BYTES = 1024
"""S3's own limit."""


class StorageScope(msgspec.Struct, frozen=True, kw_only=True):
    """Key prefixes, each with a trailing slash. `own` is read and written, `layers` are read."""

    own: str
    layers: tuple[str, ...] = ()

    def may_write(self, key: str) -> bool:
        return _is_plain(key) and key.startswith(self.own) and key != self.own

    def may_read(self, key: str) -> bool:
        """Also whether everything may be listed that begins with `key`."""
        return _is_plain(key) and key.startswith((self.own, *self.layers))


def storage_scope(workspace_prefix: str, plan: RestorePlan) -> StorageScope:
    """That of a session worker whose workspace is filled by this plan."""
    own = f"{workspace_prefix}/"
    sources = (layer.source for layer in plan.layers if layer.source != LINK_AGENT_DATA)
    return StorageScope(own=own, layers=tuple(source for source in sources if not source.startswith(own)))


def _is_plain(key: str) -> bool:
    """Whether a store can take it for no other key: some treat keys as paths."""
    return len(key.encode()) <= MAX_KEY_BYTES and not {".", ".."} & set(key.split("/"))
