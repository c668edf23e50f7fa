"""The machine's power goes after a gate sync was recorded: the embedded S3 server still has what the log names."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infrastructure.embedded.folder_flush import FolderFlush
from infrastructure.embedded.object_store import EmbeddedObjectStore
from infrastructure.object_store.s3 import S3ObjectStore
from tests.support.async_run import run
from tests.support.cut_disk import MIB, CutDisk, required_loop_devices
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer
from tests.support.session_history import output, payloads

pytestmark = pytest.mark.proof


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CutDisk]:
    required_loop_devices()
    with CutDisk(tmp_path).mounted() as mounted:
        yield mounted


def test_a_flush_makes_durable_what_the_server_has_accepted(disk: CutDisk) -> None:
    async def scenario() -> None:
        async with EmbeddedObjectStore(disk.path / "home") as access:
            store, content = S3ObjectStore(access.location), os.urandom(3 * MIB)
            store.put("some/object", content)
            with disk.after_a_power_cut() as cut:
                lost = cut / "home/s3/fleetlog/some/object"
                assert not lost.exists() or lost.read_bytes() != content, "this disk flushes by itself"

            flush = FolderFlush(disk.path / "home/s3")
            await flush.flush()

            with disk.after_a_power_cut() as cut:
                assert (cut / "home/s3/fleetlog/some/object").read_bytes() == content
            flush.close()
            store.close()

    run(scenario())


def test_the_workspace_that_a_gate_has_recorded_is_whole_after_a_power_cut(disk: CutDisk) -> None:
    with FleetlogServer(disk.path / "home", **on_shared_postgres()) as server:
        script = "mkdir deep; head -c 3000000 /dev/urandom > large; for n in $(seq 50); do echo $n > deep/$n; done"
        output(server, script, "s")
        server.ok("POST", "/api/session-workers/s/stop")
        with disk.after_a_power_cut() as cut:
            bucket = cut / "home/s3/fleetlog"
            synced = payloads(server.stream("s"), "session.synced")[-1]["sync"]
            manifest = (bucket / synced["manifestKey"]).read_bytes()
            assert hashlib.sha256(manifest).hexdigest() == synced["manifestHash"]
            files = [entry for entry in json.loads(manifest)["entries"] if entry["kind"] == "file"]
            assert len(files) > 50
            assert [entry["path"] for entry in files if not stored(bucket / synced["manifestKey"], entry)] == []


def stored(manifest: Path, entry: dict[str, Any]) -> bool:
    """Whether the bucket holds the content of a file of the manifest."""
    prefix, content_hash, pack = manifest.parents[1], entry["hash"], entry.get("pack")
    content = prefix / "packs" / pack if pack else prefix / "objects" / content_hash[:2] / content_hash
    if not content.exists():
        return False
    start, size = entry.get("offset", 0), entry.get("size", 0)
    return hashlib.sha256(content.read_bytes()[start : start + size]).hexdigest() == content_hash
