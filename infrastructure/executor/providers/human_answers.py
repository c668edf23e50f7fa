"""Parses people's answers to the permissions and questions of all CLIs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from domain.run.values import Option

ALLOW, ALLOW_FOR_SESSION, DENY = "allow", "allow for session", "deny"
PERMISSION_OPTIONS = (
    Option(label=ALLOW, description="this one time"),
    Option(label=ALLOW_FOR_SESSION, description="this and what is like it, for the rest of the conversation"),
    Option(label=DENY, description="not at all; any other answer denies, too, and is told to the agent"),
)
_YES = {"allow", "yes", "y", "ok", "once", "accept", "approve", "approved", "allow once", "true"}
_ALWAYS = {"allow for session", "always", "allow always", "acceptforsession", "allow_session", "allow_always"}
_NO = {"deny", "no", "n", "reject", "decline", "false"}


class PermissionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`message`: text for the agent with a denial."""

    decision: Literal["once", "session", "deny"]
    message: str = ""


def permission_answer(answer: Any) -> PermissionAnswer:
    """From `"allow"`, `true`, `{"decision": "allow"}`, `{"behavior": "deny", "message": …}` and the like. Any other
    answer is a denial with the answer as its message, so that a misunderstood answer never allows anything."""
    message = ""
    if isinstance(answer, Mapping):
        message = str(answer.get("message") or answer.get("reason") or "")
        answer = answer.get("decision", answer.get("behavior", answer.get("answer", "deny")))
    if isinstance(answer, bool):
        answer = "allow" if answer else "deny"
    word = str(answer).strip().lower()
    if word in _YES:
        return PermissionAnswer(decision="once")
    if word in _ALWAYS:
        return PermissionAnswer(decision="session")
    return PermissionAnswer(decision="deny", message=message or ("" if word in _NO else str(answer)))


def chosen_labels(answer: Any) -> list[str]:
    """The answer to a question as labels or free text: from a string, a list, `{"answer": …}` or `{"answers": […]}`."""
    if isinstance(answer, Mapping):
        answer = answer.get("answers", answer.get("answer", answer.get("label", msgspec.json.encode(answer).decode())))
    if isinstance(answer, str):
        return [answer]
    if isinstance(answer, Sequence):
        return [each if isinstance(each, str) else msgspec.json.encode(each).decode() for each in answer]
    return [msgspec.json.encode(answer).decode()]


class QuestionSet:
    """Several questions of one CLI request, which must be answered together; Fleetlog asks them one by one."""

    def __init__(self, set_id: str, count: int) -> None:
        self.ids = tuple(set_id if count == 1 else f"{set_id}/{number + 1}" for number in range(count))
        self._answers: dict[str, list[str]] = {}

    def answer(self, question_id: str, answer: Any) -> list[list[str]] | None:
        """Keep an answer. Returns all answers in the order of the questions once none is missing, else None."""
        self._answers[question_id] = chosen_labels(answer)
        if len(self._answers) < len(self.ids):
            return None
        return [self._answers[each] for each in self.ids]
