"""The workspace of one worker for an async server: restores, syncs and looks run in threads, one change at a time."""

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
from domain.errors import Conflict
from domain.workspace.paths import check_object_prefix, check_workspace_path, relative
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.workspace.agent_home import AgentHome
from infrastructure.workspace.browse import list_tree, open_for_reading, queue_of_chunks, read_chunks, tar_chunks
from infrastructure.workspace.confined import ConfinedTree
from infrastructure.workspace.errors import NotRestored
from infrastructure.workspace.object_layout import output_key
from infrastructure.workspace.restore import WorkspaceParts, restore_workspace
from infrastructure.workspace.sqlite_copy import SqliteCopier
from infrastructure.workspace.state import RestoredWorkspace, WorkspaceState
from infrastructure.workspace.sync import Syncer

_THREADS = 6
TRANSFERS = 8
_MAX_WAITING = 16
_CHUNK_TIMEOUT_S = 60.0
Answer = TypeVar("Answer")


class WorkspaceEngine:
    """Owns the folder. `inherited` is the executor's own environment, of which agents get a short list.
    `quiesce` ends every process but the executor; it is awaited, with the request's `session_seq`, before a gate sync
    reads a file, and raises Conflict when an agent was started since. `agent_user`: whom agents run as, where that is
    not us.
    """

    def __init__(
        self,
        *,
        workspace_dir: Path,
        home_dir: Path,
        state_dir: Path,
        store: S3ObjectStore,
        generation: int,
        quiesce: Callable[[int], Awaitable[None]],
        inherited: Mapping[str, str],
        agent_user: int | None = None,
    ) -> None:
        self._inherited = inherited
        state = WorkspaceState(state_dir)
        if state.restored() is None:
            # Later on a missing folder is a loss: one made here would pass for a workspace that was emptied.
            workspace_dir.mkdir(parents=True, exist_ok=True)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="workspace")
        self._transfers = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="transfer")
        tree = ConfinedTree(str(workspace_dir), owner=agent_user)
        self._parts = WorkspaceParts(
            tree=tree,
            state=state,
            store=store,
            transfers=self._transfers,
            home=AgentHome(home_dir, Path(tree.root)),
            databases=SqliteCopier(tree, user=agent_user),
        )
        self._syncer = Syncer(self._parts, generation)
        self._generation = generation
        self._quiesce = quiesce
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._work: set[asyncio.Future[Any]] = set()
        self._marker = self._parts.state.restored()
        self.gate_closing = False

    @property
    def root(self) -> str:
        """The folder that `/workspace` means."""
        return self._parts.tree.root

    @property
    def store(self) -> S3ObjectStore:
        return self._parts.store

    @property
    def marker(self) -> RestoredWorkspace | None:
        """What this generation's completed restore left on record; None before."""
        if self._marker is not None and self._marker.generation == self._generation:
            return self._marker
        return None

    def require_restored(self) -> RestoredWorkspace:
        """Raises NotRestored."""
        if self.marker is None:
            raise NotRestored
        return self.marker

    def environment(self) -> dict[str, str]:
        """The environment of an agent, but what its run adds."""
        return self._parts.home.environment(self.require_restored().agent_data, self._inherited)

    async def restore(self, request: RestoreRequest) -> RestoreResult:
        check_object_prefix("workspaceS3Prefix", request.workspace_s3_prefix)

        async def work() -> RestoreResult:
            result = await self._in_thread(partial(restore_workspace, self._parts, request))
            self._marker = await self._in_thread(self._parts.state.restored)
            return result

        return await self._in_turn(work)

    async def link_agent_data(self) -> LinkResult:
        agent_data = self.require_restored().agent_data
        return await self._in_turn(
            lambda: self._in_thread(partial(self._parts.home.link, self._parts.tree, agent_data))
        )

    async def validate(self, required_paths: tuple[str, ...]) -> ValidateResult:
        """Whether every path is there. A link counts as what it is, wherever it leads."""
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
                return await self._in_thread(partial(self._syncer.sync, request))
            self.gate_closing = True
            try:
                await self._quiesce(request.session_seq)
                return await self._in_thread(partial(self._syncer.sync, request))
            finally:
                self.gate_closing = False

        return await self._in_turn(work)

    def sync_progress(self) -> SyncProgress:
        """How far the sync under way has got."""
        return self._syncer.progress.shown()

    async def put_output(self, content_hash: str, body: bytes) -> str:
        """Store tool output below the workspace's prefix; the answer is its key."""
        key = output_key(self.require_restored().workspace_s3_prefix, content_hash)
        await self._in_thread(partial(self._parts.store.put, key, body))
        return key

    async def tree(self, path: str) -> tuple[TreeEntry, ...]:
        return await self._in_thread(partial(list_tree, self._parts.tree, path))

    async def read_file(self, path: str) -> tuple[AsyncIterator[bytes], int]:
        """The file's bytes in chunks, and its size when it was opened."""
        fd, size = await self._in_thread(partial(open_for_reading, self._parts.tree, path))
        return self._chunks_of(fd), size

    async def write_file(self, path: str, spooled: Path) -> None:
        """Put the content of a spooled file in the place of `path`, at once. Keeps the place's permission bits."""
        self.require_restored()
        if self.gate_closing:
            raise Conflict("a gate sync is under way; nothing may be written now", "busy")
        below = relative(check_workspace_path("path", path))
        await self._in_thread(partial(_replace_file, self._parts.tree, below, spooled))

    async def download(self, path: str) -> AsyncIterator[bytes]:
        """A tar of a folder, in chunks. Raises NotFound before the first."""
        below = relative(check_workspace_path("path", path))

        def check() -> None:
            with self._parts.tree.directory(below):
                pass

        await self._in_thread(check)
        agent_data = self.marker.agent_data if self.marker else ".agent_data"
        return self._tar(path, agent_data)

    async def _tar(self, path: str, agent_data: str) -> AsyncIterator[bytes]:
        chunks = queue_of_chunks()
        writing = self._owned(partial(tar_chunks, self._parts.tree, path, agent_data=agent_data, chunks=chunks))
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
        """Wait for the work under way (each part of it is bounded), then give the threads back."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._transfers.shutdown(wait=True, cancel_futures=True)
        self._parts.tree.close()

    async def _in_turn(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Restores, links and syncs wait in line. A caller that goes away doesn't stop work that has begun."""
        if self._waiting >= _MAX_WAITING:
            raise Conflict(f"{_MAX_WAITING} calls wait for the workspace already", "busy")

        async def turn() -> Answer:
            self._waiting += 1
            try:
                async with self._turn:
                    return await work()
            finally:
                self._waiting -= 1

        task = asyncio.ensure_future(turn())
        self._keep(task)
        return await asyncio.shield(task)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.shield(self._owned(work))

    def _owned(self, work: Callable[[], Answer]) -> "asyncio.Future[Answer]":
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._keep(future)
        return future

    def _keep(self, future: "asyncio.Future[Answer]") -> None:
        self._work.add(future)

        def forget(done: "asyncio.Future[Answer]") -> None:
            self._work.discard(done)
            if not done.cancelled():
                done.exception()  # seen: the caller that went away would have told it

        future.add_done_callback(forget)


def _replace_file(tree: ConfinedTree, path: str, spooled: Path) -> None:
    found = tree.lstat(path)
    mode = found.st_mode & 0o777 if found is not None else 0o644

    def fill(write: Callable[[bytes], object]) -> int:
        for chunk in read_chunks(os.open(spooled, os.O_RDONLY)):
            write(chunk)
        return mode

    tree.write_file(path, fill, replace_parents=False)
