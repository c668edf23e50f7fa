"""Reads the layers of a restore plan: lists plain keys and loads the recorded sync, checked, without touching a
file."""

import hashlib

import msgspec

from domain.errors import InvalidInput
from domain.workspace.paths import KNOWLEDGE, check_workspace_path, is_under, relative
from domain.workspace.plan import LINK_AGENT_DATA, RestoreLayer, RestorePlan
from domain.workspace.sync import ManifestEntry, SyncManifest, SyncRef
from infrastructure.object_store.errors import ObjectMissing
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.workspace.confined import parts_of
from infrastructure.workspace.errors import RestoreFailed
from infrastructure.workspace.layering import Overlay, PlainObject, Planned, Session, ancestors
from infrastructure.workspace.object_layout import is_hash, is_ours
from infrastructure.workspace.state import LastSync, decode_manifest


class LoadedLayers(msgspec.Struct, frozen=True, kw_only=True):
    """`left_out` and `agent_data` are relative to the workspace. `manifest_body` are the bytes of the recorded sync."""

    template: dict[str, PlainObject]
    template_prefix: str
    session: Session
    overlays: tuple[Overlay, ...]
    last: LastSync | None
    manifest_body: bytes
    left_out: tuple[str, ...]
    agent_data: str


def load_layers(store: S3ObjectStore, plan: RestorePlan) -> LoadedLayers:
    """Raises RestoreFailed, InvalidInput, or what the object store raises."""
    template: dict[str, PlainObject] = {}
    template_prefix = ""
    session = Session()
    overlays: list[Overlay] = []
    left_out: list[str] = []
    agent_data = ".agent_data"
    last, body = None, b""
    if plan.session_sync is not None:
        last, body = load_recorded_sync(store, plan.session_sync)
        session = _session_of(last.manifest)
    for index, layer in enumerate(plan.layers):
        target = relative(check_workspace_path(f"plan.layers[{index}].to", layer.target))
        if layer.source == LINK_AGENT_DATA:
            agent_data = _not_the_root(index, target)
        elif layer.level == "L0":
            template.update(_plain_layer(store, layer, target))
            template_prefix = layer.source
        elif layer.level == "L1":
            if last is None:
                session = _plain_session(_plain_layer(store, layer, target))
        else:
            if layer.read_only:
                left_out.append(_not_the_root(index, target))
            synced = not layer.read_only and not is_under(layer.target, KNOWLEDGE)
            objects = _plain_layer(store, layer, target)
            overlays.append(Overlay(objects=objects, synced=synced, read_only=layer.read_only))
    return LoadedLayers(
        template=template,
        template_prefix=template_prefix,
        session=session,
        overlays=tuple(overlays),
        last=last,
        manifest_body=body,
        left_out=tuple(left_out),
        agent_data=agent_data,
    )


def load_recorded_sync(store: S3ObjectStore, ref: SyncRef) -> tuple[LastSync, bytes]:
    """The manifest that `ref` names, and its bytes. A recorded sync that can't be read is RestoreFailed, never
    nothing."""
    try:
        body = store.get(ref.manifest_key)
    except ObjectMissing as error:
        raise RestoreFailed(
            f"the session's recorded sync {ref.manifest_key!r} is not in the object store", "recorded_sync_missing"
        ) from error
    found = hashlib.sha256(body).hexdigest()
    if found != ref.manifest_hash:
        raise RestoreFailed(
            f"the session's recorded sync {ref.manifest_key!r} has the hash {found}, recorded was {ref.manifest_hash}",
            "recorded_sync_corrupt",
        )
    try:
        manifest = decode_manifest(body)
    except msgspec.DecodeError as error:
        raise RestoreFailed(
            f"the session's recorded sync {ref.manifest_key!r} is no manifest of this version: {error}",
            "recorded_sync_unreadable",
        ) from error
    if manifest.format_version != 1:
        raise RestoreFailed(
            f"the session's recorded sync {ref.manifest_key!r} has format {manifest.format_version}, "
            "this executor reads format 1",
            "recorded_sync_unreadable",
        )
    _check_entries(ref, manifest)
    return LastSync(ref=ref, manifest=manifest), body


def _check_entries(ref: SyncRef, manifest: SyncManifest) -> None:
    kinds: dict[str, str] = {}
    for entry in manifest.entries:
        try:
            fits = entry.path != "" and bool(parts_of(entry.path)) and entry.path not in kinds
        except InvalidInput:
            fits = False
        if entry.kind == "file":
            fits = fits and is_hash(entry.hash) and entry.size >= 0 and entry.offset >= 0
            fits = fits and (entry.pack == "" or is_hash(entry.pack))
        if entry.kind == "symlink":
            fits = fits and entry.target != "" and "\0" not in entry.target
        if not fits:
            raise RestoreFailed(
                f"the session's recorded sync {ref.manifest_key!r} has an impossible entry {entry.path!r}",
                "recorded_sync_unreadable",
            )
        kinds[entry.path] = entry.kind
    for path in kinds:
        for ancestor in ancestors(path):
            if kinds.get(ancestor, "dir") != "dir":
                raise RestoreFailed(
                    f"the session's recorded sync {ref.manifest_key!r} has {path!r} below {ancestor!r}, no folder",
                    "recorded_sync_unreadable",
                )


def _session_of(manifest: SyncManifest) -> Session:
    return Session(
        entries={entry.path: _planned(entry) for entry in manifest.entries},
        base=manifest.template,
        tombstones=frozenset(manifest.tombstones),
    )


def _planned(entry: ManifestEntry) -> Planned:
    return Planned(kind=entry.kind, size=entry.size, mode=entry.mode, target=entry.target, entry=entry)


def _plain_session(objects: dict[str, PlainObject]) -> Session:
    return Session(
        entries={
            path: Planned(kind="dir") if item.is_dir else Planned(kind="file", key=item.key, size=item.size)
            for path, item in objects.items()
        }
    )


def _plain_layer(store: S3ObjectStore, layer: RestoreLayer, target: str) -> dict[str, PlainObject]:
    objects: dict[str, PlainObject] = {}
    found_any = False
    for item in store.list_objects(layer.source):
        found_any = True
        below = item.key[len(layer.source) :]
        if below == "" or (layer.level == "L1" and is_ours(below)):
            continue
        is_dir = below.endswith("/")
        path = below.rstrip("/") if is_dir else below
        try:
            parts_of(path)
        except InvalidInput as error:
            raise RestoreFailed(f"the key {item.key!r} can't be a path in a workspace", "impossible_key") from error
        objects[f"{target}/{path}" if target else path] = PlainObject(key=item.key, size=item.size, is_dir=is_dir)
    if not found_any and not layer.optional:
        raise RestoreFailed(
            f"there is nothing under {layer.source!r}, from which the layer {layer.name} restores", "layer_missing"
        )
    return objects


def _not_the_root(index: int, target: str) -> str:
    if target == "":
        raise InvalidInput(f"plan.layers[{index}].to", "must lie below /workspace, not be /workspace itself")
    return target
