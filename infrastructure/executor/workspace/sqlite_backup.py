"""A program of its own: `python -I sqlite_backup.py FOLDER` copies SQLite databases while others write to them.

It runs as the agents' user, so that it opens nothing that they could not. Standard input holds the databases' absolute
paths, each ended by a NUL; number n (from 0) is copied to FOLDER/n. Standard output gets one line for each: `ok`, or
the error. SQLite's backup reads in one transaction, write-ahead log included.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote_from_bytes

_BUSY_S = 5.0


def main() -> None:
    folder = Path(sys.argv[1])
    sources = sys.stdin.buffer.read().split(b"\0")[:-1]
    for number, source in enumerate(sources):
        try:
            copy(source, folder / str(number))
            outcome = "ok"
        except (sqlite3.Error, OSError) as error:
            outcome = f"{type(error).__name__}: {error}".replace("\n", " ")
        sys.stdout.write(f"{outcome}\n")
        sys.stdout.flush()


def copy(source: bytes, target: Path) -> None:
    """Copy one database. It is opened read-only: no recovery of a dead writer's log, and no checkpoint. Raises
    sqlite3.Error, OSError."""
    uri = f"file:{quote_from_bytes(source)}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)) as present,
        closing(sqlite3.connect(target, isolation_level=None)) as copied,
    ):
        copied.execute("PRAGMA synchronous = OFF")
        present.execute("BEGIN")
        # The first read takes the read lock, waiting 5 s at most; the backup itself would not wait.
        present.execute("SELECT count(*) FROM sqlite_master").fetchone()
        present.backup(copied, pages=-1)


if __name__ == "__main__":
    main()
