"""Effects that a run asks of its session and its agent."""

from application.effects.effect import ClaimedEffect, EffectFailed, EffectObsolete
from application.effects.workers import Workers
from application.executor_protocol import ReplyRequest
from application.ports import ExecutorError
from application.run_commands import Runs
from domain.errors import Conflict, NotFound
from domain.run.commands import RecordReplyUndeliverable
from domain.run.state import Run
from domain.session.commands import DetachRun, RequestSync


class _RunEffect:
    def __init__(self, *, runs: Runs, workers: Workers) -> None:
        self._runs, self._workers = runs, workers

    async def _run(self, effect: ClaimedEffect) -> Run:
        loaded = await self._runs.load(effect.params["runId"])
        if loaded.state is None:
            raise EffectObsolete(f"no run {effect.params['runId']} is known")
        return loaded.state


class RequestSyncOfRun(_RunEffect):
    """After a `message.stop`: an incremental sync of the run's session, if its worker runs."""

    async def perform(self, effect: ClaimedEffect) -> None:
        run = await self._run(effect)
        command = RequestSync(sync_id=effect.params["syncId"], reason="message.stop", run_id=effect.params["runId"])
        try:
            await self._workers.sessions.handle(run.session_id, command, effect.context("requested"))
        except (NotFound, Conflict) as error:
            raise EffectObsolete(str(error)) from error

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        """Nothing to record: the run's final sync follows anyway."""


class DetachRunFromSession(_RunEffect):
    async def perform(self, effect: ClaimedEffect) -> None:
        run = await self._run(effect)
        try:
            await self._workers.sessions.handle(
                run.session_id, DetachRun(run_id=effect.params["runId"]), effect.context("detached")
            )
        except NotFound as error:
            raise EffectObsolete(str(error)) from error

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        """Nothing to record: the dead letter shows which run still holds its session."""


class DeliverReply(_RunEffect):
    """Bring an accepted answer into the running agent. That it arrived is in the agent's journal, and so in the log."""

    async def perform(self, effect: ClaimedEffect) -> None:
        run = await self._run(effect)
        run_id, question_id = effect.params["runId"], effect.params["questionId"]
        question = run.questions.get(question_id)
        if question is None or question.status != "answering":
            raise EffectObsolete("the question is closed")
        worker = await self._workers.find(run.session_id)
        reply = ReplyRequest(question_id=question_id, answer=question.answer)
        try:
            await self._workers.executor(worker, run_id).reply(run_id, reply)
        except ExecutorError as error:
            if error.reason == "question_not_open":
                # Perhaps by this very answer, delivered by a try that died before it could tell.
                raise EffectObsolete("the question is closed; the agent's journal tells how") from error
            if error.kind == "http" and error.status in {404, 409}:
                command = RecordReplyUndeliverable(question_id=question_id, reason=f"not delivered: {error}")
                await self._runs.handle(run_id, command, effect.context("undeliverable"))
                return
            raise EffectFailed(str(error)) from error

    async def give_up(self, effect: ClaimedEffect, error: str) -> None:
        command = RecordReplyUndeliverable(
            question_id=effect.params["questionId"], reason=f"the answer could not be delivered: {error}"
        )
        await self._runs.handle(effect.params["runId"], command, effect.context("given_up"))
