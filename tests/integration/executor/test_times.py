"""Modification times survive sync → remove → restore."""

import hashlib
import os

import msgspec
import pytest

from domain.workspace.sync import SyncRef
from infrastructure.stored_workspaces.recorded_sync import decode_manifest
from tests.integration.executor.test_round_trip import box, build, file
from tests.integration.executor.trees import CountingStore
from tests.integration.executor.worker import PREFIX


@pytest.fixture(scope="module")
def counting(shared_location):
    store = CountingStore(shared_location)
    yield store
    store.close()


def test_times_come_back_to_the_nanosecond_and_a_new_time_alone_uploads_a_manifest_only(counting):
    with box(counting) as original:
        original.restore()
        build(
            original.workspace, {"folder": {"old": file(b"o"), "large": file(os.urandom(300_000))}, "ahead": file(b"a")}
        )
        first = original.sync()
        times = {
            "folder/old": 1_234_567_890_123_456_789,
            "folder/large": -1,
            "folder": 0,
            "ahead": 4_102_444_800 * 10**9,
        }
        for path, time_ns in times.items():
            os.utime(original.workspace / path, ns=(0, time_ns))
        counting.forget()
        second = original.sync(previous=first.sync)
        assert (second.uploaded_files, len(counting.puts)) == (0, 1)
    with box(counting, 2) as restored:
        restored.restore(sync=second.sync)
        assert {path: (restored.workspace / path).stat().st_mtime_ns for path in times} == times
        assert restored.sync(previous=second.sync).unchanged


def test_a_manifest_of_an_earlier_version_without_times_restores_as_ever(counting):
    with box(counting) as original:
        original.restore()
        build(original.workspace, {"folder": {"file": file(b"f")}, "link": ("link", "folder")})
        manifest = decode_manifest(counting.get(original.sync().sync.manifest_key))
    entries = tuple(msgspec.structs.replace(entry, mtime_ns=None) for entry in manifest.entries)
    body = msgspec.json.encode(msgspec.structs.replace(manifest, entries=entries))
    assert b"mtime" not in body
    former = SyncRef(
        manifest_key=f"{PREFIX}/manifests/1-9-000000000000.json", manifest_hash=hashlib.sha256(body).hexdigest()
    )
    counting.put(former.manifest_key, body)
    with box(counting, 2) as restored:
        restored.restore(sync=former)
        assert (restored.workspace / "link/file").read_bytes() == b"f"
        again = restored.sync(previous=former)
        assert (again.unchanged, again.uploaded_files) == (False, 0)
