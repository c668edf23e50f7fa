"""What the executor keeps about the workspace in its state directory, outside of the workspace and never synced.

- `restored.json`: the marker, written durably as the last step of a restore; without it no sync runs.
- `last-manifest.json` and `last-sync.json`: the sync that the workspace was restored from, or the last one made since.
- `index.msgpack`: stat values and content hashes of files, so that unchanged ones need not be read. A cache.
"""

import hashlib
import os
from pathlib import Path

import msgspec

from domain.workspace.sync import Extents, SyncManifest, SyncRef
from infrastructure.durable_file import write_durably
from infrastructure.stored_workspaces.recorded_sync import decode_manifest


class RestoredWorkspace(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The marker of a completed restore. `template` maps every path that a template layer ever offered to the hash that
    was restored from it, "" where the session's own file was kept; `left_out` (read-only mount points) and `agent_data`
    (the agents' state) are relative to the workspace; `bytes` is the sum of file sizes."""

    generation: int
    session_id: str
    workspace_s3_prefix: str
    sync: SyncRef | None = None
    files: int = 0
    bytes: int = 0
    template: dict[str, str] = {}
    template_prefix: str = ""
    left_out: tuple[str, ...] = ()
    agent_data: str = ".agent_data"


class LastSync(msgspec.Struct, frozen=True, kw_only=True):
    """A sync with its manifest. `uncertain_since`, in seconds since the epoch: since when content that it names may be
    named by no recorded sync, so that it could be collected; 0: all of it is on record."""

    ref: SyncRef
    manifest: SyncManifest
    uncertain_since: float = 0.0


class FileRecord(msgspec.Struct, frozen=True, array_like=True):
    """A file's stat values when its content had `hash`; `hashed_at_ns` is the time before it was read, since the
    epoch. `extents`: of a sparse file."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    hashed_at_ns: int
    hash: str
    extents: Extents | None = None


class _SavedSync(msgspec.Struct, frozen=True, kw_only=True):
    ref: SyncRef
    uncertain_since: float = 0.0


_marker_decoder = msgspec.json.Decoder(RestoredWorkspace)
_index_decoder = msgspec.msgpack.Decoder(dict[bytes, FileRecord])


class WorkspaceState:
    """The files of one state directory. Calls block."""

    def __init__(self, state_dir: Path) -> None:
        self._marker = state_dir / "restored.json"
        self._last_sync = state_dir / "last-sync.json"
        self._last_manifest = state_dir / "last-manifest.json"
        self._index = state_dir / "index.msgpack"

    def restored(self) -> RestoredWorkspace | None:
        try:
            return _marker_decoder.decode(self._marker.read_bytes())
        except FileNotFoundError:
            return None

    def save_restored(self, marker: RestoredWorkspace) -> None:
        write_durably(self._marker, msgspec.json.encode(marker))

    def last_sync(self) -> LastSync | None:
        """None when there is none, or when the two files don't match (a crash between the two writes)."""
        try:
            saved = msgspec.json.decode(self._last_sync.read_bytes(), type=_SavedSync)
            body = self._last_manifest.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(body).hexdigest() != saved.ref.manifest_hash:
            return None
        return LastSync(ref=saved.ref, manifest=decode_manifest(body), uncertain_since=saved.uncertain_since)

    def save_last_sync(self, ref: SyncRef, manifest_body: bytes, *, uncertain_since: float = 0.0) -> None:
        write_durably(self._last_manifest, manifest_body)
        write_durably(self._last_sync, msgspec.json.encode(_SavedSync(ref=ref, uncertain_since=uncertain_since)))

    def index(self) -> dict[str, FileRecord]:
        try:
            found = _index_decoder.decode(self._index.read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return {}
        return {os.fsdecode(path): record for path, record in found.items()}

    def save_index(self, index: dict[str, FileRecord]) -> None:
        by_bytes = {os.fsencode(path): record for path, record in index.items()}  # names need not be UTF-8
        write_durably(self._index, msgspec.msgpack.encode(by_bytes))

    def forget(self) -> None:
        """Delete what is known of earlier syncs, before a restore starts over."""
        for path in (self._last_sync, self._last_manifest, self._index):
            path.unlink(missing_ok=True)
