"""opencode's permission requests and questions as events, and people's answers as HTTP requests to it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from domain.event import Event
from domain.run.events import HumanLoopCanceled, HumanLoopRequested
from domain.run.values import Option
from infrastructure.executor.providers.contract import ReplyNotDelivered
from infrastructure.executor.providers.human_answers import PERMISSION_OPTIONS, QuestionSet, permission_answer

_DIFF_CHARS = 4000


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The POST request that delivers an answer to opencode."""

    path: str
    body: dict[str, Any]


class _OpenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`questions` is None for a permission."""

    request_id: str
    questions: QuestionSet | None = None


class OpencodeQuestions:
    """The open requests of one opencode, sub-agents included. A request that is reported twice is asked once."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms
        self._open: dict[str, _OpenRequest] = {}
        self._requests: set[str] = set()

    def asked(self, kind: str, request: dict[str, Any]) -> Iterator[Event]:
        """The events of a `permission.asked` or `question.asked`."""
        if request["id"] in self._requests:
            return
        self._requests.add(request["id"])
        yield from self._permission(request) if kind == "permission.asked" else self._questions(request)

    def answer(self, question_id: str, answer: Any) -> Reply | None:
        """The request to send; None while other questions of the same request are open. Raises ReplyNotDelivered."""
        asked = self._open.get(question_id)
        if asked is None:
            raise ReplyNotDelivered("opencode does not wait for it any more")
        if asked.questions is None:
            reply = Reply(path=f"/permission/{asked.request_id}/reply", body=_permission_reply(answer))
        else:
            answers = asked.questions.answer(question_id, answer)
            if answers is None:
                return None
            reply = Reply(path=f"/question/{asked.request_id}/reply", body={"answers": answers})
        self._forget(asked.request_id)
        return reply

    def settled(self, request_id: str) -> Iterator[Event]:
        """A request is settled: if nobody answered it (another answer decided it, too), its questions are canceled."""
        for question_id in self._forget(request_id):
            yield HumanLoopCanceled(question_id=question_id, reason="opencode settled it along with another one")

    def _permission(self, request: dict[str, Any]) -> Iterator[Event]:
        self._open[request["id"]] = _OpenRequest(request_id=request["id"])
        about = request.get("metadata") or {}
        what = about.get("command") or about.get("filepath") or ", ".join(request.get("patterns") or ())
        diff = about.get("diff")
        yield HumanLoopRequested(
            question_id=request["id"],
            kind="permission",
            prompt=f"{request['permission']}: {what}" + (f"\n{diff[:_DIFF_CHARS]}" if diff else ""),
            options=PERMISSION_OPTIONS,
            timeout_ms=self._timeout_ms,
        )

    def _questions(self, request: dict[str, Any]) -> Iterator[Event]:
        questions = QuestionSet(request["id"], len(request["questions"]))
        for question_id, question in zip(questions.ids, request["questions"], strict=True):
            self._open[question_id] = _OpenRequest(request_id=request["id"], questions=questions)
            several = " (several may be chosen)" if question.get("multiple") else ""
            yield HumanLoopRequested(
                question_id=question_id,
                prompt=question["question"] + several,
                options=tuple(
                    Option(label=option["label"], description=option.get("description", ""))
                    for option in question.get("options", ())
                ),
                timeout_ms=self._timeout_ms,
            )

    def _forget(self, request_id: str) -> list[str]:
        ids = [question_id for question_id, asked in self._open.items() if asked.request_id == request_id]
        for question_id in ids:
            del self._open[question_id]
        return ids


def _permission_reply(answer: Any) -> dict[str, Any]:
    decided = permission_answer(answer)
    if decided.decision == "deny":
        # Without a message opencode would end the turn.
        return {"reply": "reject", "message": decided.message or "The user does not allow this."}
    return {"reply": "always" if decided.decision == "session" else "once"}
