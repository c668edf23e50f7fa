"""The workspace of one session worker for an async server: work runs in threads; restores, syncs and links one at a
time."""

import asyncio
import os
import queue
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from application.executor_protocol import (
    LinkResult,
    RestoreRequest,
    RestoreResult,
    SyncProgress,
    SyncRequest,
    SyncResult,
    TreeEntry,
    ValidateResult,
)
from application.ports.object_store import ObjectStore
from application.ports.provider_descriptions import CliFiles
from domain.errors import Conflict
from domain.workspace.paths import check_object_prefix, check_workspace_path, relative
from infrastructure.executor.workspace.agent_home import AgentHome
from infrastructure.executor.workspace.browse import (
    list_tree,
    open_for_reading,
    queue_of_chunks,
    read_chunks,
    tar_chunks,
)
from infrastructure.executor.workspace.confined import ConfinedTree
from infrastructure.executor.workspace.errors import NotRestored
from infrastructure.executor.workspace.exclusions import Exclusions
from infrastructure.executor.workspace.git_exclude import exclude_from_git
from infrastructure.executor.workspace.restore import WorkspaceParts, restore_workspace
from infrastructure.executor.workspace.sqlite_copy import SqliteCopier
from infrastructure.executor.workspace.state import RestoredWorkspace, WorkspaceState
from infrastructure.executor.workspace.sync import Syncer
from infrastructure.stored_workspaces.object_layout import output_key

_THREADS = 6
TRANSFERS = 8
_MAX_WAITING = 16
_CHUNK_TIMEOUT_S = 60.0
Result = TypeVar("Result")


