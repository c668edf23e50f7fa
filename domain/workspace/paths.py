"""Paths in a workspace. Plans and manifests always say `/workspace/...`, whatever the folder's real path is."""

import posixpath
from collections.abc import Iterator

from domain.errors import InvalidInput

WORKSPACE = "/workspace"
AGENT_DATA = "/workspace/.agent_data"
KNOWLEDGE = "/workspace/.kb"
USER_FILES = "/workspace/.user-files"


def check_workspace_path(field: str, path: str) -> str:
    """The normalised path. Raises InvalidInput unless it is absolute, at or below /workspace, and without `..`."""
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
    """As check_workspace_path, but refuses the root: no rule may replace, hide or clean up the whole workspace."""
    normal = check_workspace_path(field, path)
    if normal == WORKSPACE:
        raise InvalidInput(field, f"{path!r} is the workspace itself; name a path in it")
    return normal


def check_object_prefix(field: str, prefix: str) -> str:
    """The key prefix with exactly one trailing slash. Raises InvalidInput unless it is relative and without empty, `.`
    or `..` parts."""
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


def parts_of(path: str) -> list[str]:
    """The names that a relative path consists of. Raises InvalidInput for one that could lead out of the workspace."""
    if path == "":
        return []
    names = path.split("/")
    if any(name in {"", ".", ".."} or "\0" in name for name in names):
        raise InvalidInput("path", f"{path!r} must be relative, without empty, '.' or '..' parts")
    return names


def ancestors(path: str) -> Iterator[str]:
    """All folders above a path, without the root."""
    at = path.find("/")
    while at != -1:
        yield path[:at]
        at = path.find("/", at + 1)
