"""Calls of the API at random, whose histories nobody thought of: external runs, replies, cancels, workers."""

import random
from typing import Any

import httpx

QUESTIONS = ("q1", "q2", "q3")
TODO_IDS = ("a", "b", "c")


class RandomCalls:
    """Works the runs `outside-{n}` and the sessions `outside-session-{n}`, `count` of each."""

    def __init__(self, client: httpx.Client, random_: random.Random, *, count: int) -> None:
        self._client, self._random, self._count, self._calls = client, random_, count, 0

    def call(self) -> None:
        """One call; what it is refused with is none of our business as long as it is no fault of the server."""
        self._calls += 1
        number = self._random.randrange(self._count)
        run, session = f"outside-{number}", f"outside-session-{number}"
        path, body = self._random.choice(
            [
                (f"/api/runs/{run}/bind", {"sessionId": session}),
                *[(f"/api/runs/{run}/callbacks", self._callback())] * 12,
                ("/api/human-loop/reply", {"runId": run, "questionId": self._question(), "answer": self._calls}),
                (f"/api/runs/{run}/stop", {"reason": "at random"}),
                (f"/api/session-workers/{session}/activate?waitMs=0", {"appId": "app", "userLoginName": "ann"}),
                ("/api/runs/queue/enqueue", self._queued(run, session)),
            ]
        )
        answer = self._client.post(path, json=body)
        assert answer.status_code < 500, (path, body, answer.text)

    def _queued(self, run: str, session: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": "true"}]
        return {
            "runId": f"{run}-queued",
            "sessionId": session,
            "provider": "scripted",
            "model": "",
            "messages": messages,
        }

    def _question(self) -> str:
        return self._random.choice(QUESTIONS)

    def _todo(self) -> dict[str, Any]:
        status = self._random.choice(("todo", "doing", "done", "canceled"))
        order = self._random.randrange(3)
        return {"todoId": self._random.choice(TODO_IDS), "content": f"c{self._calls}", "status": status, "order": order}

    def _callback(self) -> dict[str, Any]:
        kind, payload = self._random.choice(
            [
                ("message.delta", {"text": f"word {self._calls} "}),
                ("message.stop", {}),
                ("tool.start", {"toolId": "t", "name": "shell", "input": {"command": "ls"}}),
                ("tool.end", {"toolId": "t", "output": "x", "ok": self._random.random() < 0.5}),
                ("todo.update", {"todo": self._todo()}),
                ("todo.snapshot", {"todos": [self._todo()]}),
                ("human_loop.requested", {"questionId": self._question(), "prompt": "which?"}),
                ("human_loop.resolved", {"questionId": self._question(), "answer": "that"}),
                ("some.thing.else", {"x": self._calls}),
            ]
            * 3
            + [("run.finished", {"outcome": "succeeded", "usage": {"inputTokens": self._calls, "outputTokens": 1}})]
        )
        return {"eventId": f"e{self._random.randrange(500)}", "type": kind, "payload": payload}
