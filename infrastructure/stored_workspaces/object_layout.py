"""Where a workspace's content lies below its prefix in the object store.

    objects/{hash[:2]}/{hash}                   one file's content, by its SHA-256 in hex
    packs/{hash}                                many small files' contents, concatenated, by the SHA-256 of the whole
    manifests/{generation}-{n}-{hash[:12]}.json one sync, by the SHA-256 of the manifest
    outputs/{hash[:2]}/{hash}                   tool output too large for an event

All of it is immutable. Anything else below the prefix is a plain key, written by other programs.
"""

import re

from domain.workspace.sync import ManifestEntry

_OURS = re.compile(
    r"(objects|outputs)/[0-9a-f]{2}/[0-9a-f]{64}|packs/[0-9a-f]{64}|manifests/[0-9]+-[0-9]+-[0-9a-f]{12}\.json"
)
_HASH = re.compile(r"[0-9a-f]{64}")


def object_key(prefix: str, content_hash: str) -> str:
    return f"{prefix}/objects/{content_hash[:2]}/{content_hash}"


def output_key(prefix: str, content_hash: str) -> str:
    return f"{prefix}/outputs/{content_hash[:2]}/{content_hash}"


def pack_key(prefix: str, pack_hash: str) -> str:
    return f"{prefix}/packs/{pack_hash}"


def manifest_key(prefix: str, generation: int, number: int, body_hash: str) -> str:
    return f"{prefix}/manifests/{generation}-{number}-{body_hash[:12]}.json"


def content_key(prefix: str, entry: ManifestEntry) -> str:
    """The object that holds a file's content."""
    return pack_key(prefix, entry.pack) if entry.pack else object_key(prefix, entry.hash)


def is_ours(relative_key: str) -> bool:
    """Whether a key, relative to the prefix, has one of the forms above."""
    return _OURS.fullmatch(relative_key) is not None


def is_hash(text: str) -> bool:
    return _HASH.fullmatch(text) is not None
