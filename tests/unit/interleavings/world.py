"""The outside of one session: its containers with their executors and agents, and what the object store holds."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from application.executor_protocol import (
    ExecutorHealth,
    LinkResult,
    RestoreRequest,
    RestoreResult,
    RunState,
    StartRequest,
    SyncRequest,
    SyncResult,
    ValidateRequest,
    ValidateResult,
    WorkspaceCall,
)
from application.ports.executor import ExecutorError
from application.ports.worker_runtime import ContainerGone, ContainerInfo, ContainerSpec
from domain.session.state import Running
from tests.support.sessions import sync_ref
from tests.unit.interleavings.asking import Ask

SESSION = "s1"


@dataclass(frozen=True)
class Box:
    """One container. `content`: the version of its workspace; `agent`: the run whose agent is alive in it; `runs`:
    those whose journal is in it; `last_start`: the newest place in the stream that an agent.s start named."""

    generation: int
    status: Literal["created", "running", "exited"] = "created"
    boot: int = 0
    maintenance: bool = False
    restored: bool = False
    content: int = 0
    agent: str = ""
    runs: tuple[str, ...] = ()
    last_start: int = 0


@dataclass(frozen=True)
class World:
    """`stored`: the versions that are in the object store. `versions`: how many the agents have made so far. `ran`: the
    runs whose agent has started, wherever."""

    boxes: tuple[Box, ...] = ()
    stored: frozenset[int] = frozenset({0})
    boots: int = 0
    versions: int = 0
    ran: frozenset[str] = frozenset()

    def box(self, generation: int) -> Box | None:
        return next((box for box in self.boxes if box.generation == generation), None)

    def with_box(self, box: Box) -> "World":
        others = [each for each in self.boxes if each.generation != box.generation]
        return replace(self, boxes=tuple(sorted([*others, box], key=lambda each: each.generation)))

    def without(self, generation: int) -> "World":
        return replace(self, boxes=tuple(box for box in self.boxes if box.generation != generation))


def generation_of(container_id: str) -> int:
    return int(container_id.removeprefix("c"))


def _proven(model: Any, box: Box) -> bool:
    """Whether what is in a container has reached the object store, and the log names it."""
    return box.content in model.world.stored and model.state.last_sync == sync_ref(box.content)


class WorldRuntime:
    """A WorkerRuntime on the model's world; `create` and `start` are idempotent, as the port wants them."""

    name = "model"

    async def create(self, spec: ContainerSpec) -> ContainerInfo:
        def make(model: Any) -> ContainerInfo:
            world = model.world
            if world.box(spec.generation) is None:
                model.world = world.with_box(Box(spec.generation))
            return _info(model.world.box(spec.generation))

        return await Ask("act", "create", make)

    async def start(self, spec: ContainerSpec, container_id: str, *, maintenance: bool = False) -> ContainerInfo:
        def start(model: Any) -> ContainerInfo:
            world, box = model.world, model.world.box(generation_of(container_id))
            if box is None:
                raise ContainerGone(container_id)
            others = [each for each in world.boxes if each.status == "running" and each != box]
            assert not others, f"a second container runs beside {box}: {others}"
            if box.status != "running" or box.maintenance != maintenance:
                assert not box.agent, f"an agent dies because its container is started for something else: {box}"
                box = replace(box, status="running", boot=world.boots + 1, maintenance=maintenance)
                model.world = replace(world.with_box(box), boots=box.boot)
            return _info(box)

        return await Ask("act", f"start{' maintenance' if maintenance else ''}", start)

    async def stop(self, spec: ContainerSpec, container_id: str) -> None:
        def stop(model: Any) -> None:
            box = model.world.box(generation_of(container_id))
            if box is not None:
                if box.status == "running" and box.restored:
                    assert not box.agent, f"an agent dies with its container: {box}"
                    assert _proven(model, box), f"stopped without a proven sync: {box}, {model.state.last_sync}"
                model.world = model.world.with_box(replace(box, status="exited"))

        await Ask("act", "stop", stop)

    async def remove(self, spec: ContainerSpec, container_id: str) -> None:
        def remove(model: Any) -> None:
            box = model.world.box(generation_of(container_id))
            if box is not None:
                given_up = model.reader.given_up and box.generation == model.state.generation
                assert given_up or not box.restored or _proven(model, box), f"removed without a proven sync: {box}"
                model.world = model.world.without(box.generation)

        await Ask("act", "remove", remove)

    async def inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        def look(model: Any) -> ContainerInfo | None:
            box = model.world.box(generation_of(container_id))
            return _info(box) if box else None

        return await Ask("look", "inspect", look)


