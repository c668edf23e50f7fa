"""Names that are not UTF-8, on their way into a manifest and back.

In memory a path is what Python makes of the file system's bytes (surrogates for those that are not UTF-8). JSON can't
hold that: such an entry is stored with a readable `path` and the very bytes, in base64, beside it.
"""

import base64
import binascii
import os

import msgspec

from domain.workspace.sync import ManifestEntry, SyncManifest
from infrastructure.workspace.walk import is_utf8, printable


def storable(entry: ManifestEntry) -> ManifestEntry:
    """The entry as JSON can hold it."""
    if is_utf8(entry.path) and is_utf8(entry.target):
        return entry
    return msgspec.structs.replace(
        entry,
        path=printable(entry.path),
        target=printable(entry.target),
        path_bytes=_base64(entry.path),
        target_bytes=_base64(entry.target),
    )


def with_names_of_stored(manifest: SyncManifest) -> SyncManifest:
    """The manifest with the names that the file system had. Raises msgspec.DecodeError for bytes that are no names."""
    if not any(entry.path_bytes or entry.target_bytes for entry in manifest.entries):
        return manifest
    try:
        entries = tuple(sorted(map(_named, manifest.entries), key=lambda entry: entry.path))
    except (binascii.Error, ValueError) as error:
        raise msgspec.DecodeError(f"the manifest has a name that can't be one: {error}") from error
    return msgspec.structs.replace(manifest, entries=entries)


def _named(entry: ManifestEntry) -> ManifestEntry:
    return msgspec.structs.replace(
        entry,
        path=_name(entry.path_bytes) if entry.path_bytes else entry.path,
        target=_name(entry.target_bytes) if entry.target_bytes else entry.target,
        path_bytes="",
        target_bytes="",
    )


def _base64(name: str) -> str:
    return "" if is_utf8(name) else base64.b64encode(os.fsencode(name)).decode()


def _name(encoded: str) -> str:
    return os.fsdecode(base64.b64decode(encoded, validate=True))
