"""Effects on containers: create, start, start in maintenance, stop, remove."""

from typing import Literal

from application.ports.effect_handler import EffectObsolete
from application.ports.effect_ledger import ClaimedEffect
from application.ports.worker_runtime import ContainerGone
from application.sessions.session_workers import LoadedWorker, SessionWorkers
from domain.session.commands import (
    CancelRemove,
    FailActivation,
    RecordContainerCreated,
    RecordContainerStarted,
    RecordRemoved,
    RecordStopped,
)
from domain.session.state import Activating, Container, Removing, Stopped, Stopping


class _ContainerEffect:
    def __init__(self, workers: SessionWorkers) -> None:
        self._workers = workers

    async def _worker(self, effect: ClaimedEffect) -> LoadedWorker:
        return await self._workers.find(effect.params["sessionId"], effect.params["generation"])


class CreateContainer(_ContainerEffect):
    async def perform(self, effect: ClaimedEffect) -> None:
        worker = await self._worker(effect)
        if not isinstance(worker.state.lifecycle, Activating) or worker.state.container is not None:
            raise EffectObsolete("the container is there, or no longer wanted")
        info = await self._workers.runtime.create(self._workers.spec(worker))
        container = Container(container_id=info.container_id, runtime=info.runtime, daemon_id=info.daemon_id)
        await self._workers.sessions.handle(
            worker.session_id,
            RecordContainerCreated(generation=worker.state.generation, container=container),
            effect.context("created"),
        )

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        await fail_activation(self._workers, effect, "create", error)


class StartContainer(_ContainerEffect):
    async def perform(self, effect: ClaimedEffect) -> None:
        worker = await self._worker(effect)
        if not isinstance(worker.state.lifecycle, Activating):
            raise EffectObsolete("the worker is not being activated any more")
        info = await self._workers.start(worker, effect.context)
        if info is None:
            return
        boot = await self._workers.boot_of(worker, info.url)
        await self._workers.sessions.handle(
            worker.session_id,
            RecordContainerStarted(generation=worker.state.generation, boot=boot, purpose="activation"),
            effect.context("started"),
        )

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        await fail_activation(self._workers, effect, "start", error)


class StartMaintenance(_ContainerEffect):
    async def perform(self, effect: ClaimedEffect) -> None:
        worker = await self._worker(effect)
        if not isinstance(worker.state.lifecycle, Stopped) or worker.state.lifecycle.remove is None:
            raise EffectObsolete("the removal was canceled")
        info = await self._workers.start(worker, effect.context, maintenance=True)
        if info is None:
            return
        boot = await self._workers.boot_of(worker, info.url)
        await self._workers.sessions.handle(
            worker.session_id,
            RecordContainerStarted(generation=worker.state.generation, boot=boot, purpose="maintenance"),
            effect.context("started"),
        )

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        generation = effect.params["generation"]
        command = CancelRemove(generation=generation, reason=f"it could not be started in maintenance: {error}")
        await self._workers.sessions.handle(effect.params["sessionId"], command, effect.context("given_up"))


class StopContainer(_ContainerEffect):
    async def perform(self, effect: ClaimedEffect) -> None:
        worker = await self._worker(effect)
        if not isinstance(worker.state.lifecycle, Stopping):
            raise EffectObsolete("the worker is not on its way down any more")
        if await self._workers.gone(worker, effect.context):
            return
        try:
            await self._workers.runtime.stop(self._workers.spec(worker), worker.container_id)
        except ContainerGone:
            await self._workers.gone(worker, effect.context)
            return
        await self._workers.sessions.handle(
            worker.session_id, RecordStopped(generation=worker.state.generation), effect.context("stopped")
        )

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        """Nothing to record: the worker stays in Stopping, and the dead letter shows why."""


class RemoveContainer(_ContainerEffect):
    async def perform(self, effect: ClaimedEffect) -> None:
        worker = await self._worker(effect)
        if not isinstance(worker.state.lifecycle, Removing):
            raise EffectObsolete("the worker is not being removed any more")
        await self._workers.remove(worker)
        await self._workers.sessions.handle(
            worker.session_id, RecordRemoved(generation=worker.state.generation), effect.context("removed")
        )

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        """Nothing to record: the worker stays in Removing, and the dead letter shows why."""


async def fail_activation(
    workers: SessionWorkers,
    effect: ClaimedEffect,
    step: Literal["create", "start", "restore", "link", "validate"],
    error: str,
) -> None:
    """Record that an activation's step was given up."""
    command = FailActivation(generation=effect.params["generation"], step=step, error=error)
    await workers.sessions.handle(effect.params["sessionId"], command, effect.context("given_up"))
