"""A program of its own: `python -I sqlite_backup.py FOLDER` copies SQLite databases while others write to them.

It is started as the user whose databases these are: nothing is opened with more rights than its owner has. Standard
input holds the databases' absolute paths, each ended by a NUL; the nth is copied to FOLDER/n. A line of standard output
for each: `ok`, or what went wrong. SQLite's own backup reads in one transaction, write-ahead log included.
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
            told = "ok"
        except (sqlite3.Error, OSError) as error:
            told = f"{type(error).__name__}: {error}".replace("\n", " ")
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()


def copy(source: bytes, target: Path) -> None:
    """Read only: neither the log of a writer that died is worked in, nor a checkpoint made."""
    uri = f"file:{quote_from_bytes(source)}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)) as present,
        closing(sqlite3.connect(target, isolation_level=None)) as copied,
    ):
        copied.execute("PRAGMA synchronous = OFF")
        present.execute("BEGIN")
        # The first read takes the lock, and waits for it no longer than a backup that meets a busy database would.
        present.execute("SELECT count(*) FROM sqlite_master").fetchone()
        present.backup(copied, pages=-1)


if __name__ == "__main__":
    main()
