"""A real executor in a container, called by the real client, its workspace in a real object store: who may do what."""

import ipaddress
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from domain.identifiers import worker_token
from domain.workspace.sync import SyncRef
from infrastructure.embedded.object_store import ObjectStoreAccess
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.directory import HttpExecutorDirectory
from infrastructure.object_store.location import S3Location
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.stored_workspaces.reading import S3RecordedWorkspaces
from tests.support.async_run import run
from tests.support.docker_runtime_harness import DockerRuntimeHarness
from tests.support.executor_calls import PREFIX, SECRET, SESSION, SPEC, restored, script_output, started_script, sync_of
from tests.support.relay import relayed
from tests.support.worker_image import executor_files

pytestmark = pytest.mark.timeout(300)

SOURCE = "/opt/fleetlog/source"
HOSTILE = r"""
id -u
try() { if "$@" 2>/dev/null; then echo "ESCAPED: $*"; fi; }
try cat /etc/fleetlog/executor.json
try ls /var/lib/fleetlog
executor=$(ps -eo pid,args | awk '/interfaces[.]executor/ && !/tini/ {print $1; exit}')
echo "executor $executor"
for pid in 1 $executor; do
  try cat /proc/$pid/environ
  try ls /proc/$pid/fd
  try kill -9 $pid
done
try chown 0 /workspace
try chmod u+s /bin/sh
try mount -t tmpfs none /mnt
try mknod /tmp/device b 7 0
try python3 -c 'import os; os.setuid(0)'
grep CapEff /proc/self/status
env | grep -iE 'secret|token' && echo ESCAPED
echo ready to write >/dev/stderr
mkdir -p made/by && echo agent > made/by/agent && chmod 0500 made/by
cat given
echo more >> given
echo end
"""


WRITING = r"""
cat > write.py <<'END'
import sqlite3, sys
database = sqlite3.connect("state.sqlite", isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE rows (n INTEGER PRIMARY KEY)")
n = 0
while True:
    n += 1
    database.execute("INSERT INTO rows VALUES (?)", (n,))
    if n == 100:
        print("writing", flush=True)
END
exec python3 write.py
"""


@pytest.fixture
def harness(worker_image: str, bucket: ObjectStoreAccess) -> Iterator[DockerRuntimeHarness]:
    # Its gateway is told only once a container is on it; its subnet always.
    subnet = subprocess.run(
        ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout.strip()
    with relayed(bucket.endpoint, str(ipaddress.ip_network(subnet)[1])) as port:
        store = S3Location(
            endpoint=f"http://host.docker.internal:{port}",
            bucket=bucket.bucket,
            region=bucket.region,
            access_key=bucket.access_key_id,
            secret_key=bucket.secret_access_key,
        )
        harness = DockerRuntimeHarness(store)
        yield harness
        harness.clean_up()


def test_the_image_holds_what_an_executor_imports_and_nothing_else_of_this_repository(worker_image: str) -> None:
    listed = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", "--entrypoint", "find", worker_image, SOURCE, "-type", "f"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    files = {name.removeprefix(f"{SOURCE}/") for name in listed.stdout.split()}
    assert {name for name in files if not name.endswith(".pyc")} == executor_files()


def test_an_agent_works_in_its_workspace_and_gets_nowhere_else(harness: DockerRuntimeHarness) -> None:
    assert SPEC.token == worker_token(SECRET, SESSION, 1, "executor")
    container = run(harness.runtime.create(SPEC))
    info = run(harness.runtime.start(SPEC, container.container_id))

    async def life() -> str:
        async with HttpExecutorDirectory(SECRET, policy=CallPolicy(max_retries=1)) as directory:
            executor = directory.executor(session_id=SESSION, generation=1, url=info.url)
            await restored(executor)
            harness.write(SPEC, "given", b"by the executor\n")
            output = await script_output(executor, HOSTILE)
            synced = await executor.sync(sync_of("pre.stop", gate=True))
            assert synced.uploaded_files == 2
            return output

    output = run(life(), timeout=250)
    lines = [line for line in output.splitlines() if line != "ready to write"]  # on stderr, so at any place
    assert "ESCAPED" not in output, output
    assert lines[0] == "1000"
    assert "CapEff:\t0000000000000000" in lines
    assert lines[-2:] == ["by the executor", "end"]
    assert int(next(line for line in lines if line.startswith("executor")).split()[1]) > 1


@pytest.mark.proof
def test_an_agents_database_is_copied_with_the_agents_rights_while_it_is_written(
    harness: DockerRuntimeHarness, bucket: ObjectStoreAccess, tmp_path: Path
) -> None:
    container = run(harness.runtime.create(SPEC))
    info = run(harness.runtime.start(SPEC, container.container_id))

    async def life() -> SyncRef:
        async with HttpExecutorDirectory(SECRET, policy=CallPolicy(max_retries=1)) as directory:
            executor = directory.executor(session_id=SESSION, generation=1, url=info.url)
            await restored(executor)
            await started_script(executor, WRITING)
            async for batch in executor.follow("run-1", 0):
                if any(entry.type == "message.delta" for entry in batch):
                    break
            synced = await executor.sync(sync_of("manual"))
            assert synced.unstable_paths == ()
            await executor.stop_run("run-1")
            return synced.sync

    sync = run(life(), timeout=250)
    _, owners = harness.in_container(SPEC, "stat", "--format", "%u", "/workspace/state.sqlite", "/workspace/write.py")
    assert owners.split() == ["1000", "1000"]
    with closing(S3ObjectStore(s3_location(bucket))) as store:
        workspaces = S3RecordedWorkspaces(store)
        files = {entry.path: entry for entry in run(workspaces.entries(sync)) if entry.kind == "file"}
        assert set(files) == {"state.sqlite", "write.py"}
        (tmp_path / "state.sqlite").write_bytes(run(workspaces.content(PREFIX, files["state.sqlite"])))
    with closing(sqlite3.connect(tmp_path / "state.sqlite")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ((count, last),) = copy.execute("SELECT count(*), max(n) FROM rows")
        assert count == last >= 100


def s3_location(access: ObjectStoreAccess) -> S3Location:
    return S3Location(
        endpoint=access.endpoint,
        bucket=access.bucket,
        region=access.region,
        access_key=access.access_key_id,
        secret_key=access.secret_access_key,
    )