class WorkspaceEngine:
    """Owns the folder. `executor_variables` is the executor's own environment; agents get a few of its variables.
    `quiesce` ends every process but the executor. It is awaited with the request's `session_seq` before a gate sync
    reads a file, and raises Conflict when an agent was started since. `cli_files`: what the CLIs of all providers keep.
    `agent_user`: numeric id of the user that agents run as; None: our own.
    """

    def __init__(
        self,
        *,
        workspace_dir: Path,
        home_dir: Path,
        state_dir: Path,
        store: ObjectStore,
        generation: int,
        quiesce: Callable[[int], Awaitable[None]],
        executor_variables: Mapping[str, str],
        cli_files: CliFiles,
        agent_user: int | None = None,
    ) -> None:
        self._executor_variables = executor_variables
        state = WorkspaceState(state_dir)
        if state.restored() is None:
            # After a restore a missing folder is an error: an empty new one would be synced as a workspace without
            # files.
            workspace_dir.mkdir(parents=True, exist_ok=True)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="workspace")
        self._transfers = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="transfer")
        tree = ConfinedTree(str(workspace_dir), owner=agent_user)
        self._parts = WorkspaceParts(
            tree=tree,
            state=state,
            store=store,
            transfers=self._transfers,
            home=AgentHome(home_dir, Path(tree.root), cli_files),
            cli_files=cli_files,
            databases=SqliteCopier(tree, user=agent_user),
        )
        self._syncer = Syncer(self._parts, generation)
        self._generation = generation
        self._quiesce = quiesce
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._work: set[asyncio.Future[Any]] = set()
        self._marker = self._parts.state.restored()
        self.gate_sync_running = False

    @property
    def root(self) -> str:
        """The real path of the folder that plans and the API call `/workspace`."""
        return self._parts.tree.root

    @property
    def store(self) -> ObjectStore:
        return self._parts.store

    @property
    def marker(self) -> RestoredWorkspace | None:
        """The marker of this generation's restore; None until it has completed."""
        if self._marker is not None and self._marker.generation == self._generation:
            return self._marker
        return None

    def require_restored(self) -> RestoredWorkspace:
        """Raises NotRestored."""
        if self.marker is None:
            raise NotRestored
        return self.marker

    def environment(self) -> dict[str, str]:
        """The environment of every agent, without what its run adds. Raises NotRestored."""
        return self._parts.home.environment(self.require_restored().agent_data, self._executor_variables)

    async def restore(self, request: RestoreRequest) -> RestoreResult:
        check_object_prefix("workspaceS3Prefix", request.workspace_s3_prefix)

        async def work() -> RestoreResult:
            result = await self._in_thread(partial(restore_workspace, self._parts, request))
            self._marker = await self._in_thread(self._parts.state.restored)
            return result

        return await self._exclusively(work)

    async def link_agent_data(self) -> LinkResult:
        agent_data = self.require_restored().agent_data
        return await self._exclusively(
            lambda: self._in_thread(partial(self._parts.home.link, self._parts.tree, agent_data))
        )

    async def validate(self, required_paths: tuple[str, ...]) -> ValidateResult:
        """Whether every path exists. A symlink counts as existing, wherever it leads."""
        checked = [
            (path, relative(check_workspace_path(f"requiredPaths[{index}]", path)))
            for index, path in enumerate(required_paths)
        ]

        def missing() -> tuple[str, ...]:
            return tuple(path for path, below in checked if self._parts.tree.lstat(below) is None)

        absent = await self._in_thread(missing)
        return ValidateResult(ok=not absent, missing_required_paths=absent)

    async def sync(self, request: SyncRequest) -> SyncResult:
        self.require_restored()

        async def work() -> SyncResult:
            if not request.gate:
                await self._in_thread(self.keep_out_of_git)
                return await self._in_thread(partial(self._syncer.sync, request))
            self.gate_sync_running = True
            try:
                await self._quiesce(request.session_seq)
                await self._in_thread(self.keep_out_of_git)
                return await self._in_thread(partial(self._syncer.sync, request))
            finally:
                self.gate_sync_running = False

        return await self._exclusively(work)

    def keep_out_of_git(self) -> None:
        """Keep the agents' data out of what `git status` shows in the workspace. Blocks. Raises NotRestored."""
        exclude_from_git(self._parts.tree, self.require_restored().agent_data)

    def sync_progress(self) -> SyncProgress:
        """Progress of the sync under way."""
        return self._syncer.progress.shown()

    async def put_output(self, content_hash: str, body: bytes) -> str:
        """Store tool output below the workspace's prefix; returns its key. Raises NotRestored."""
        key = output_key(self.require_restored().workspace_s3_prefix, content_hash)
        await self._in_thread(partial(self._parts.store.put, key, body))
        return key

    async def tree(self, path: str) -> tuple[TreeEntry, ...]:
        return await self._in_thread(partial(list_tree, self._parts.tree, path))

    async def read_file(self, path: str) -> tuple[AsyncIterator[bytes], int]:
        """The file's bytes in chunks, and its size in bytes when it was opened."""
        fd, size = await self._in_thread(partial(open_for_reading, self._parts.tree, path))
        return self._chunks_of(fd), size

    async def write_file(self, path: str, spooled: Path) -> None:
        """Replace the file at `path` atomically by the content of a spooled file; permission bits stay (0644 if
        new)."""
        self.require_restored()
        if self.gate_sync_running:
            raise Conflict("a gate sync is under way; nothing may be written now", "busy")
        below = relative(check_workspace_path("path", path))
        await self._in_thread(partial(_replace_file, self._parts.tree, below, spooled))

    async def download(self, path: str) -> AsyncIterator[bytes]:
        """A tar of a folder, in chunks. Raises NotFound before the first chunk."""
        below = relative(check_workspace_path("path", path))

        def check() -> None:
            with self._parts.tree.directory(below):
                pass

        await self._in_thread(check)
        agent_data = self.marker.agent_data if self.marker else ".agent_data"
        return self._tar(path, Exclusions(agent_data=agent_data, cli_files=self._parts.cli_files))

    async def _tar(self, path: str, exclusions: Exclusions) -> AsyncIterator[bytes]:
        chunks = queue_of_chunks()
        writing = self._start_in_thread(
            partial(tar_chunks, self._parts.tree, path, exclusions=exclusions, chunks=chunks)
        )
        while True:
            taking = partial(chunks.get, timeout=_CHUNK_TIMEOUT_S)
            try:
                chunk = await self._in_thread(taking)
            except queue.Empty:
                chunk = None
            if chunk is None:
                break
            yield chunk
        await writing

    async def _chunks_of(self, fd: int) -> AsyncIterator[bytes]:
        chunks = read_chunks(fd)
        try:
            while (chunk := await self._in_thread(partial(next, chunks, b""))) != b"":
                yield chunk
        finally:
            chunks.close()

    def close(self) -> None:
        """Wait for the work under way (bounded), then end the threads and close the folder."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._transfers.shutdown(wait=True, cancel_futures=True)
        self._parts.tree.close()

    async def _exclusively(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Restores, links and syncs run one at a time, and to their end even if the caller is cancelled. Raises
        Conflict (busy) when 16 are waiting."""
        if self._waiting >= _MAX_WAITING:
            raise Conflict(f"{_MAX_WAITING} calls wait for the workspace already", "busy")

        async def turn() -> Result:
            self._waiting += 1
            try:
                async with self._lock:
                    return await work()
            finally:
                self._waiting -= 1

        task = asyncio.ensure_future(turn())
        self._track(task)
        return await asyncio.shield(task)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.shield(self._start_in_thread(work))

    def _start_in_thread(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._track(future)
        return future

    def _track(self, future: "asyncio.Future[Result]") -> None:
        self._work.add(future)

        def forget(done: "asyncio.Future[Result]") -> None:
            self._work.discard(done)
            if not done.cancelled():
                done.exception()  # retrieved, so that asyncio doesn't log it as never retrieved when the caller is gone

        future.add_done_callback(forget)


def _replace_file(tree: ConfinedTree, path: str, spooled: Path) -> None:
    found = tree.lstat(path)
    mode = found.st_mode & 0o777 if found is not None else 0o644

    def fill(write: Callable[[bytes], object]) -> int:
        for chunk in read_chunks(os.open(spooled, os.O_RDONLY)):
            write(chunk)
        return mode

    tree.write_file(path, fill, replace_parents=False)
