"""A runtime manifest is checked whole; what is wrong is named by field and value."""

from typing import Any

import msgspec
import pytest

from domain.errors import InvalidInput
from domain.workspace.manifest import RuntimeManifest, check_manifest

GOOD: dict[str, Any] = {
    "appId": "shop",
    "runtimeVersion": "1",
    "workspaceTemplatePrefix": "templates/shop",
    "requiredPaths": ["/workspace//a"],
    "seedFiles": [{"from": "/workspace/x/", "to": "/workspace/./y"}],
    "mountPoints": [{"name": "app_kb", "targetPath": "/workspace/kb/"}],
    "protectedPaths": ["/workspace/p/"],
    "cleanupRules": [{"action": "remove_if_exists", "path": "/workspace/tmp/"}],
}


def manifest(**changes: Any) -> RuntimeManifest:
    return msgspec.convert({**GOOD, **changes}, RuntimeManifest)


def check(changed: RuntimeManifest, runtime_version: str | None = None) -> RuntimeManifest:
    return check_manifest(changed, app_id="shop", runtime_version=runtime_version)


def test_a_good_one_comes_back_normalised():
    checked = check(manifest())
    assert checked.workspace_template_prefix == "templates/shop/"
    assert checked.required_paths == ("/workspace/a",)
    assert (checked.seed_files[0].from_, checked.seed_files[0].to) == ("/workspace/x", "/workspace/y")
    assert checked.mount_points[0].target_path == "/workspace/kb"
    assert checked.protected_paths == ("/workspace/p",)
    assert checked.cleanup_rules[0].path == "/workspace/tmp"
    assert check(checked) == checked


def test_what_it_leaves_out_has_the_defaults():
    bare = msgspec.convert({key: GOOD[key] for key in list(GOOD)[:3]}, RuntimeManifest)
    assert bare.conflict_policy == "keep_session"
    assert bare.required_paths == bare.seed_files == bare.mount_points == bare.cleanup_rules == ()
    assert manifest().seed_files[0].if_missing_only is True


OUTSIDE = "/workspaceX/a"
ROOT = "/workspace"


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"appId": "other"}, "manifest.appId", "other"),
        ({"workspaceTemplatePrefix": "/abs"}, "manifest.workspaceTemplatePrefix", "/abs"),
        ({"requiredPaths": ["/workspace", OUTSIDE]}, "manifest.requiredPaths[1]", OUTSIDE),
        ({"protectedPaths": ["/workspace/../etc"]}, "manifest.protectedPaths[0]", "/workspace/../etc"),
        ({"seedFiles": [{"from": OUTSIDE, "to": "/workspace/a"}]}, "manifest.seedFiles[0].from", OUTSIDE),
        ({"seedFiles": [{"from": "/workspace/a", "to": "a"}]}, "manifest.seedFiles[0].to", "a"),
        ({"seedFiles": [{"from": "/workspace/a", "to": ROOT}]}, "manifest.seedFiles[0].to", ROOT),
        ({"mountPoints": [{"name": "app_kb", "targetPath": OUTSIDE}]}, "manifest.mountPoints[0].targetPath", OUTSIDE),
        ({"mountPoints": [{"name": "app_kb", "targetPath": ROOT}]}, "manifest.mountPoints[0].targetPath", ROOT),
        (
            {"mountPoints": [{"name": "user_files", "targetPath": f"/workspace/{i}"} for i in range(2)]},
            "manifest.mountPoints[1].name",
            "user_files",
        ),
        ({"cleanupRules": [{"action": "remove_if_exists", "path": OUTSIDE}]}, "manifest.cleanupRules[0].path", OUTSIDE),
        ({"cleanupRules": [{"action": "truncate_if_exists", "path": ROOT}]}, "manifest.cleanupRules[0].path", ROOT),
    ],
)
def test_what_is_wrong_is_named_by_field_and_value(changes, field, value):
    with pytest.raises(InvalidInput) as refused:
        check(manifest(**changes))
    assert refused.value.field == field
    assert repr(value) in refused.value.message


SESSION = "app/shop/project/default/ann/session/s1/workspace"


@pytest.mark.parametrize(
    "prefix",
    [
        SESSION,
        f"{SESSION}/objects/",
        "app/shop/project/default/ann/session",
        "app/shop/project/default/ann/files/",
        "app/shop/project/default/ann",
        "app/shop/project/default",
        "app/other/project",
        "app/shop",
        "app/",
    ],
)
def test_a_template_that_holds_what_is_a_users_is_refused(prefix):
    with pytest.raises(InvalidInput, match="sessions or files of users") as refused:
        check(manifest(workspaceTemplatePrefix=prefix))
    assert refused.value.field == "manifest.workspaceTemplatePrefix"
    assert repr(prefix) in refused.value.message


@pytest.mark.parametrize(
    "prefix",
    ["app/shop/templates/web", "app/shop/kb/", "app/shop/project/default/kb", "app/shop/project/default/x/base", "t"],
)
def test_a_template_lies_anywhere_else(prefix):
    assert check(manifest(workspaceTemplatePrefix=prefix)).workspace_template_prefix == prefix.rstrip("/") + "/"


def test_the_runtime_version_must_be_the_manifest_s():
    with pytest.raises(InvalidInput) as refused:
        check(manifest(), runtime_version="2")
    assert refused.value.field == "runtimeVersion"
    assert refused.value.message == "'2' does not equal the manifest's, '1'"
    check(manifest(), runtime_version="1")


@pytest.mark.parametrize(
    "changes",
    [
        {"conflictPolicy": "theirs"},
        {"mountPoints": [{"name": "other_kb", "targetPath": "/workspace/a"}]},
        {"cleanupRules": [{"action": "remove", "path": "/workspace/a"}]},
        {"unknown": 1},
    ],
)
def test_unknown_words_do_not_even_decode(changes):
    with pytest.raises(msgspec.ValidationError):
        manifest(**changes)
