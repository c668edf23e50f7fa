"""The effect of a run on its agent: an answer is delivered."""

from application.executor_protocol import ReplyRequest
from application.ports.effect_handler import EffectFailed, EffectObsolete
from application.ports.effect_ledger import ClaimedEffect
from application.ports.executor import ExecutorError
from application.runs.commands import Runs
from application.sessions.session_workers import SessionWorkers
from domain.run.commands import RecordReplyUndeliverable


class DeliverReply:
    """Deliver an accepted answer to the running agent. Its arrival is recorded through the agent's journal."""

    def __init__(self, *, runs: Runs, workers: SessionWorkers) -> None:
        self._runs, self._workers = runs, workers

    async def perform(self, effect: ClaimedEffect) -> None:
        run_id, question_id = effect.params["runId"], effect.params["questionId"]
        run = (await self._runs.load(run_id)).state
        if run is None:
            raise EffectObsolete(f"no run {run_id} is known")
        question = run.question(question_id)
        if question is None or question.status != "answering":
            raise EffectObsolete("the question is closed")
        worker = await self._workers.find(run.session_id)
        reply = ReplyRequest(question_id=question_id, answer=question.answer)
        try:
            await self._workers.executor(worker, run_id).reply(run_id, reply)
        except ExecutorError as error:
            if error.reason == "question_not_open":
                # Perhaps by this answer, if an earlier attempt delivered it and died before it was settled.
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
