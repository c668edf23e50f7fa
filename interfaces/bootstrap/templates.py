"""Puts a folder into the object store as a runtime template."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from domain.errors import InvalidInput
from domain.workspace.paths import check_object_prefix
from interfaces.bootstrap.foundation import open_object_store, reachable_object_store
from interfaces.errors import StartRefused
from interfaces.settings import Settings

UPLOADS_AT_ONCE = 8


async def push_template(settings: Settings, folder: Path, prefix: str) -> tuple[int, int]:
    """Upload every file below `folder`, with its mode, under `prefix`; files of an earlier push that are not in it any
    more are removed. Returns the number of files and of bytes. Raises StartRefused, SettingsError, ObjectStore errors.
    """
    try:
        prefix = check_object_prefix("PREFIX", prefix)
    except InvalidInput as error:
        raise StartRefused(str(error)) from error
    files = await asyncio.to_thread(_files_below, folder)
    access = await reachable_object_store(settings)
    store = open_object_store(access)

    def upload(path: Path) -> int:
        body = path.read_bytes()
        key = prefix + path.relative_to(folder).as_posix()
        store.put(key, body, metadata={"mode": f"{path.stat().st_mode & 0o777:o}"})
        return len(body)

    def push() -> int:
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
            size = sum(pool.map(upload, files))
        kept = {prefix + path.relative_to(folder).as_posix() for path in files}
        store.delete(item.key for item in list(store.list_objects(prefix)) if item.key not in kept)
        return size

    return len(files), await asyncio.to_thread(push)


def _files_below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise StartRefused(f"{folder} is not a folder")
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
