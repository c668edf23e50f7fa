"""What is in a folder, to compare it bit for bit; and a workspace engine's parts without a process around them."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from application.executor_protocol import RestoreRequest, SyncRequest
from domain.workspace.plan import RestorePlan
from infrastructure.executor.providers.descriptions import cli_files
from infrastructure.executor.workspace.agent_home import AgentHome
from infrastructure.executor.workspace.confined import ConfinedTree
from infrastructure.executor.workspace.restore import WorkspaceParts, restore_workspace
from infrastructure.executor.workspace.sqlite_copy import SqliteCopier
from infrastructure.executor.workspace.state import WorkspaceState
from infrastructure.executor.workspace.sync import Syncer
from infrastructure.object_store.s3 import S3ObjectStore
from tests.integration.executor.worker import L4, PREFIX, l1


def snapshot(root, *, leave_out=(".agent_data",)):
    """{relative path in bytes: (kind, permission bits, content or target, modification time in nanoseconds)}."""
    found = {}
    for path in Path(root).rglob("*"):
        relative = os.fsencode(path.relative_to(root))
        values = path.lstat()
        if stat.S_ISLNK(values.st_mode):
            found[relative] = ("symlink", 0, os.fsencode(path.readlink()), values.st_mtime_ns)
        elif stat.S_ISDIR(values.st_mode):
            found[relative] = ("dir", values.st_mode & 0o777, b"", values.st_mtime_ns)
        elif stat.S_ISREG(values.st_mode):
            found[relative] = ("file", values.st_mode & 0o777, path.read_bytes(), values.st_mtime_ns)
    left_out = [os.fsencode(name) for name in leave_out]
    return {path: what for path, what in found.items() if not any(path.split(b"/")[0] == name for name in left_out)}


class CountingStore(S3ObjectStore):
    """A real store that counts what is asked of it."""

    def __init__(self, location):
        super().__init__(location)
        self.forget()

    def forget(self):
        self.puts, self.gets, self.put_bytes = [], [], 0

    def put(self, key, body, *, metadata=None):
        super().put(key, body, metadata=metadata)
        self.puts.append(key)
        self.put_bytes += len(body)

    def put_parts(self, key, parts, *, confirm=lambda: True):
        self.puts.append(key)
        return super().put_parts(key, parts, confirm=confirm)

    def fetch(self, key, *, start=0, length=None):
        self.gets.append(key)
        return super().fetch(key, start=start, length=length)


class Box:
    """One generation's folders with the engine on them, called directly."""

    def __init__(self, folder, store, pool, generation=1, owner=None):
        self.workspace, self.generation = folder / "ws", generation
        for name in ("ws", "home", "state"):
            (folder / name).mkdir(parents=True)
        self.state = WorkspaceState(folder / "state")
        tree = ConfinedTree(str(self.workspace), owner=owner)
        self.parts = WorkspaceParts(
            tree=tree,
            state=self.state,
            store=store,
            transfers=pool,
            home=AgentHome(folder / "home", self.workspace, cli_files()),
            cli_files=cli_files(),
            databases=SqliteCopier(tree, user=None),
        )
        self.syncer = Syncer(self.parts, generation)

    def restore(self, layers=None, *, sync=None, **plan):
        body = {"layers": layers if layers is not None else [l1(), L4], **plan}
        wanted = msgspec.structs.replace(msgspec.convert(body, RestorePlan), session_sync=sync)
        return restore_workspace(
            self.parts,
            RestoreRequest(
                session_id="s1", container_id="c", generation=self.generation, plan=wanted, workspace_s3_prefix=PREFIX
            ),
        )

    def sync(self, **fields):
        values = {"workspace_s3_prefix": PREFIX, "sync_id": "x", "reason": "manual", **fields}
        return self.syncer.sync(SyncRequest(session_id="s1", container_id="c", generation=self.generation, **values))

    def close(self):
        self.parts.tree.close()


@contextmanager
def transfer_pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool
