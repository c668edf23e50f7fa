"""Consistent copies of SQLite databases that agents may be writing to, for syncs that do not end the agents first.

A database's file and its write-ahead log, read one after the other, may not fit together. So such a sync stores a copy
made by SQLite's backup, which holds all that was committed, instead of database, log and index (`-wal`, `-shm`,
`-journal`). A gate sync stores these files as they are: nothing writes then.
"""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from domain.errors import Conflict, NotFound
from infrastructure.executor.workspace.confined import ConfinedTree
from infrastructure.executor.workspace.upload import StoredFile, Uploader
from infrastructure.executor.workspace.walk import FoundFile, found_file

COMPANIONS = ("-wal", "-shm", "-journal")
_HEADER = b"SQLite format 3\0"
_TIMEOUT_S = 120.0
_BACKUP = str(Path(__file__).with_name("sqlite_backup.py"))
_log = logging.getLogger("fleetlog.executor.sync")


class SqliteCopies(msgspec.Struct, kw_only=True):
    """`stored`: the copies, each with the stat of its database. `sizes`: the copies' sizes in bytes by the database's
    path. `handled`: the paths of databases and companions that need not be stored any more. `files`, `bytes`: what was
    uploaded."""

    stored: list[StoredFile] = []
    sizes: dict[str, int] = {}
    files: int = 0
    bytes: int = 0
    handled: set[str] = set()


class SqliteCopier:
    """`user`: numeric id of the user that agents run as; None: our own."""

    def __init__(self, tree: ConfinedTree, *, user: int | None) -> None:
        self._tree = tree
        self._user = user

    def store(
        self, uploader: Uploader, pool: Executor, files: Sequence[FoundFile], changed: Collection[str]
    ) -> SqliteCopies:
        """Copy and store the databases among `files` that are in `changed`, or whose companion is. One that SQLite
        can't copy is logged and not in the result: it is to be stored like any other file."""
        by_path = {file.path: file for file in files}
        databases = [file for file in files if self._needs_copy(file, by_path, changed)]
        copies = SqliteCopies()
        if not databases:
            return copies
        with self._copied(databases) as (folder, sizes):
            originals = {str(number): file for number, file in enumerate(databases)}
            with closing(ConfinedTree(folder)) as copies_tree:
                uploaded = uploader.reading_from(copies_tree).store_all(pool, sizes)
            copies.files, copies.bytes = uploaded.files, uploaded.bytes
            for stored in uploaded.stored:
                original = originals[stored.found.path]
                copies.stored.append(msgspec.structs.replace(stored, found=original))
                copies.sizes[original.path] = stored.found.size
                copies.handled.update(original.path + suffix for suffix in ("", *COMPANIONS))
        return copies

    def _needs_copy(self, file: FoundFile, by_path: dict[str, FoundFile], changed: Collection[str]) -> bool:
        companions = [file.path + suffix for suffix in COMPANIONS if file.path + suffix in by_path]
        if file.path not in changed and not any(path in changed for path in companions):
            return False
        return file.size >= len(_HEADER) and self._has_header(file.path)

    def _has_header(self, path: str) -> bool:
        try:
            fd = self._tree.open_file(path)
        except (NotFound, Conflict, OSError):
            return False
        try:
            return os.pread(fd, len(_HEADER), 0) == _HEADER
        finally:
            os.close(fd)

    @contextmanager
    def _copied(self, databases: Sequence[FoundFile]) -> Iterator[tuple[str, list[FoundFile]]]:
        """A temporary folder with the copies that succeeded, named by the databases' indexes."""
        with tempfile.TemporaryDirectory(prefix="fleetlog-sqlite-", ignore_cleanup_errors=True) as folder:
            if self._user is not None:
                os.chown(folder, self._user, self._user)
            answers = self._run(folder, [os.fsencode(f"{self._tree.root}/{file.path}") for file in databases])
            copied: list[FoundFile] = []
            for number, file in enumerate(databases):
                answer = answers[number] if number < len(answers) else "it was not copied in time"
                if answer == "ok":
                    copied.append(found_file(str(number), os.lstat(Path(folder, str(number)))))
                else:
                    _log.warning("the database %r is read as it is: %s", file.path, answer)
            yield folder, copied

    def _run(self, folder: str, sources: list[bytes]) -> list[str]:
        command = [sys.executable, "-I", _BACKUP, folder]
        try:
            done = subprocess.run(
                command,
                input=b"".join(source + b"\0" for source in sources),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_TIMEOUT_S,
                check=False,
                env={"LANG": "C.UTF-8"},
                cwd="/",
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )
        except (OSError, subprocess.SubprocessError) as error:
            return [f"{type(error).__name__}: {error}"] * len(sources)
        return done.stdout.decode(errors="replace").splitlines()
