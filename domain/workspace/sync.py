"""What a sync stores: the manifest with its entries, and the reference to it that events carry."""

from typing import Literal

import msgspec

SyncReason = Literal["message.stop", "run.finished", "pre.stop", "pre.remove", "compensation", "manual"]
FORMAT, FORMAT_WITH_EXTENTS = 1, 2
"""Of manifests; those without sparse files have the older one, which older executors read."""
MAX_MANIFEST_BYTES = 128 * 1024 * 1024
"""Whoever reads a manifest holds all of it."""
Extents = tuple[tuple[int, int], ...]
"""Where a sparse file holds data: (offset, length) in bytes, in order."""
GATE_REASONS: frozenset[str] = frozenset({"pre.stop", "pre.remove"})


class SyncRef(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Reference to a sync manifest, and so to one state of a workspace: the object's full key, the SHA-256 of its
    bytes."""

    manifest_key: str
    manifest_hash: str


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One path of a sync manifest. `path` is relative to the workspace. If it or a link's `target` is not UTF-8, it
    is readable text only, and `path_bytes` or `target_bytes` has the exact bytes in base64. `hash`: the content's
    SHA-256 in hex. `pack` and `offset`: where a small file lies in a pack; other files are objects
    `objects/{hash[:2]}/{hash}`. `extents`: of a sparse file; its content is then their data, one after the other, and
    the rest of its `size` bytes is holes. A manifest with such an entry has `format_version` 2. `mtime_ns`: when it was
    modified last, in nanoseconds since the epoch; None in manifests of earlier versions."""

    path: str
    kind: Literal["file", "dir", "symlink"]
    size: int = 0
    mode: int = 0
    target: str = ""
    hash: str = ""
    pack: str = ""
    offset: int = 0
    path_bytes: str = ""
    target_bytes: str = ""
    extents: Extents | None = None
    mtime_ns: int | None = None

    @property
    def stored_size(self) -> int:
        """The bytes of the content."""
        return self.size if self.extents is None else sum(length for _, length in self.extents)


class SyncManifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The body of `manifests/{generation}-{n}-{hash}.json`. `tombstones`: template files that the session deleted.
    `template`: path to hash of the template that was applied, to which the conflict policy `merge` compares."""

    format_version: int = FORMAT
    session_id: str
    generation: int
    number: int
    created_at: str
    reason: str
    previous: SyncRef | None = None
    entries: tuple[ManifestEntry, ...] = ()
    tombstones: tuple[str, ...] = ()
    template: dict[str, str] = {}
    template_prefix: str = ""
