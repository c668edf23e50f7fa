"""The runtime manifest: what an app wants of a workspace. An activation brings it; the session keeps it."""

from typing import Literal

import msgspec

from domain.errors import InvalidInput
from domain.identifiers import holds_what_is_a_users
from domain.workspace.paths import check_below_workspace, check_object_prefix, check_workspace_path

ConflictPolicy = Literal["keep_session", "prefer_registry", "merge"]
MountName = Literal["app_kb", "project_kb", "user_files", "agent_data"]


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    pass


class SeedFile(_Wire, frozen=True, kw_only=True):
    """Copy the workspace file `from_` to `to`, only where `to` is missing when `if_missing_only`."""

    from_: str = msgspec.field(name="from")
    to: str
    if_missing_only: bool = True


class MountPoint(_Wire, frozen=True, kw_only=True):
    """Another target path for the layer of this name. Files are copied there; nothing is mounted by Docker."""

    name: MountName
    target_path: str
    read_only: bool = False


class CleanupRule(_Wire, frozen=True, kw_only=True):
    action: Literal["remove_if_exists", "truncate_if_exists"]
    path: str


class RuntimeManifest(_Wire, frozen=True, kw_only=True):
    """As in the API. `workspace_template_prefix` is a key prefix of the object store; paths are absolute, below
    /workspace."""

    app_id: str
    runtime_version: str
    workspace_template_prefix: str
    required_paths: tuple[str, ...] = ()
    seed_files: tuple[SeedFile, ...] = ()
    mount_points: tuple[MountPoint, ...] = ()
    conflict_policy: ConflictPolicy = "keep_session"
    protected_paths: tuple[str, ...] = ()
    cleanup_rules: tuple[CleanupRule, ...] = ()


def check_manifest(
    manifest: RuntimeManifest, *, app_id: str, runtime_version: str | None, field: str = "manifest"
) -> RuntimeManifest:
    """The manifest with every path normalised. Raises InvalidInput with the field and the value."""
    if manifest.app_id != app_id:
        raise InvalidInput(f"{field}.appId", f"{manifest.app_id!r} is not the app of the request, {app_id!r}")
    check_runtime_version(runtime_version, manifest)
    names = [mount.name for mount in manifest.mount_points]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidInput(f"{field}.mountPoints[{index}].name", f"{name!r} is named twice")
    return msgspec.structs.replace(
        manifest,
        workspace_template_prefix=_template(f"{field}.workspaceTemplatePrefix", manifest.workspace_template_prefix),
        required_paths=_checked(f"{field}.requiredPaths", manifest.required_paths),
        protected_paths=_checked(f"{field}.protectedPaths", manifest.protected_paths),
        seed_files=tuple(
            msgspec.structs.replace(
                seed,
                from_=check_below_workspace(f"{field}.seedFiles[{i}].from", seed.from_),
                to=check_below_workspace(f"{field}.seedFiles[{i}].to", seed.to),
            )
            for i, seed in enumerate(manifest.seed_files)
        ),
        mount_points=tuple(
            msgspec.structs.replace(
                mount, target_path=check_below_workspace(f"{field}.mountPoints[{i}].targetPath", mount.target_path)
            )
            for i, mount in enumerate(manifest.mount_points)
        ),
        cleanup_rules=tuple(
            msgspec.structs.replace(rule, path=check_below_workspace(f"{field}.cleanupRules[{i}].path", rule.path))
            for i, rule in enumerate(manifest.cleanup_rules)
        ),
    )


def check_runtime_version(runtime_version: str | None, manifest: RuntimeManifest) -> None:
    """Raises InvalidInput if a request names another runtime version than the manifest that applies."""
    if runtime_version is not None and runtime_version != manifest.runtime_version:
        raise InvalidInput(
            "runtimeVersion", f"{runtime_version!r} does not equal the manifest's, {manifest.runtime_version!r}"
        )


def _template(field: str, prefix: str) -> str:
    """Raises InvalidInput also for a prefix from which a session would read what is another's."""
    checked = check_object_prefix(field, prefix)
    if holds_what_is_a_users(checked):
        message = f"{prefix!r} lies in or above the sessions or files of users; put templates elsewhere"
        raise InvalidInput(field, f"{message}, such as app/APP/templates/NAME")
    return checked


def _checked(field: str, paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(check_workspace_path(f"{field}[{i}]", path) for i, path in enumerate(paths))
