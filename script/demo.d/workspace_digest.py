"""The content of a workspace as one digest per path: kind, content, executable bit, link target."""

import hashlib
import os
from pathlib import Path

NOT_SYNCED = {".kb", ".claude", ".codex", ".opencode"}


def digests(workspace: Path) -> dict[str, str]:
    """By path, a text that differs whenever anything that a sync must keep differs."""
    found: dict[str, str] = {}
    for folder, names, files in os.walk(workspace):
        here = Path(folder)
        if here == workspace:
            names[:] = [name for name in names if name not in NOT_SYNCED]
            files = [name for name in files if name not in NOT_SYNCED]  # noqa: PLW2901  # os.walk's own list stays
        for name in [*names, *files]:
            path = here / name
            found[str(path.relative_to(workspace))] = _digest(path)
    return found


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_dir():
        return "folder"
    executable = "x" if path.stat().st_mode & 0o100 else "-"
    return f"file {executable} {hashlib.sha256(path.read_bytes()).hexdigest()}"
