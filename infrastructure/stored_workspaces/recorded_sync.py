"""Reads the manifest of a recorded sync and checks it."""

import hashlib

import msgspec

from application.ports.object_store import ObjectMissing, ObjectStore
from domain.errors import InvalidInput, StoredWorkspaceUnreadable
from domain.workspace.paths import ancestors, parts_of
from domain.workspace.sync import FORMAT, FORMAT_WITH_EXTENTS, MAX_MANIFEST_BYTES, ManifestEntry, SyncManifest, SyncRef
from infrastructure.stored_workspaces.object_layout import is_hash
from infrastructure.stored_workspaces.stored_names import with_decoded_names

_FARTHEST_NS = 2**63 - 1
"""Of modification times, before and after the epoch: the years 1677 to 2262."""
_manifest_decoder = msgspec.json.Decoder(SyncManifest)


def load_recorded_sync(store: ObjectStore, ref: SyncRef) -> tuple[SyncManifest, bytes]:
    """The manifest that `ref` names, and its bytes. Raises StoredWorkspaceUnreadable when it is missing or not
    valid, and what the object store raises. Blocks."""
    try:
        body = store.get(ref.manifest_key, length=MAX_MANIFEST_BYTES + 1)
    except ObjectMissing as error:
        raise StoredWorkspaceUnreadable(
            f"the session's recorded sync {ref.manifest_key!r} is not in the object store", "recorded_sync_missing"
        ) from error
    if len(body) > MAX_MANIFEST_BYTES:
        raise StoredWorkspaceUnreadable(
            f"the session's recorded sync {ref.manifest_key!r} has more than {MAX_MANIFEST_BYTES:,} bytes",
            "recorded_sync_unreadable",
        )
    found = hashlib.sha256(body).hexdigest()
    if found != ref.manifest_hash:
        raise StoredWorkspaceUnreadable(
            f"the session's recorded sync {ref.manifest_key!r} has the hash {found}, recorded was {ref.manifest_hash}",
            "recorded_sync_corrupt",
        )
    try:
        manifest = decode_manifest(body)
    except msgspec.DecodeError as error:
        raise StoredWorkspaceUnreadable(
            f"the session's recorded sync {ref.manifest_key!r} is no manifest of this version: {error}",
            "recorded_sync_unreadable",
        ) from error
    if manifest.format_version not in {FORMAT, FORMAT_WITH_EXTENTS}:
        raise StoredWorkspaceUnreadable(
            f"the session's recorded sync {ref.manifest_key!r} has format {manifest.format_version}, "
            f"this version reads formats up to {FORMAT_WITH_EXTENTS}",
            "recorded_sync_unreadable",
        )
    _check_entries(ref, manifest)
    return manifest, body


def _check_entries(ref: SyncRef, manifest: SyncManifest) -> None:
    kinds: dict[str, str] = {}
    for entry in manifest.entries:
        try:
            fits = entry.path != "" and bool(parts_of(entry.path)) and entry.path not in kinds
        except InvalidInput:
            fits = False
        if entry.kind == "file":
            fits = fits and is_hash(entry.hash) and entry.size >= 0 and entry.offset >= 0
            fits = fits and (entry.pack == "" or is_hash(entry.pack)) and _extents_fit(entry)
        fits = fits and abs(entry.mtime_ns or 0) <= _FARTHEST_NS
        if entry.kind == "symlink":
            fits = fits and entry.target != "" and "\0" not in entry.target
        if not fits:
            raise StoredWorkspaceUnreadable(
                f"the session's recorded sync {ref.manifest_key!r} has an impossible entry {entry.path!r}",
                "recorded_sync_unreadable",
            )
        kinds[entry.path] = entry.kind
    for path in kinds:
        for ancestor in ancestors(path):
            if kinds.get(ancestor, "dir") != "dir":
                raise StoredWorkspaceUnreadable(
                    f"the session's recorded sync {ref.manifest_key!r} has {path!r} below {ancestor!r}, no folder",
                    "recorded_sync_unreadable",
                )


def _extents_fit(entry: ManifestEntry) -> bool:
    """Whether the data of a sparse file lies in the file, in order, and in an object of its own."""
    if entry.extents is None:
        return True
    end = 0
    for offset, length in entry.extents:
        if offset < end or length <= 0:
            return False
        end = offset + length
    return end <= entry.size and entry.pack == "" and entry.offset == 0


def decode_manifest(body: bytes) -> SyncManifest:
    """The manifest with file names as os.fsdecode gives them. Raises msgspec.DecodeError when the bytes are none."""
    return with_decoded_names(_manifest_decoder.decode(body))
