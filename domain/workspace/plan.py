"""The restore plan: the layers that a new container's workspace is filled from, in order. The log keeps each plan."""

from typing import Literal

import msgspec

from domain.workspace.manifest import CleanupRule, ConflictPolicy, RuntimeManifest, SeedFile
from domain.workspace.paths import AGENT_DATA, KNOWLEDGE, USER_FILES, WORKSPACE, is_under
from domain.workspace.sync import SyncRef

LayerName = Literal["registry_base", "session_overlay", "knowledge_overlay", "user_overlay", "runtime_fixups"]
LINK_AGENT_DATA = "runtime://link-agent-data"


class RestoreLayer(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Copy everything under `source` (a key prefix with a trailing slash, or a runtime:// step) to `target`."""

    level: Literal["L0", "L1", "L2", "L3", "L4"]
    name: LayerName
    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    optional: bool = False
    read_only: bool = False


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`session_sync`: the session's last recorded sync, which layer L1 restores; without one, L1 copies the objects
    under its prefix as they are."""

    layers: tuple[RestoreLayer, ...]
    conflict_policy: ConflictPolicy = "keep_session"
    protected_paths: tuple[str, ...] = ()
    cleanup_rules: tuple[CleanupRule, ...] = ()
    seed_files: tuple[SeedFile, ...] = ()
    required_paths: tuple[str, ...] = ()
    session_sync: SyncRef | None = None
    runtime_version: str = ""


def build_restore_plan(
    *,
    app_id: str,
    project_name: str,
    user_login_name: str,
    session_prefix: str,
    manifest: RuntimeManifest | None,
    session_sync: SyncRef | None,
) -> RestorePlan:
    """The plan of one session. Without a manifest it has no template layer, and the defaults for the rest."""
    moved = {mount.name: mount for mount in manifest.mount_points} if manifest else {}

    def knowledge(mount: str, source: str, target: str) -> RestoreLayer:
        point = moved.get(mount)  # type: ignore[call-overload]
        return RestoreLayer(
            level="L3" if mount == "user_files" else "L2",
            name="user_overlay" if mount == "user_files" else "knowledge_overlay",
            source=source,
            target=point.target_path if point else target,
            optional=True,
            read_only=point.read_only if point else False,
        )

    layers: list[RestoreLayer] = []
    if manifest is not None:
        layers.append(
            RestoreLayer(level="L0", name="registry_base", source=manifest.workspace_template_prefix, target=WORKSPACE)
        )
    layers += [
        RestoreLayer(level="L1", name="session_overlay", source=f"{session_prefix}/", target=WORKSPACE, optional=True),
        knowledge("app_kb", f"app/{app_id}/kb/", f"{KNOWLEDGE}/app"),
        knowledge("project_kb", f"app/{app_id}/project/{project_name}/kb/", f"{KNOWLEDGE}/project"),
        knowledge("user_files", f"app/{app_id}/project/{project_name}/{user_login_name}/files/", USER_FILES),
        RestoreLayer(
            level="L4",
            name="runtime_fixups",
            source=LINK_AGENT_DATA,
            target=moved["agent_data"].target_path if "agent_data" in moved else AGENT_DATA,
        ),
    ]
    return RestorePlan(
        layers=tuple(layers),
        conflict_policy=manifest.conflict_policy if manifest else "keep_session",
        protected_paths=manifest.protected_paths if manifest else (),
        cleanup_rules=manifest.cleanup_rules if manifest else (),
        seed_files=manifest.seed_files if manifest else (),
        required_paths=manifest.required_paths if manifest else (),
        session_sync=session_sync,
        runtime_version=manifest.runtime_version if manifest else "",
    )


def missing_required_paths(plan: RestorePlan, existing_paths: frozenset[str]) -> tuple[str, ...]:
    """The required paths at and below which nothing exists and no seed file goes."""
    existing = existing_paths | {seed.to for seed in plan.seed_files}
    return tuple(path for path in plan.required_paths if not any(is_under(known, path) for known in existing))
