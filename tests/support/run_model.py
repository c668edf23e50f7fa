"""What a run is to its callers: a model that fits on two pages, to judge the server by."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Callback = dict[str, Any]

OPEN, RESOLVED, CANCELED, EXPIRED = "open", "resolved", "canceled", "expired"


@dataclass
class Question:
    status: str = OPEN
    answer: Any = None


@dataclass
class ModelRun:
    """A run as callbacks, replies and cancels leave it. `over`: its agent has ended. `recorded` and `kept`: the event
    ids of the callbacks in its own stream and in that of the unmatched."""

    run_id: str
    known: bool = False
    over: bool = False
    outcome: str = ""
    questions: dict[str, Question] = field(default_factory=dict)
    told_early: dict[str, Question] = field(default_factory=dict)
    todos: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    recorded: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)

    @property
    def open_questions(self) -> list[str]:
        return [key for key, question in self.questions.items() if question.status == OPEN]

    def take(self, callback: Callback) -> str:
        """Take a callback; the action that it is answered with."""
        event_id, kind, payload = callback["eventId"], callback["type"], callback["payload"]
        if event_id in self.recorded:
            return "duplicate_ignored"
        if not self.known or self.over:
            return self._keep(event_id, kind)
        action = self._record(kind, payload)
        if action != "duplicate_ignored":
            self.recorded.add(event_id)
        return action

    def _keep(self, event_id: str, kind: str) -> str:
        if event_id in self.kept:
            return "duplicate_ignored"
        self.kept.add(event_id)
        if not self.known and kind == "message.stop":
            return "message_stop_missing_run"
        if not self.known and kind.startswith("human_loop."):
            return "human_loop_missing_run"
        return "recorded"

    def _record(self, kind: str, payload: dict[str, Any]) -> str:
        match kind:
            case "message.delta":
                self.texts.append(payload["text"])
                return "recorded"
            case "message.stop":
                return "message_stop_synced"
            case "todo.update":
                todo = payload["todo"]
                self.todos[todo["todoId"]] = todo["status"]
                return "todo_upserted"
            case "todo.snapshot":
                self.todos = {todo["todoId"]: todo["status"] for todo in payload["todos"]}
                return "todo_upserted"
            case "human_loop.requested":
                return self._ask(payload["questionId"])
            case "human_loop.resolved":
                return self._resolve(payload["questionId"], payload["answer"])
            case "run.finished":
                self.end(payload["outcome"], EXPIRED)
                return "run_finished"
            case _:
                return "recorded"

    def _ask(self, question_id: str) -> str:
        if question_id in self.questions:
            return "duplicate_ignored"
        self.questions[question_id] = self.told_early.pop(question_id, Question())
        return "human_loop_requested"

    def _resolve(self, question_id: str, answer: Any) -> str:
        if question_id in self.open_questions:
            self.questions[question_id] = Question(RESOLVED, answer)
            return "human_loop_resolved"
        if question_id in self.questions or question_id in self.told_early:
            return "duplicate_ignored"
        self.told_early[question_id] = Question(RESOLVED, answer)
        return "human_loop_resolved"

    def reply(self, question_id: str, answer: Any) -> tuple[int, bool, Any]:
        """The status of the answer to a reply, whether it is a duplicate, and the answer that counts."""
        question = self.questions.get(question_id) or self.told_early.get(question_id)
        if question is None:
            return 404, False, None
        if question.status == OPEN:
            self.questions[question_id] = Question(RESOLVED, answer)
            return 200, False, answer
        if question.status == RESOLVED:
            return 200, True, question.answer
        return 409, False, None

    def end(self, outcome: str, questions: str) -> None:
        """The agent has ended: its open questions are closed so."""
        self.over, self.outcome = True, outcome
        for question_id in self.open_questions:
            self.questions[question_id] = Question(questions)


def check_stream(run: ModelRun, frames: Iterable[dict[str, Any]]) -> None:
    """The whole stream of a run that has ended: dense, with one end, and nothing in it twice."""
    frames = list(frames)
    assert [int(frame["id"]) for frame in frames] == list(range(1, len(frames) + 1))
    kinds = [frame["event"] for frame in frames]
    assert kinds[-1] == "run.finished"
    assert kinds.count("run.finished") == kinds.count("run.agent_finished") + ("run.agent_finished" not in kinds) == 1
    assert frames[-1]["data"]["outcome"] == run.outcome
    for question_id in run.questions:
        asked = [f for f in frames if f["event"] == "human_loop.requested" and f["data"]["questionId"] == question_id]
        assert len(asked) == 1, f"question {question_id} was asked {len(asked)} times"
