"""A missing bucket and a full disk: `/ready` and the doctor say so, nothing hangs, and it goes on when it is mended."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import REPOSITORY, FleetlogServer, not_ready

pytestmark = pytest.mark.proof

SOON_S = 8.0
"""How long an answer may take that must not hang; a retry by time would take three times as long."""


@contextmanager
def soon() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < SOON_S


def test_a_missing_bucket_is_told_by_ready_the_doctor_and_the_first_activation(
    tmp_path: Path, bucket: ObjectStoreAccess
) -> None:
    store = {
        "S3_ENDPOINT": bucket.endpoint,
        "S3_BUCKET": "no-such-bucket",
        "S3_REGION": bucket.region,
        "AWS_ACCESS_KEY_ID": bucket.access_key_id,
        "AWS_SECRET_ACCESS_KEY": bucket.secret_access_key,
    }
    with FleetlogServer(tmp_path / "home", **on_shared_postgres(), **store) as server:
        assert "make it, or correct S3_BUCKET" in not_ready(server)["object store"]

        doctor = run_cli("doctor", "--json", environment=server.environment())
        finding = next(each for each in json.loads(doctor.stdout) if each["name"] == "object store")
        assert (finding["status"], "no such bucket" in finding["detail"]) == ("error", True)

        with soon():
            problem = server.problem(
                409, "POST", "/api/session-workers/s/activate", json={"appId": "app", "userLoginName": "ada"}
            )
        assert "make it, or correct S3_BUCKET" in problem["detail"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own; needs root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m,mode=755", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(file: Path) -> None:
    for size in (1 << 20, 4096, 1):
        with file.open("ab", buffering=0) as rest:
            try:
                while True:
                    rest.write(b"x" * size)
            except OSError:
                pass


def test_a_full_disk_is_told_and_a_server_on_it_goes_on_once_there_is_room(small_disk: Path) -> None:
    server, filling = FleetlogServer(small_disk / "home"), small_disk / "filling"
    os.chmod(small_disk.parent, 0o755)  # for the ordinary user that Postgres runs as
    server.home.parent.mkdir(exist_ok=True)
    with server:
        server.enqueued("true")
        fill(filling)

        assert "is full" in not_ready(server)["disk"]
        for _ in range(3):  # what room Postgres had is used up by then
            with soon():
                answer = server.client.post(
                    "/api/runs/queue/enqueue", json=server.run_body("true; # " + os.urandom(60_000).hex())
                )
        assert (answer.status_code, answer.json()["reason"]) == (503, "disk_full")
        assert "database's disk is full" in answer.json()["detail"]
        assert not_ready(server).keys() >= {"disk", "log"}

        filling.unlink()
        server.finished("true")
        assert not_ready(server) == {}
    fill(filling)

    for home in (server.home, small_disk / "new"):
        refused = run_cli("up", "--json", environment=server.environment() | {"FLEETLOG_HOME": str(home)})
        assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
        assert f"FLEETLOG_HOME: the disk of {home} is full" in refused.stderr.replace("\n", " ")
    filling.unlink()


def run_cli(*arguments: str, environment: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "interfaces.cli.main", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
