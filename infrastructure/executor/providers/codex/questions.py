"""Codex's requests to its client: approvals and questions for people; all others are refused."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from domain.event import Event
from domain.run.events import HumanLoopCanceled, HumanLoopRequested
from domain.run.values import Option, QuestionKind
from infrastructure.executor.providers.codex.items import describe_changes
from infrastructure.executor.providers.contract import ReplyNotDelivered
from infrastructure.executor.providers.human_answers import (
    PERMISSION_OPTIONS,
    PermissionAnswer,
    QuestionSet,
    permission_answer,
)
from infrastructure.executor.providers.provider_warnings import UnknownOutput, warning

_FILES = "item/fileChange/requestApproval"
_PERMISSIONS = "item/permissions/requestApproval"
_ELICITATION = "mcpServer/elicitation/request"
_DECISIONS = {"once": "accept", "session": "acceptForSession", "deny": "decline"}
_METHOD_NOT_FOUND = -32601


class _OpenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that waits for an answer. `questions` is None for a permission."""

    request_id: int | str
    method: str
    params: dict[str, Any]
    questions: QuestionSet | None = None


class CodexQuestions:
    """The open requests of one Codex. Responses that need no person are appended to `outbox`."""

    def __init__(self, timeout_ms: int, outbox: list[dict[str, Any]], unknown_output: UnknownOutput) -> None:
        self._timeout_ms, self._outbox, self._unknown_output = timeout_ms, outbox, unknown_output
        self._open: dict[str, _OpenRequest] = {}
        self._used: set[str] = set()
        self._files_allowed = False

    def requested(self, request: Mapping[str, Any], item: Mapping[str, Any] | None) -> Iterator[Event]:
        """The events of a request; `item` is the item that it is about, if known."""
        asked = _OpenRequest(request_id=request["id"], method=request["method"], params=request.get("params") or {})
        params = asked.params
        match asked.method:
            case "item/commandExecution/requestApproval":
                yield self._permission(asked, _command_prompt(params))
            case "item/fileChange/requestApproval":
                if self._files_allowed:
                    self._outbox.append(_response(asked, {"decision": "accept"}))
                    return
                what = describe_changes(item) if item is not None else params.get("grantRoot") or "files"
                yield self._permission(asked, _with_reason(f"Change files: {what}", params))
            case "item/permissions/requestApproval":
                wanted = msgspec.json.encode(params.get("permissions")).decode()
                yield self._permission(asked, _with_reason(f"Grant permissions: {wanted}", params))
            case "mcpServer/elicitation/request":
                yield self._elicitation(asked)
            case "item/tool/requestUserInput":
                yield from self._questions(asked)
            case _:
                message = f"Fleetlog does not know {asked.method}"
                self._outbox.append({"id": asked.request_id, "error": {"code": _METHOD_NOT_FOUND, "message": message}})
                yield from self._unknown_output.warn_once(asked.method, msgspec.json.encode(request))

    def answer(self, question_id: str, answer: Any) -> list[dict[str, Any]]:
        """The messages to send, in order; none while other questions of the same request are open. Raises
        ReplyNotDelivered."""
        asked = self._open.get(question_id)
        if asked is None:
            raise ReplyNotDelivered("Codex does not wait for it any more")
        if asked.questions is not None:
            answers = asked.questions.answer(question_id, answer)
            if answers is None:
                return []
            ids = [question["id"] for question in asked.params["questions"]]
            given = {id_: {"answers": labels} for id_, labels in zip(ids, answers, strict=True)}
            self._forget(asked.request_id)
            return [_response(asked, {"answers": given})]
        decided = permission_answer(answer)
        if asked.method == _FILES and decided.decision == "session":
            self._files_allowed = True  # Codex itself would ask again for each further file
        self._forget(asked.request_id)
        response = _response(asked, _permission_result(asked, decided, answer))
        if decided.message and asked.params.get("turnId"):
            return [_steer_request(asked.params, decided.message), response]
        return [response]

    def resolved(self, request_id: int | str) -> Iterator[Event]:
        """Codex has withdrawn a request: its questions are canceled."""
        for question_id in self._forget(request_id):
            yield HumanLoopCanceled(question_id=question_id, reason="Codex does not wait for it any more")

    def _permission(self, asked: _OpenRequest, prompt: str) -> HumanLoopRequested:
        question_id = self._new_id(asked)
        self._open[question_id] = asked
        return self._request(question_id, "permission", prompt, PERMISSION_OPTIONS)

    def _elicitation(self, asked: _OpenRequest) -> HumanLoopRequested:
        params = asked.params
        said = params.get("message") or params.get("description") or params.get("title") or ""
        wanted = (params.get("requestedSchema") or {}).get("properties") or {}
        prompt = f"{params.get('serverName')} asks: {said}" + (f" ({params['url']})" if params.get("url") else "")
        if not wanted:
            return self._permission(asked, prompt)
        question_id = self._new_id(asked)
        self._open[question_id] = asked
        fields = ", ".join(wanted)
        return self._request(question_id, "question", f"{prompt}; answer with a JSON object of {fields}, or deny", ())

    def _questions(self, asked: _OpenRequest) -> Iterator[Event]:
        questions = asked.params["questions"]
        if any(question.get("isSecret") for question in questions):
            # The answer would be stored in the log, which must hold no secret.
            self._outbox.append(_response(asked, {"answers": {}}))
            wanted = " / ".join(question["question"] for question in questions)
            yield warning("secret_not_asked", f"Codex wanted a secret, and the log must hold none: {wanted}")
            return
        ids = QuestionSet(self._new_id(asked), len(questions))
        waiting = msgspec.structs.replace(asked, questions=ids)
        for question_id, question in zip(ids.ids, questions, strict=True):
            self._open[question_id] = waiting
            options = tuple(
                Option(label=option["label"], description=option.get("description") or "")
                for option in question.get("options") or ()
            )
            yield self._request(question_id, "question", question["question"], options)

    def _request(
        self, question_id: str, kind: QuestionKind, prompt: str, options: tuple[Option, ...]
    ) -> HumanLoopRequested:
        return HumanLoopRequested(
            question_id=question_id, kind=kind, prompt=prompt, options=options, timeout_ms=self._timeout_ms
        )

    def _new_id(self, asked: _OpenRequest) -> str:
        base = asked.params.get("approvalId") or asked.params.get("itemId") or f"request-{asked.request_id}"
        fresh, number = base, 1
        while fresh in self._used:
            number += 1
            fresh = f"{base}/again-{number}"
        self._used.add(fresh)
        return str(fresh)

    def _forget(self, request_id: int | str) -> list[str]:
        ids = [question_id for question_id, asked in self._open.items() if asked.request_id == request_id]
        for question_id in ids:
            del self._open[question_id]
        return ids


