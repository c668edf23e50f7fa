"""A preview of a workspace's restore plan; nothing is started."""

import msgspec

from domain.errors import NotFound
from domain.identifiers import DEFAULT_PROJECT, check_id, workspace_prefix
from domain.workspace.manifest import RuntimeManifest, check_manifest
from domain.workspace.paths import check_workspace_path
from domain.workspace.plan import build_restore_plan, missing_required_paths
from domain.workspace.sync import SyncRef
from interfaces.http.compatibility import views as shown
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import Query
from interfaces.http.edge.stored_values import check_manifest_size
from interfaces.http.resources.views import AnswerBody
from interfaces.http_conventions.problems import Problem


class RestorePlanBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`existingPaths`: if given, each required path must equal one of these paths or be a parent of one."""

    session_id: str
    app_id: str
    user_login_name: str
    project_name: str = ""
    runtime_version: str | None = None
    manifest: RuntimeManifest | None = None
    existing_paths: tuple[str, ...] | None = None


class Planned(AnswerBody, frozen=True, kw_only=True):
    """`plan.sessionSync`: the session's last recorded sync, from which layer L1 is restored; absent if it has none."""

    ok: bool
    plan: shown.RestorePlan
    position: int


async def restore_plan(call: ApiCall[RestorePlanBody, Query]) -> JsonAnswer:
    body = call.body
    project = body.project_name or DEFAULT_PROJECT
    for field, value in (
        ("sessionId", body.session_id),
        ("appId", body.app_id),
        ("projectName", project),
        ("userLoginName", body.user_login_name),
    ):
        check_id(field, value)
    check_manifest_size(body.manifest)
    manifest = body.manifest
    if manifest is not None:
        manifest = check_manifest(manifest, app_id=body.app_id, runtime_version=body.runtime_version)
    existing = frozenset(
        check_workspace_path(f"existingPaths[{i}]", path) for i, path in enumerate(body.existing_paths or ())
    )
    plan = build_restore_plan(
        app_id=body.app_id,
        project_name=project,
        user_login_name=body.user_login_name,
        session_prefix=workspace_prefix(body.app_id, project, body.user_login_name, body.session_id),
        manifest=manifest,
        session_sync=await _last_sync(call),
    )
    missing = missing_required_paths(plan, existing) if body.existing_paths is not None else ()
    if missing:
        raise Problem(
            422,
            "required-paths-missing",
            "Required paths are missing",
            f"required paths are missing: {', '.join(missing)}",
            extra={
                "ok": False,
                "reason": "required_paths_missing",
                "missingRequiredPaths": missing,
                "plan": shown.restore_plan(plan),
            },
        )
    return JsonAnswer(Planned(ok=True, plan=shown.restore_plan(plan), position=await call.deps.store.last_position()))


async def _last_sync(call: ApiCall[RestorePlanBody, Query]) -> SyncRef | None:
    try:
        loaded = await call.deps.sessions.get(call.body.session_id)
    except NotFound:
        return None
    return loaded.state.last_sync if loaded.state else None


ENDPOINTS = (
    Endpoint(
        name="planRestore",
        method="POST",
        path="/api/runs/restore-plan",
        handler=restore_plan,
        tag="runs",
        summary="Preview the restore plan of a workspace",
        body=RestorePlanBody,
        answers={200: Planned},
        errors=(422,),
        example=Example(
            body={
                "sessionId": "s1",
                "appId": "shop",
                "userLoginName": "ada",
                "manifest": {
                    "appId": "shop",
                    "runtimeVersion": "2026.3",
                    "workspaceTemplatePrefix": "app/shop/templates/node",
                    "requiredPaths": ["/workspace/package.json"],
                },
                "existingPaths": ["/workspace/package.json"],
            }
        ),
    ),
)
