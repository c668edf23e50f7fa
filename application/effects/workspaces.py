"""Effects on workspaces: restore, link agent data, validate, and sync with its gate."""

from application.effects.containers import fail_activation
from application.executor_protocol import OVER_QUOTA, RestoreRequest, ValidateRequest
from application.ports.effect_handler import EffectFailed, EffectObsolete
from application.ports.effect_ledger import ClaimedEffect
from application.ports.executor import ExecutorError
from application.ports.object_store import ObjectStoreError
from application.ports.worker_runtime import RuntimeUnavailable, StartFailed
from application.sessions.session_workers import LoadedWorker, SessionWorkers
from application.sessions.workspace_syncs import WorkspaceSyncs
from domain.session.commands import (
    RecordAgentDataLinked,
    RecordSyncFailed,
    RecordWorkspaceRestored,
    RecordWorkspaceValidated,
)
from domain.session.state import Activating, Running, Stopped

NOT_OURS = frozenset({"", "unauthorized", "fenced", "bad_answer"})
"""The reasons of refusals that show that another program answers at the executor's address: the right executor accepts
its token and generation, and gives each refusal a reason."""


class _WorkspaceEffect:
    def __init__(self, workers: SessionWorkers) -> None:
        self._workers = workers

    async def _activating(self, effect: ClaimedEffect) -> LoadedWorker:
        worker = await self._workers.find(effect.params["sessionId"], effect.params["generation"])
        if not isinstance(worker.state.lifecycle, Activating):
            raise EffectObsolete("the worker is not being activated any more")
        return worker


class RestoreWorkspace(_WorkspaceEffect):
    async def perform(self, effect: ClaimedEffect) -> None:
        worker = await self._activating(effect)
        if worker.state.fork is not None and worker.state.fork.content in {"copying", "failed"}:
            raise EffectFailed(worker.state.fork.error or "the files of this fork are still being copied")
        call = worker.call()
        result = await self._workers.executor(worker).restore(
            RestoreRequest(
                session_id=call.session_id,
                container_id=call.container_id,
                generation=call.generation,
                plan=worker.state.plan,
                workspace_s3_prefix=worker.state.workspace_prefix,
            )
        )
        await self._workers.sessions.handle(
            worker.session_id,
            RecordWorkspaceRestored(
                generation=call.generation, files=result.files, bytes=result.bytes, sync=result.sync
            ),
            effect.context("restored"),
        )

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        await fail_activation(self._workers, effect, "restore", error)


class LinkAgentData(_WorkspaceEffect):
    async def perform(self, effect: ClaimedEffect) -> None:
        worker = await self._activating(effect)
        result = await self._workers.executor(worker).link_agent_data(worker.call())
        await self._workers.sessions.handle(
            worker.session_id,
            RecordAgentDataLinked(generation=worker.state.generation, linked=result.linked, migrated=result.migrated),
            effect.context("linked"),
        )

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        await fail_activation(self._workers, effect, "link", error)


class ValidateWorkspace(_WorkspaceEffect):
    async def perform(self, effect: ClaimedEffect) -> None:
        worker = await self._activating(effect)
        call = worker.call()
        result = await self._workers.executor(worker).validate(
            ValidateRequest(
                session_id=call.session_id,
                container_id=call.container_id,
                generation=call.generation,
                required_paths=worker.state.plan.required_paths,
            )
        )
        await self._workers.sessions.handle(
            worker.session_id,
            RecordWorkspaceValidated(generation=call.generation, missing_required_paths=result.missing_required_paths),
            effect.context("validated"),
        )

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        await fail_activation(self._workers, effect, "validate", error)


class SyncWorkspace:
    """Every sync, gate syncs included. If its executor has ended, a running session worker is revived first; if it dies
    meanwhile, for the next try. The refusal of a workspace beyond its limits is final."""

    def __init__(self, workers: SessionWorkers, syncs: WorkspaceSyncs) -> None:
        self._workers, self._syncs = workers, syncs

    async def perform(self, effect: ClaimedEffect) -> None:
        worker = await self._workers.find(effect.params["sessionId"], effect.params["generation"])
        sync_id = self._sync_id(effect, worker)
        worker = await self._up(effect, worker)
        try:
            await self._syncs.sync(worker, sync_id, effect.context, attempt=effect.attempt)
        except ExecutorError as error:
            hopeless = error.reason == OVER_QUOTA
            await self._record_failure(effect, worker, sync_id, str(error), final=hopeless)
            if hopeless:
                raise EffectObsolete(str(error)) from error
            await self._look_after(effect, worker, error)
            raise EffectFailed(str(error)) from error
        except ObjectStoreError as error:
            await self._record_failure(effect, worker, sync_id, str(error), final=False)
            raise EffectFailed(str(error)) from error

    async def _up(self, effect: ClaimedEffect, worker: LoadedWorker) -> LoadedWorker:
        """The worker with an executor, as far as that can be had: the sync says what is wrong where it can't."""
        if not isinstance(worker.state.lifecycle, Running):
            return worker
        try:
            if await self._workers.is_up(worker):
                return worker
            revived = await self._workers.revive(worker, effect.context)
        except (ExecutorError, RuntimeUnavailable, StartFailed):
            return worker
        if revived is None:
            raise EffectObsolete("the container is gone")
        return revived

    async def _look_after(self, effect: ClaimedEffect, worker: LoadedWorker, error: ExecutorError) -> None:
        """After a failed sync: a container that is gone is recorded as lost (its executor may still answer for a while,
        but nothing can be synced any more). An executor that has died, or that another one answers for, is started
        again."""
        try:
            if await self._workers.gone(worker, effect.context):
                raise EffectObsolete(f"the container is gone; its sync had failed: {error}")
            present = error.kind == "http" and error.reason not in NOT_OURS
            if not present and isinstance(worker.state.lifecycle, Running):
                await self._workers.revive(worker, effect.context)
        except (ExecutorError, RuntimeUnavailable, StartFailed) as also:
            raise EffectFailed(f"{error}; and then: {also}") from error

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        worker = await self._workers.find(effect.params["sessionId"], effect.params["generation"])
        await self._record_failure(effect, worker, self._sync_id(effect, worker), error, final=True)

    async def _record_failure(
        self, effect: ClaimedEffect, worker: LoadedWorker, sync_id: str, error: str, *, final: bool
    ) -> None:
        await self._workers.sessions.handle(
            worker.session_id,
            RecordSyncFailed(
                generation=worker.state.generation,
                sync_id=sync_id,
                error=error,
                attempt=effect.attempt,
                final=final,
            ),
            effect.context("given_up" if final else f"failed/{effect.attempt}"),
        )

    def _sync_id(self, effect: ClaimedEffect, worker: LoadedWorker) -> str:
        if effect.kind == "workspace.sync":
            return str(effect.params["syncId"])
        if isinstance(worker.state.lifecycle, Stopped) and worker.state.lifecycle.remove is not None:
            return worker.state.lifecycle.remove.sync_id
        raise EffectObsolete("the removal was canceled")
