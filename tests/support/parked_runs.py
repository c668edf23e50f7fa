"""A scene with a run that is about to be parked."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from application.ports.run_queue import RunLease
from domain.run.commands import CancelRun, ReplyToQuestion
from domain.run.state import Run
from tests.support.world_in_memory import World, context, until

QUIET_S = 0.05


@dataclass
class Scene:
    made: World
    lease: RunLease

    async def execute(self, generation: int = 1) -> Run:
        lease = RunLease(run_id="r", owner=f"w{generation}", generation=generation)
        self.made.queue.leased["r"] = lease
        ended = await self.made.executions.execute(lease, retry_delay=self.made.retry_delay)
        assert ended is not None
        return ended

    async def ask(self, question_id: str = "q") -> None:
        executor = self.made.executor(session_id="s")
        await executor.started("r")
        await executor.say("r", "human_loop.requested", questionId=question_id)

    async def reply(self, question_id: str = "q") -> None:
        reply = ReplyToQuestion(question_id=question_id, answer="yes")
        await self.made.runs.handle("r", reply, context(f"reply/{question_id}"))

    async def woken(self) -> None:
        await until(self.made.log, lambda: "r" in self.made.queue.waiting)

    def count(self, type_: str) -> int:
        return self.made.log.types("run:r").count(type_)

    def last(self, kind: type[Any]) -> Any:
        return [event.event for event in self.made.log.of("run:r") if isinstance(event.event, kind)][-1]


Trouble = Callable[[Scene], Coroutine[Any, Any, None]]


async def cancel(stage: Scene) -> None:
    await stage.made.runs.handle("r", CancelRun(), context("cancel"))


async def nothing(_stage: Scene) -> None: ...
