"""Secrets that are made once and kept in a file that only its owner can read."""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from infrastructure.embedded.errors import UnsafeSecretFile

INSTALLATION_SECRET_FILE = "secret"  # noqa: S105  # a file's name


def installation_secret(home: Path) -> str:
    """The secret of an installation without FLEETLOG_SECRET: made at the first call, the same ever after."""
    return read_or_make_secret(home / INSTALLATION_SECRET_FILE, lambda: secrets.token_urlsafe(48))


def read_or_make_secret(path: Path, make: Callable[[], str]) -> str:
    """The text of `path`; if the file is missing, the result of `make()`, which is stored first (mode 0600).

    Concurrent first calls all return the same text. Raises UnsafeSecretFile if other users may read the file.
    """
    if not path.exists():
        _store_once(path, make())
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise UnsafeSecretFile(path, mode)
    return path.read_text(encoding="utf-8").strip()


def _store_once(path: Path, secret: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{secret}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # another process was first: its secret is used
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
