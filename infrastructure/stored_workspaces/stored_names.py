"""Encodes file names that are not UTF-8 for a manifest, and decodes them.

In memory a path is what os.fsdecode makes of the file system's bytes: surrogates stand for bytes that are not UTF-8.
JSON can't hold these: such an entry is stored with a readable `path` and the exact bytes in base64 (`path_bytes`).
"""

import base64
import binascii
import os

import msgspec

from domain.workspace.sync import ManifestEntry, SyncManifest


def storable(entry: ManifestEntry) -> ManifestEntry:
    """The entry with names that JSON can hold."""
    if is_utf8(entry.path) and is_utf8(entry.target):
        return entry
    return msgspec.structs.replace(
        entry,
        path=printable(entry.path),
        target=printable(entry.target),
        path_bytes=_base64(entry.path),
        target_bytes=_base64(entry.target),
    )


def with_decoded_names(manifest: SyncManifest) -> SyncManifest:
    """The manifest with file names as os.fsdecode gives them. Raises msgspec.DecodeError for invalid base64."""
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


def is_utf8(name: str) -> bool:
    """Whether a name holds no surrogates, so that its bytes were valid UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(path: str) -> str:
    """The path with backslash escapes for bytes that are not UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()
