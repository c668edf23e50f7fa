"""Reads the layers of a restore plan from the object store: lists plain keys, loads and checks the recorded sync."""

import msgspec

from application.ports.object_store import ObjectStore
from domain.errors import InvalidInput, StoredWorkspaceUnreadable
from domain.workspace.paths import KNOWLEDGE, check_workspace_path, is_under, parts_of, relative
from domain.workspace.plan import LINK_AGENT_DATA, RestoreLayer, RestorePlan
from domain.workspace.sync import ManifestEntry, SyncManifest
from infrastructure.executor.workspace.layering import Overlay, PlainObject, PlannedPath, SessionLayer
from infrastructure.executor.workspace.state import LastSync
from infrastructure.stored_workspaces.object_layout import is_ours
from infrastructure.stored_workspaces.recorded_sync import load_recorded_sync


class LoadedLayers(msgspec.Struct, frozen=True, kw_only=True):
    """`last` is the recorded sync that the plan names, `manifest_body` the bytes of its manifest. `left_out` (read-only
    mount points) and `agent_data` are relative to the workspace."""

    template: dict[str, PlainObject]
    template_prefix: str
    session: SessionLayer
    overlays: tuple[Overlay, ...]
    last: LastSync | None
    manifest_body: bytes
    left_out: tuple[str, ...]
    agent_data: str


def load_layers(store: ObjectStore, plan: RestorePlan) -> LoadedLayers:
    """Raises StoredWorkspaceUnreadable, InvalidInput, or what the object store raises."""
    template: dict[str, PlainObject] = {}
    template_prefix = ""
    session = SessionLayer()
    overlays: list[Overlay] = []
    left_out: list[str] = []
    agent_data = ".agent_data"
    last, body = None, b""
    if plan.session_sync is not None:
        manifest, body = load_recorded_sync(store, plan.session_sync)
        last = LastSync(ref=plan.session_sync, manifest=manifest)
        session = _session_of(manifest)
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


def _session_of(manifest: SyncManifest) -> SessionLayer:
    return SessionLayer(
        entries={entry.path: _planned(entry) for entry in manifest.entries},
        base=manifest.template,
        tombstones=frozenset(manifest.tombstones),
    )


def _planned(entry: ManifestEntry) -> PlannedPath:
    return PlannedPath(kind=entry.kind, size=entry.size, mode=entry.mode, target=entry.target, entry=entry)


def _plain_session(objects: dict[str, PlainObject]) -> SessionLayer:
    return SessionLayer(
        entries={
            path: PlannedPath(kind="dir") if item.is_dir else PlannedPath(kind="file", key=item.key, size=item.size)
            for path, item in objects.items()
        }
    )


def _plain_layer(store: ObjectStore, layer: RestoreLayer, target: str) -> dict[str, PlainObject]:
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
            raise StoredWorkspaceUnreadable(
                f"the key {item.key!r} can't be a path in a workspace", "impossible_key"
            ) from error
        objects[f"{target}/{path}" if target else path] = PlainObject(key=item.key, size=item.size, is_dir=is_dir)
    if not found_any and not layer.optional:
        raise StoredWorkspaceUnreadable(
            f"there is nothing under {layer.source!r}, from which the layer {layer.name} restores", "layer_missing"
        )
    return objects


def _not_the_root(index: int, target: str) -> str:
    if target == "":
        raise InvalidInput(f"plan.layers[{index}].to", "must lie below /workspace, not be /workspace itself")
    return target
