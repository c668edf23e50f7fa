"""The restore plan, step by step: which layer, seed and mount each manifest leads to."""

import pytest

from domain.workspace.manifest import CleanupRule, MountPoint, RuntimeManifest, SeedFile
from domain.workspace.plan import RestorePlan, build_restore_plan, missing_required_paths
from domain.workspace.sync import SyncRef

PREFIX = "app/shop/project/web/ann/session/s1/workspace"
SYNC = SyncRef(manifest_key=f"{PREFIX}/manifests/1-1-0.json", manifest_hash="0" * 64)


def manifest(**changes) -> RuntimeManifest:
    return RuntimeManifest(app_id="shop", runtime_version="7", workspace_template_prefix="templates/shop/", **changes)


def plan(of: RuntimeManifest | None = None, sync: SyncRef | None = None) -> RestorePlan:
    return build_restore_plan(
        app_id="shop",
        project_name="web",
        user_login_name="ann",
        session_prefix=PREFIX,
        manifest=of,
        session_sync=sync,
    )


def rows(of: RestorePlan):
    return [(layer.level, layer.name, layer.source, layer.target, layer.optional) for layer in of.layers]


TABLE = [
    ("L0", "registry_base", "templates/shop/", "/workspace", False),
    ("L1", "session_overlay", f"{PREFIX}/", "/workspace", True),
    ("L2", "knowledge_overlay", "app/shop/kb/", "/workspace/.kb/app", True),
    ("L2", "knowledge_overlay", "app/shop/project/web/kb/", "/workspace/.kb/project", True),
    ("L3", "user_overlay", "app/shop/project/web/ann/files/", "/workspace/.user-files", True),
    ("L4", "runtime_fixups", "runtime://link-agent-data", "/workspace/.agent_data", False),
]


def test_has_all_layers_in_order():
    assert rows(plan(manifest())) == TABLE


def test_without_a_manifest_has_no_template_and_all_the_rest():
    assert rows(plan()) == TABLE[1:]


@pytest.mark.parametrize(("name", "row"), [("app_kb", 2), ("project_kb", 3), ("user_files", 4), ("agent_data", 5)])
def test_a_mount_point_moves_its_own_layer_s_target(name, row):
    moved = rows(plan(manifest(mount_points=(MountPoint(name=name, target_path="/workspace/moved"),))))
    expected = list(TABLE)
    level, layer, source, _, optional = TABLE[row]
    expected[row] = (level, layer, source, "/workspace/moved", optional)
    assert moved == expected


def test_a_mount_point_may_make_its_layer_read_only():
    layers = plan(
        manifest(mount_points=(MountPoint(name="app_kb", target_path="/workspace/kb", read_only=True),))
    ).layers
    assert [layer.target for layer in layers if layer.read_only] == ["/workspace/kb"]


def test_carries_what_the_manifest_wants_and_the_last_recorded_sync():
    wanted = manifest(
        conflict_policy="merge",
        protected_paths=("/workspace/p",),
        cleanup_rules=(CleanupRule(action="remove_if_exists", path="/workspace/tmp"),),
        seed_files=(SeedFile(from_="/workspace/a", to="/workspace/b"),),
        required_paths=("/workspace/b",),
    )
    made = plan(wanted, SYNC)
    assert made.session_sync == SYNC
    for field in ("conflict_policy", "protected_paths", "cleanup_rules", "seed_files", "required_paths"):
        assert getattr(made, field) == getattr(wanted, field)
    assert made.runtime_version == "7"


class TestMissingRequiredPaths:
    PLAN = plan(
        manifest(
            required_paths=("/workspace/src", "/workspace/a.txt", "/workspace/conf"),
            seed_files=(SeedFile(from_="/workspace/x", to="/workspace/conf/app.toml"),),
        )
    )

    def test_are_named_in_order(self):
        assert missing_required_paths(self.PLAN, frozenset()) == ("/workspace/src", "/workspace/a.txt")

    def test_are_there_themselves_or_by_what_is_below_them(self):
        assert missing_required_paths(self.PLAN, frozenset({"/workspace/src/m.py", "/workspace/a.txt"})) == ()

    def test_are_not_there_by_a_similar_name(self):
        existing = frozenset({"/workspace/srcX/m.py", "/workspace/a.txt.bak"})
        assert missing_required_paths(self.PLAN, existing) == ("/workspace/src", "/workspace/a.txt")