def _response(asked: _OpenRequest, result: dict[str, Any]) -> dict[str, Any]:
    return {"id": asked.request_id, "result": result}


def _permission_result(asked: _OpenRequest, decided: PermissionAnswer, answer: Any) -> dict[str, Any]:
    allowed = decided.decision != "deny"
    if asked.method == _PERMISSIONS:
        granted = asked.params.get("permissions") if allowed else {}
        return {"permissions": granted, "scope": "session" if decided.decision == "session" else "turn"}
    if asked.method == _ELICITATION:
        is_form = bool((asked.params.get("requestedSchema") or {}).get("properties"))
        content = answer if is_form and isinstance(answer, dict) and "decision" not in answer else {}
        accepted = bool(content) if is_form else allowed
        return {"action": "accept" if accepted else "decline", "content": content if accepted else None, "_meta": None}
    return {"decision": _DECISIONS[decided.decision]}


def _steer_request(params: Mapping[str, Any], message: str) -> dict[str, Any]:
    """A denial can't carry a message: send it as a user message to the running turn."""
    said = [{"type": "text", "text": message, "text_elements": []}]
    steer = {"threadId": params["threadId"], "expectedTurnId": params["turnId"], "input": said}
    return {"id": "steer", "method": "turn/steer", "params": steer}


def _command_prompt(params: Mapping[str, Any]) -> str:
    network = params.get("networkApprovalContext")
    if network:
        return _with_reason(f"Reach the network: {network.get('host')}", params)
    return _with_reason(f"Run: {params.get('command')}", params)


def _with_reason(prompt: str, params: Mapping[str, Any]) -> str:
    return f"{prompt} ({params['reason']})" if params.get("reason") else prompt
