"""Every path is absolute, under /workspace, without `..`; every prefix is relative."""

import pytest

from domain.errors import InvalidInput
from domain.workspace.paths import check_below_workspace, check_object_prefix, check_workspace_path, is_under, relative


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/workspace", "/workspace"),
        ("/workspace/", "/workspace"),
        ("/workspace/a", "/workspace/a"),
        ("/workspace//a/./b/", "/workspace/a/b"),
        ("//workspace/a", "/workspace/a"),
        ("///workspace/a", "/workspace/a"),
        ("/workspace/..a/b..", "/workspace/..a/b.."),
        ("/workspace/ä ö\n", "/workspace/ä ö\n"),
    ],
)
def test_a_good_path_is_normalised(path, normal):
    assert check_workspace_path("p", path) == normal


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "must be absolute"),
        ("workspace/a", "must be absolute"),
        ("./workspace", "must be absolute"),
        ("/workspaceX", "must be under /workspace"),
        ("/workspaceX/a", "must be under /workspace"),
        ("/", "must be under /workspace"),
        ("//", "must be under /workspace"),
        ("/etc/passwd", "must be under /workspace"),
        ("/Workspace/a", "must be under /workspace"),
        ("/workspace/..", "must not contain '..'"),
        ("/workspace/a/../b", "must not contain '..'"),
        ("/etc/../workspace/a", "must not contain '..'"),
        ("/workspace/a\0b", "holds a NUL character"),
    ],
)
def test_a_bad_path_is_refused_by_field_and_value(path, why):
    with pytest.raises(InvalidInput) as refused:
        check_workspace_path("manifest.requiredPaths[2]", path)
    assert refused.value.field == "manifest.requiredPaths[2]"
    assert refused.value.message.startswith(repr(path))
    assert why in refused.value.message


@pytest.mark.parametrize("path", ["/workspace", "/workspace/", "/workspace/.", "//workspace"])
def test_the_workspace_itself_is_not_below_itself(path):
    with pytest.raises(InvalidInput, match="is the workspace itself"):
        check_below_workspace("p", path)


@pytest.mark.parametrize(("prefix", "normal"), [("a", "a/"), ("a/b/", "a/b/"), ("a//", "a/"), ("a..b/.c", "a..b/.c/")])
def test_a_good_prefix_gets_one_trailing_slash(prefix, normal):
    assert check_object_prefix("p", prefix) == normal


@pytest.mark.parametrize("prefix", ["", "/", "/a", "a//b", "../a", "a/../b", "a/.", "a\0"])
def test_a_bad_prefix_is_refused_by_field_and_value(prefix):
    with pytest.raises(InvalidInput) as refused:
        check_object_prefix("manifest.workspaceTemplatePrefix", prefix)
    assert refused.value.field == "manifest.workspaceTemplatePrefix"
    assert repr(prefix) in refused.value.message


def test_relative_paths_begin_at_the_root():
    assert relative("/workspace") == ""
    assert relative("/workspace/a/b") == "a/b"


def test_under_is_a_matter_of_whole_parts():
    assert is_under("/workspace", "/workspace")
    assert is_under("/workspace/a", "/workspace/")
    assert not is_under("/workspaceX", "/workspace")
    assert not is_under("/workspace", "/workspace/a")