def _info(box: Box) -> ContainerInfo:
    return ContainerInfo(
        container_id=f"c{box.generation}",
        runtime="model",
        daemon_id="d1",
        status=box.status,
        url=f"http://b{box.boot}" if box.status == "running" else "",
    )


class WorldExecutors:
    """An ExecutorDirectory: an executor answers at the address of its boot, for as long as that lives."""

    def executor(
        self, *, session_id: str, generation: int, url: str, run_id: str = "", storage: Any = None
    ) -> "WorldExecutor":
        return WorldExecutor(int(url.removeprefix("http://b")))


class WorldExecutor:
    def __init__(self, boot: int) -> None:
        self._boot = boot

    def _box(self, model: Any, path: str, generation: int | None = None) -> Box:
        for box in model.world.boxes:
            if box.boot == self._boot and box.status == "running":
                if generation not in {None, box.generation}:
                    raise refused(path, "fenced")
                return box
        raise ExecutorError("no answer", kind="network", path=path, attempt=1, max_attempts=1)

    async def health(self) -> ExecutorHealth:
        def look(model: Any) -> ExecutorHealth:
            box = self._box(model, "/health")
            return ExecutorHealth(boot_id=f"b{box.boot}", session_id=SESSION, generation=box.generation)

        return await Ask("look", "health", look)

    async def restore(self, request: RestoreRequest) -> RestoreResult:
        def restore(model: Any) -> RestoreResult:
            box = self._box(model, "/workspace/restore", request.generation)
            sync = request.plan.session_sync
            if not box.restored:
                content = int(sync.manifest_hash, 16) if sync else 0
                assert content in model.world.stored
                model.world = model.world.with_box(replace(box, restored=True, content=content))
            return RestoreResult(files=1, bytes=1, sync=sync)

        return await Ask("act", "restore", restore)

    async def link_agent_data(self, request: WorkspaceCall) -> LinkResult:
        def link(model: Any) -> LinkResult:
            assert self._box(model, "/workspace/link-agent-data", request.generation).restored
            return LinkResult()

        return await Ask("look", "link", link)

    async def validate(self, request: ValidateRequest) -> ValidateResult:
        def look(model: Any) -> ValidateResult:
            assert self._box(model, "/workspace/validate", request.generation).restored
            return ValidateResult(ok=True)

        return await Ask("look", "validate", look)

    async def sync(self, request: SyncRequest) -> SyncResult:
        def sync(model: Any) -> SyncResult:
            box = self._box(model, "/workspace/sync", request.generation)
            if not box.restored:
                raise refused("/workspace/sync", "workspace_not_restored")
            if request.gate:
                if request.session_seq < box.last_start:
                    raise refused("/workspace/sync", "gate_overtaken")
                assert not box.agent, f"a gate sync ends an agent that nobody asked to end: {box}"
            model.world = replace(model.world, stored=model.world.stored | {box.content})
            return SyncResult(sync=sync_ref(box.content), unchanged=request.previous == sync_ref(box.content))

        return await Ask("act", f"sync {request.reason}", sync)

    async def start_run(self, request: StartRequest) -> RunState:
        def start(model: Any) -> RunState:
            box = self._box(model, "/provider-runs/start", request.generation)
            if box.maintenance or not box.restored:
                raise refused("/provider-runs/start", "maintenance" if box.maintenance else "workspace_not_restored")
            if request.run_id not in box.runs:
                assert request.run_id not in model.world.ran, f"the agent of {request.run_id} starts a second time"
                assert not box.agent, f"two agents at a time: {box}, {request.run_id}"
                assert isinstance(model.state.lifecycle, Running), "an agent starts on a worker that does not run"
                assert model.state.attached_runs == (request.run_id,), "an agent starts without being attached"
                box = replace(
                    box,
                    agent=request.run_id,
                    runs=(*box.runs, request.run_id),
                    last_start=max(box.last_start, request.session_seq),
                )
                model.world = replace(model.world.with_box(box), ran=model.world.ran | {request.run_id})
            return self._state(box, request.run_id)

        return await Ask("act", "start run", start)

    async def run_state(self, run_id: str) -> RunState | None:
        def look(model: Any) -> RunState | None:
            box = self._box(model, "/provider-runs")
            return self._state(box, run_id) if run_id in box.runs else None

        return await Ask("look", "run state", look)

    def _state(self, box: Box, run_id: str) -> RunState:
        return RunState(run_id=run_id, attempt=1, boot_id="", entries=0, finished=box.agent != run_id)


def refused(path: str, reason: str) -> ExecutorError:
    return ExecutorError(reason, kind="http", status=409, reason=reason, path=path, attempt=1, max_attempts=1)
