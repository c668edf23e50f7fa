"""What of the object store a session worker may use."""

import msgspec
import pytest

from domain.workspace.manifest import RuntimeManifest
from domain.workspace.plan import build_restore_plan
from domain.workspace.storage import StorageScope, storage_scope

PREFIX = "app/shop/project/default/ann/session/s1/workspace"
MANIFEST = RuntimeManifest(app_id="shop", runtime_version="1", workspace_template_prefix="templates/shop/")
PLAN = build_restore_plan(
    app_id="shop",
    project_name="default",
    user_login_name="ann",
    session_prefix=PREFIX,
    manifest=MANIFEST,
    session_sync=None,
)
SCOPE = storage_scope(PREFIX, PLAN)


def test_it_is_the_session_s_own_prefix_and_the_layers_of_its_plan():
    assert SCOPE.own == f"{PREFIX}/"
    assert SCOPE.layers == (
        "templates/shop/",
        "app/shop/kb/",
        "app/shop/project/default/kb/",
        "app/shop/project/default/ann/files/",
    )
    without = storage_scope(PREFIX, msgspec.structs.replace(PLAN, layers=PLAN.layers[1:2]))
    assert without == StorageScope(own=f"{PREFIX}/")


@pytest.mark.parametrize("key", [f"{PREFIX}/objects/ab/abc", f"{PREFIX}/a b/ü..x", f"{PREFIX}//x"])
def test_its_own_is_read_and_written(key):
    assert SCOPE.may_read(key)
    assert SCOPE.may_write(key)


@pytest.mark.parametrize("key", ["templates/shop/a", "app/shop/kb/x", "app/shop/project/default/ann/files/f"])
def test_its_layers_are_read_alone(key):
    assert SCOPE.may_read(key)
    assert not SCOPE.may_write(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "app/",
        PREFIX,
        f"{PREFIX}2/x",
        PREFIX.replace("s1", "s2") + "/x",
        "app/shop/project/default/ann/session/",
        "app/shop/project/default/bob/files/f",
        "templates/shop2/a",
        f"{PREFIX}/../../s2/workspace/x",
        f"{PREFIX}/./x",
        "templates/shop/../x",
        f"{PREFIX}/" + "x" * 1024,
    ],
)
def test_nothing_else_is_whatever_a_store_makes_of_the_key(key):
    assert not SCOPE.may_read(key)
    assert not SCOPE.may_write(key)
