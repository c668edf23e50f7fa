"""The rules of questions: which reports change something, what an answer leads to, how questions are closed."""

from typing import Any

from domain.errors import Conflict
from domain.event import Event
from domain.run import events as e
from domain.run.state import Finishing, Question, Run

MAX_CLOSED_AT_ONCE = 5_000
"""A command makes at most twice as many events, which is what the log takes in one append."""


def changes_nothing(state: Run, event: Event) -> bool:
    """Whether a reported event about a question changes nothing: a repeated request, or the end of one not open."""
    match event:
        case e.HumanLoopRequested(question_id=key):
            return state.knows_question(key) or isinstance(state.stage, Finishing)
        case e.HumanLoopResolved(question_id=key) | e.HumanLoopCanceled(question_id=key):
            return key not in state.questions
        case e.HumanLoopExpired(question_id=key):
            return key not in state.questions
        case _:
            return False


def ended_before_request(state: Run, event: Event) -> bool:
    """Whether the event is the end of a question whose request has not arrived: callbacks come in any order."""
    match event:
        case e.HumanLoopResolved(question_id=key) | e.HumanLoopCanceled(question_id=key):
            return state.question(key) is None
        case e.HumanLoopExpired(question_id=key):
            return state.question(key) is None
        case _:
            return False


def end_after_request(question_id: str, question: Question) -> tuple[Event, ...]:
    """If a question's end arrived before its request: that end again, to be recorded after the request."""
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
    """The error for an answer that came too late, or that did not reach the agent."""
    why = f": {question.reason}" if question.reason else ""
    return Conflict(
        f"question {question_id!r} is {question.status}{why}; the answer did not count", f"question_{question.status}"
    )


def answered(state: Run, question_id: str, answer: Any) -> tuple[Event, ...]:
    """The events of an accepted answer. A question asked by callback is resolved at once: its asker reads the answer
    from the log. Any other is resolved when the answer has been delivered to the agent."""
    accepted = e.HumanLoopReplyAccepted(question_id=question_id, answer=answer)
    if state.is_external or state.questions[question_id].by_callback:
        return (accepted, e.HumanLoopResolved(question_id=question_id, answer=answer))
    return (accepted,)


def close_questions(state: Run, lease: int, reason: str) -> tuple[Event, ...]:
    """The ends of all open questions; of the first MAX_CLOSED_AT_ONCE only, if a run from before the quotas has
    more."""
    closed = e.HumanLoopCanceled if state.cancel_requested else e.HumanLoopExpired
    open_ones = state.open_questions[:MAX_CLOSED_AT_ONCE]
    return tuple(closed(lease_generation=lease, question_id=key, reason=reason) for key in open_ones)
