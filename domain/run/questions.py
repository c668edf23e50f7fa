"""The rules of questions: which reports of them are news, what an answer leads to, and how they are closed."""

from typing import Any

from domain.errors import Conflict
from domain.event import Event
from domain.run import events as e
from domain.run.state import Finishing, Question, Run


def repeats(state: Run, event: Event) -> bool:
    """Whether a report about a question changes nothing."""
    match event:
        case e.HumanLoopRequested(question_id=key):
            return state.knows_question(key) or isinstance(state.stage, Finishing)
        case e.HumanLoopResolved(question_id=key) | e.HumanLoopCanceled(question_id=key):
            return key not in state.open_questions
        case e.HumanLoopExpired(question_id=key):
            return key not in state.open_questions
        case _:
            return False


def overtook_its_request(state: Run, event: Event) -> bool:
    """The end of a question that nobody has asked yet: callbacks come in any order."""
    match event:
        case e.HumanLoopResolved(question_id=key) | e.HumanLoopCanceled(question_id=key):
            return key not in state.questions
        case e.HumanLoopExpired(question_id=key):
            return key not in state.questions
        case _:
            return False


def told_before(question_id: str, question: Question) -> tuple[Event, ...]:
    """The end of a question once more, right after its request that it overtook; none for one that was asked before."""
    if question.asked:
        return ()
    match question.status:
        case "resolved":
            return (e.HumanLoopResolved(question_id=question_id, answer=question.answer),)
        case "canceled":
            return (e.HumanLoopCanceled(question_id=question_id, reason=question.reason),)
        case "expired":
            return (e.HumanLoopExpired(question_id=question_id, reason=f"before it was asked: {question.reason}"),)
        case _:
            return ()


def not_answered(question_id: str, question: Question) -> Conflict:
    """Why an answer can't count any more, or did not reach the agent."""
    why = f": {question.reason}" if question.reason else ""
    return Conflict(
        f"question {question_id!r} is {question.status}{why}; the answer did not count", f"question_{question.status}"
    )


def answered(state: Run, question_id: str, answer: Any) -> tuple[Event, ...]:
    """Who was asked by a callback reads the answer here; into an agent of our own it is delivered first."""
    accepted = e.HumanLoopReplyAccepted(question_id=question_id, answer=answer)
    if state.outside or state.questions[question_id].by_callback:
        return (accepted, e.HumanLoopResolved(question_id=question_id, answer=answer))
    return (accepted,)


def close_questions(state: Run, lease: int, reason: str) -> tuple[Event, ...]:
    closed = e.HumanLoopCanceled if state.cancel_requested else e.HumanLoopExpired
    return tuple(closed(lease_generation=lease, question_id=key, reason=reason) for key in state.open_questions)
