"""Carries out a restore plan: reads all layers, empties the folder, writes the files, and last the durable marker."""

from concurrent.futures import ThreadPoolExecutor

import msgspec

from application.executor_protocol import RestoreRequest, RestoreResult
from application.ports.object_store import ObjectStore
from application.ports.provider_descriptions import CliFiles
from domain.workspace.paths import check_workspace_path, relative
from infrastructure.durable_file import flush_filesystem
from infrastructure.executor.workspace.agent_home import AgentHome
from infrastructure.executor.workspace.confined import ConfinedTree
from infrastructure.executor.workspace.errors import OtherGeneration
from infrastructure.executor.workspace.fetch import FetchedFile, fetch_files
from infrastructure.executor.workspace.fixups import clean_up, place_seeds, set_folder_attributes
from infrastructure.executor.workspace.layering import PlannedPath, lay_out
from infrastructure.executor.workspace.layers import LoadedLayers, load_layers
from infrastructure.executor.workspace.sqlite_copy import SqliteCopier
from infrastructure.executor.workspace.state import RestoredWorkspace, WorkspaceState


class WorkspaceParts(msgspec.Struct, frozen=True, kw_only=True):
    """What restores and syncs share."""

    tree: ConfinedTree
    state: WorkspaceState
    store: ObjectStore
    transfers: ThreadPoolExecutor
    home: AgentHome
    cli_files: CliFiles
    databases: SqliteCopier


def restore_workspace(parts: WorkspaceParts, request: RestoreRequest) -> RestoreResult:
    """Make the workspace what the plan says; blocks. A generation that was restored before is left as it is.

    No file is touched before all layers are listed and the recorded sync is read. Raises StoredWorkspaceUnreadable,
    OtherGeneration, InvalidInput, or what the object store raises; then there is no marker and the next call starts
    over.
    """
    marker = parts.state.restored()
    if marker is not None:
        if marker.generation != request.generation:
            raise OtherGeneration(
                f"this folder holds the workspace of generation {marker.generation}; "
                f"generation {request.generation} needs a folder of its own"
            )
        return RestoreResult(files=marker.files, bytes=marker.bytes, already=True, sync=marker.sync)
    plan = request.plan
    protected = tuple(
        relative(check_workspace_path(f"plan.protectedPaths[{i}]", path)) for i, path in enumerate(plan.protected_paths)
    )
    layers = load_layers(parts.store, plan)
    planned = lay_out(
        template=layers.template,
        session=layers.session,
        overlays=layers.overlays,
        policy=plan.conflict_policy,
        protected=protected,
    )
    parts.state.forget()
    parts.tree.wipe()
    clean_up(parts.tree, plan.cleanup_rules, protected)
    fetched = _write(parts, request.workspace_s3_prefix, planned)
    parts.home.link(parts.tree, layers.agent_data)
    clean_up(parts.tree, plan.cleanup_rules, protected)
    place_seeds(parts.tree, plan.seed_files, protected)
    set_folder_attributes(parts.tree, planned)
    return _mark(parts, request, layers, fetched)


def _write(parts: WorkspaceParts, prefix: str, planned: dict[str, PlannedPath]) -> list[FetchedFile]:
    for path in sorted(path for path, item in planned.items() if item.kind == "dir"):
        with parts.tree.ensure_directory(path, replace=True):
            pass
    files = {path: item for path, item in planned.items() if item.kind == "file"}
    fetched = fetch_files(parts.store, parts.transfers, parts.tree, prefix, files)
    for path, item in planned.items():
        if item.kind == "symlink":
            parts.tree.write_link(path, item.target)
            if item.entry is not None and item.entry.mtime_ns is not None:
                parts.tree.set_mtime(path, item.entry.mtime_ns)
    return fetched


def _mark(
    parts: WorkspaceParts, request: RestoreRequest, layers: LoadedLayers, fetched: list[FetchedFile]
) -> RestoreResult:
    template = dict(layers.session.base)
    for path in layers.template:
        template.setdefault(path, "")
    for file in fetched:
        if file.recorded:
            template[file.path] = file.record.hash
    marker = RestoredWorkspace(
        generation=request.generation,
        session_id=request.session_id,
        workspace_s3_prefix=request.workspace_s3_prefix,
        sync=layers.last.ref if layers.last is not None else None,
        files=len(fetched),
        bytes=sum(file.record.size for file in fetched),
        template=template,
        template_prefix=layers.template_prefix,
        left_out=layers.left_out,
        agent_data=layers.agent_data,
    )
    parts.state.save_index({file.path: file.record for file in fetched})
    if layers.last is not None:
        parts.state.save_last_sync(layers.last.ref, layers.manifest_body)
    # After a crash, a marker without its files would let a sync record them as deleted.
    flush_filesystem(parts.tree.fileno())
    parts.state.save_restored(marker)
    return RestoreResult(files=marker.files, bytes=marker.bytes, sync=marker.sync)
