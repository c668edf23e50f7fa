"""Uploads the files of a folder, such as a runtime template, to the object store."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from application.ports.object_store import ObjectStore

UPLOADS_AT_ONCE = 8


def upload_folder(store: ObjectStore, folder: Path, prefix: str) -> tuple[int, int]:
    """Upload all regular files below `folder`, with their modes as metadata, below `prefix` (ending in a slash), then
    delete all other objects below it. Symlinks are left out. Returns the numbers of files and bytes. Blocks. Raises
    NotADirectoryError, and what the object store raises."""
    if not folder.is_dir():  # else all objects would be deleted
        raise NotADirectoryError(f"{folder} is not a folder")
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    keys = {prefix + path.relative_to(folder).as_posix(): path for path in sorted(files)}

    def upload(key: str) -> int:
        body = keys[key].read_bytes()
        store.put(key, body, metadata={"mode": f"{keys[key].stat().st_mode & 0o777:o}"})
        return len(body)

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        size = sum(pool.map(upload, keys))
    store.delete(item.key for item in list(store.list_objects(prefix)) if item.key not in keys)
    return len(keys), size
