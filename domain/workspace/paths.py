"""Paths inside a workspace. Plans and manifests speak of `/workspace/...` whatever folder it really is."""

import posixpath

from domain.errors import InvalidInput

WORKSPACE = "/workspace"
AGENT_DATA = "/workspace/.agent_data"
KNOWLEDGE = "/workspace/.kb"
USER_FILES = "/workspace/.user-files"
AGENT_HOMES = {".codex": "codex", ".claude": "claude", ".opencode": "opencode"}
CREDENTIAL_FILES = ("auth.json", ".credentials.json")


def check_workspace_path(field: str, path: str) -> str:
    """The normalised path, when it is absolute, at or below /workspace, and free of `..`; else InvalidInput."""
    if "\0" in path:
        raise InvalidInput(field, f"{path!r} holds a NUL character")
    if not path.startswith("/"):
        raise InvalidInput(field, f"{path!r} must be absolute and under {WORKSPACE}")
    if ".." in path.split("/"):
        raise InvalidInput(field, f"{path!r} must not contain '..'")
    normal = posixpath.normpath("/" + path.lstrip("/"))
    if normal != WORKSPACE and not normal.startswith(WORKSPACE + "/"):
        raise InvalidInput(field, f"{path!r} must be under {WORKSPACE}")
    return normal


def check_below_workspace(field: str, path: str) -> str:
    """As check_workspace_path, but not the root itself: nothing may replace, hide or clean up a whole workspace."""
    normal = check_workspace_path(field, path)
    if normal == WORKSPACE:
        raise InvalidInput(field, f"{path!r} is the workspace itself; name a path in it")
    return normal


def check_object_prefix(field: str, prefix: str) -> str:
    """A key prefix of the object store with one trailing slash; not absolute, free of `..` and empty parts."""
    parts = prefix.rstrip("/").split("/")
    if not prefix or prefix.startswith("/") or "" in parts or ".." in parts or "." in parts or "\0" in prefix:
        raise InvalidInput(field, f"{prefix!r} must be a relative key prefix without empty, '.' or '..' parts")
    return "/".join(parts) + "/"


def relative(path: str) -> str:
    """A checked workspace path relative to the workspace's root; the root itself is the empty string."""
    return path[len(WORKSPACE) :].lstrip("/")


def is_under(path: str, folder: str) -> bool:
    """Whether a path is `folder` itself or lies below it (`/workspaceX` is not under `/workspace`)."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
