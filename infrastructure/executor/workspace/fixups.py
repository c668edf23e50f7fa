"""The last steps of a restore, on files that are already in place: cleanup rules, seed files, folder modes and
times."""

import os
from collections.abc import Callable, Mapping
from io import BufferedReader

from domain.errors import Conflict, InvalidInput, NotFound, StoredWorkspaceUnreadable
from domain.workspace.manifest import CleanupRule, SeedFile
from domain.workspace.paths import check_workspace_path, relative
from infrastructure.executor.workspace.confined import ConfinedTree, NotAFile
from infrastructure.executor.workspace.layering import PlannedPath, covers

_CHUNK_BYTES = 1024 * 1024
_DEFAULT_DIR_MODE = 0o755


def clean_up(tree: ConfinedTree, rules: tuple[CleanupRule, ...], protected: tuple[str, ...]) -> None:
    """Carry out cleanup rules; protected paths stay. Raises InvalidInput."""
    for index, rule in enumerate(rules):
        path = below_root(f"plan.cleanupRules[{index}].path", rule.path)
        if rule.action == "remove_if_exists":
            tree.remove(path, keep=lambda candidate: covers(protected, candidate))
        elif not covers(protected, path):
            _truncate(tree, path)


def place_seeds(tree: ConfinedTree, seeds: tuple[SeedFile, ...], protected: tuple[str, ...]) -> tuple[str, ...]:
    """Copy seed files. Returns the sources that do not exist, which is no error: the session may have deleted them, and
    the validation checks required paths. Raises StoredWorkspaceUnreadable, InvalidInput."""
    missing: list[str] = []
    for index, seed in enumerate(seeds):
        source = below_root(f"plan.seedFiles[{index}].from", seed.from_)
        target = below_root(f"plan.seedFiles[{index}].to", seed.to)
        if covers(protected, target) or (seed.if_missing_only and tree.lstat(target) is not None):
            continue
        try:
            fd = tree.open_file(source)
        except NotFound:
            missing.append(seed.from_)
            continue
        except (NotAFile, Conflict) as error:
            raise StoredWorkspaceUnreadable(
                f"the seed file {seed.from_!r} is no regular file", "seed_not_a_file"
            ) from error
        with os.fdopen(fd, "rb") as file:

            def fill(write: Callable[[bytes], object], file: BufferedReader = file) -> int:
                while chunk := file.read(_CHUNK_BYTES):
                    write(chunk)
                return os.fstat(file.fileno()).st_mode & 0o777

            tree.write_file(target, fill, replace_parents=True)
    return tuple(missing)


def set_folder_attributes(tree: ConfinedTree, planned: Mapping[str, PlannedPath]) -> None:
    """Set the folder modes and modification times that the sync recorded, in reverse order of paths: children before a
    read-only parent, and all that is made in a folder before its own time."""
    for path in sorted((path for path, item in planned.items() if item.kind == "dir"), reverse=True):
        mode, entry = planned[path].mode, planned[path].entry
        try:
            with tree.directory(path) as fd:
                if mode not in {0, _DEFAULT_DIR_MODE}:
                    os.fchmod(fd, mode & 0o777)
                if entry is not None and entry.mtime_ns is not None:
                    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        except (NotFound, Conflict):
            continue  # a cleanup rule or a seed file replaced it


def below_root(field: str, path: str) -> str:
    """A path of the plan, relative to the workspace. Raises InvalidInput, also for the root."""
    below = relative(check_workspace_path(field, path))
    if below == "":
        raise InvalidInput(field, "must lie below /workspace, not be /workspace itself")
    return below


def _truncate(tree: ConfinedTree, path: str) -> None:
    try:
        fd = tree.open_file(path)
    except (NotFound, Conflict):
        return
    mode = os.fstat(fd).st_mode
    os.close(fd)
    tree.write_file(path, lambda _write: mode, replace_parents=False)
