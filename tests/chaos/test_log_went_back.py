"""The database is restored from an older copy under a running API and worker: they notice, and end by themselves."""

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.postgres.migrations import migrate
from tests.support.async_run import run
from tests.support.fleetlog_parts import Installation, installation
from tests.support.user_projection import until

pytestmark = pytest.mark.proof
LOG_WENT_BACK = 3


def test_a_restored_older_copy_ends_the_api_and_the_worker_and_a_new_start_goes_on_from_it(
    bucket: ObjectStoreAccess, tmp_path: Path
) -> None:
    postgres = EmbeddedPostgres(tmp_path / "database")
    data, copy = tmp_path / "database/postgres/data", tmp_path / "copy"
    dsn = run(postgres.start())
    try:
        run(migrate(dsn))
        with installation(tmp_path / "fleetlog", dsn, bucket) as parts:
            worker = parts.worker()
            assert text_of(parts, "echo before") == "before\n"

            run(postgres.stop())
            copy_folder(data, copy)
            run(postgres.start())
            assert text_of(parts, "echo after a restart") == "after a restart\n"
            assert (parts.api.alive, worker.alive) == (True, True), "a restart alone is nothing"

            run(postgres.stop())
            shutil.rmtree(data)
            copy_folder(copy, data)
            run(postgres.start())

            unready = until(lambda: log_of(parts))
            assert "the log went back: this process has seen" in unready
            assert parts.api.ended(60) == LOG_WENT_BACK
            assert worker.died(60) == LOG_WENT_BACK
            for said in (parts.api.log_tail(), parts.worker_log()):
                assert "docs/how-to/log-that-went-back.md" in said

            parts.api.start()
            parts.worker()
            assert text_of(parts, "echo again") == "again\n"
            assert "after a restart" not in str(parts.api.ok("GET", "/api/events", params={"limit": 1000}))
    finally:
        run(postgres.stop())


def copy_folder(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", source, target], check=True, timeout=60)  # with its owner


def text_of(parts: Installation, script: str) -> str:
    return str(parts.api.finished(script)["snapshot"]["text"])


def log_of(parts: Installation) -> str:
    """What `/ready` says of the log while that is wrong."""
    try:
        answer = parts.api.client.get("/ready")
    except httpx.TransportError:
        return ""
    (log,) = [each for each in answer.json()["dependencies"] if each["name"] == "log"]
    return "" if log["ok"] else str(log["detail"])
