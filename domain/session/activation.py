"""Activation: bringing up the worker of a session, whatever state it is in."""

from collections.abc import Sequence

from msgspec.structs import replace

from domain.errors import Conflict, IdentityConflict
from domain.event import Event
from domain.identifiers import DEFAULT_PROJECT, check_id, check_new_id, workspace_prefix
from domain.session import events as e
from domain.session.commands import ActivateSession
from domain.session.state import (
    Activating,
    Deleted,
    PendingRemove,
    Removing,
    Running,
    SessionWorker,
    Stopped,
    Stopping,
)
from domain.workspace.manifest import RuntimeManifest, check_manifest, check_runtime_version
from domain.workspace.plan import build_restore_plan


def activate(state: SessionWorker | None, command: ActivateSession) -> Sequence[Event]:
    """Create or start the worker, record activity of a running one, or request reactivation of one that is going
    down."""
    if not command.project_name:
        command = replace(command, project_name=DEFAULT_PROJECT)
    if state is not None:
        _check_identity(state, command)
        _check_has_files(state)
    manifest = _checked_manifest(state, command)
    if state is None:
        return (_first_activation(command, manifest),)
    return _bring_up(state, manifest)


def _bring_up(state: SessionWorker, manifest: RuntimeManifest | None) -> Sequence[Event]:
    match state.lifecycle:
        case Deleted():
            return (request_activation(state, "create", state.generation + 1, manifest),)
        case Stopped(remove=None):
            return (request_activation(state, "start", state.generation, manifest),)
        case Stopped(remove=PendingRemove()):
            # The container may be running in maintenance: it is stopped first, then the worker is activated again.
            return (
                e.RemoveCanceled(generation=state.generation, reason="activated", in_maintenance=True),
                e.ReactivationRequested(generation=state.generation, manifest=manifest),
            )
        case Stopping(reactivation=None) | Removing(reactivation=None):
            return (e.ReactivationRequested(generation=state.generation, manifest=manifest),)
        case Running(stop=stop):
            touched = e.SessionTouched(generation=state.generation, manifest=manifest)
            if stop is not None:
                return (e.StopCanceled(generation=state.generation, reason="activated"), touched)
            return (touched,)
        case Activating() | Stopping() | Removing() if manifest is not None:
            return (e.SessionTouched(generation=state.generation, manifest=manifest),)
        case _:
            return ()


def request_activation(
    state: SessionWorker, kind: e.ActivationKind, generation: int, manifest: RuntimeManifest | None
) -> e.ActivationRequested:
    """The request for a known session. Without a manifest, the session's last one applies."""
    manifest = manifest or state.manifest
    return e.ActivationRequested(
        generation=generation,
        kind=kind,
        app_id=state.app_id,
        project_name=state.project_name,
        user_login_name=state.user_login_name,
        workspace_prefix=state.workspace_prefix,
        manifest=manifest,
        plan=build_restore_plan(
            app_id=state.app_id,
            project_name=state.project_name,
            user_login_name=state.user_login_name,
            session_prefix=state.workspace_prefix,
            manifest=manifest,
            session_sync=state.last_sync,
        ),
    )


def _first_activation(command: ActivateSession, manifest: RuntimeManifest | None) -> e.ActivationRequested:
    check_new_id("sessionId", command.session_id)
    check_id("appId", command.app_id)
    check_id("projectName", command.project_name)
    check_new_id("userLoginName", command.user_login_name)
    prefix = workspace_prefix(command.app_id, command.project_name, command.user_login_name, command.session_id)
    return e.ActivationRequested(
        generation=1,
        kind="create",
        app_id=command.app_id,
        project_name=command.project_name,
        user_login_name=command.user_login_name,
        workspace_prefix=prefix,
        manifest=manifest,
        plan=build_restore_plan(
            app_id=command.app_id,
            project_name=command.project_name,
            user_login_name=command.user_login_name,
            session_prefix=prefix,
            manifest=manifest,
            session_sync=None,
        ),
    )


def _checked_manifest(state: SessionWorker | None, command: ActivateSession) -> RuntimeManifest | None:
    """The command's manifest, checked. If it has none, its `runtime_version` is checked against the session's
    manifest."""
    if command.manifest is None:
        if state is not None and state.manifest is not None:
            check_runtime_version(command.runtime_version, state.manifest)
        return None
    return check_manifest(command.manifest, app_id=command.app_id, runtime_version=command.runtime_version)


def _check_has_files(state: SessionWorker) -> None:
    """Raises Conflict for a fork whose files could not be copied: it must not come up empty."""
    if state.fork is not None and state.fork.content == "failed":
        raise Conflict(
            f"the files of this fork could not be copied ({state.fork.error}); fork again into a new session",
            "fork_failed",
        )


def _check_identity(state: SessionWorker, command: ActivateSession) -> None:
    for field, known, given in (
        ("appId", state.app_id, command.app_id),
        ("projectName", state.project_name, command.project_name),
        ("userLoginName", state.user_login_name, command.user_login_name),
    ):
        if known != given:
            raise IdentityConflict(f"{field}: this session belongs to {known!r}, not to {given!r}")
