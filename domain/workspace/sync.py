"""What a sync leaves in the object store, as the log and the executor speak of it."""

from typing import Literal

import msgspec

SyncReason = Literal["message.stop", "run.finished", "pre.stop", "pre.remove", "compensation", "manual"]
GATE_REASONS: frozenset[str] = frozenset({"pre.stop", "pre.remove"})


class SyncRef(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The manifest object that is a workspace's content at one moment: its full key and the SHA-256 of its bytes."""

    manifest_key: str
    manifest_hash: str


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One path of a sync manifest. `path` is relative to the workspace. Where it or a link's target isn't UTF-8, it is
    stored in a form for people, and `path_bytes` or `target_bytes` holds the very bytes in base64. `hash` is the
    content's SHA-256 in hex, `pack` and `offset` say where a packed small file lies; else it is the object
    `objects/{hash[:2]}/{hash}`."""

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


class SyncManifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The body of `manifests/{generation}-{n}-{hash}.json`. `tombstones` are template files that the session deleted;
    `template` maps the template's paths to the hashes that were applied, which `merge` compares with."""

    format_version: int = 1
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
