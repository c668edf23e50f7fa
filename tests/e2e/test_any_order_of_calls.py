"""Whatever is called in whatever order, and however often the server dies: it answers as a small model of it does."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.run_model import CANCELED, ModelRun, check_stream
from tests.support.samples import samples

SESSIONS = ("one", "two")
QUESTIONS = st.sampled_from(["q1", "q2"])
ANSWERS = st.sampled_from(["yes", "no"])
EVENT_IDS = st.sampled_from([f"e{n}" for n in range(12)])
FORMS = st.sampled_from(["single", "array", "ndjson"])
TODOS = st.builds(
    lambda todo_id, status: {"todoId": todo_id, "content": "c", "status": status},
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["todo", "doing", "done", "canceled"]),
)


def _callback(kind: str, **payload: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"eventId": EVENT_IDS, "type": st.just(kind), "payload": st.fixed_dictionaries(payload)}
    )


CALLBACKS = st.one_of(
    _callback("message.delta", text=st.sampled_from(["x", "ü\n", "::fleetlog {}"])),
    _callback("message.stop"),
    _callback("todo.update", todo=TODOS),
    _callback("todo.snapshot", todos=st.lists(TODOS, max_size=2, unique_by=lambda todo: todo["todoId"])),
    _callback("human_loop.requested", questionId=QUESTIONS, prompt=st.just("which?")),
    _callback("human_loop.resolved", questionId=QUESTIONS, answer=ANSWERS),
    _callback("some.thing.else", x=st.just(1)),
    _callback("run.finished", outcome=st.sampled_from(["succeeded", "failed"])),
)
SCRIPT = """echo "$FLEETLOG_RUN_ID begins" >> steps
echo '::fleetlog {"type": "question", "questionId": "own", "prompt": "go on?"}'
read -r answer
echo "$FLEETLOG_RUN_ID $answer" >> steps
[ "$answer" = yes ]"""


class AnyOrderOfCalls(RuleBasedStateMachine):
    """Runs of two kinds: outside ones, which callbacks drive, and scripts that ask one question. Those of a session
    wait in line; the model knows the first one in it."""

    server: FleetlogServer
    restarts: int

    def __init__(self) -> None:
        super().__init__()
        self.outside: dict[str, ModelRun] = {}
        self.scripts: dict[str, ModelRun] = {}
        self.lines: dict[str, list[str]] = {session: [] for session in SESSIONS}
        self.went_on: dict[str, list[str]] = {session: [] for session in SESSIONS}
        self.restarts_left = self.restarts

    @initialize()
    def begin(self) -> None:
        self.name = new_id("x")
        for number in range(3):
            run_id = f"{self.name}-{number}"
            self.outside[run_id] = ModelRun(run_id)
        self.bind(0)

    @rule(number=st.integers(0, 2))
    def bind(self, number: int) -> None:
        run = self.outside[f"{self.name}-{number}"]
        answer = self.server.ok("POST", f"/api/runs/{run.run_id}/bind", json={"sessionId": f"{self.name}-session"})
        assert answer["changed"] is not run.known
        run.known = True

    @rule(number=st.integers(0, 2), callbacks=st.lists(CALLBACKS, min_size=1, max_size=4), form=FORMS)
    def report(self, number: int, callbacks: list[dict[str, Any]], form: str) -> None:
        self._send(self.outside[f"{self.name}-{number}"], callbacks[:1] if form == "single" else callbacks, form)

    def _send(self, run: ModelRun, callbacks: list[dict[str, Any]], form: str) -> None:
        expected = [run.take(callback) for callback in callbacks]
        body = {"single": lambda: json.dumps(callbacks[0]), "array": lambda: json.dumps(callbacks)}.get(
            form, lambda: "\n".join(map(json.dumps, callbacks))
        )()
        kind = "application/x-ndjson" if form == "ndjson" else "application/json"
        answers = self.server.ok(
            "POST", f"/api/runs/{run.run_id}/callbacks", content=body, headers={"content-type": kind}
        )
        answers = [answers] if form == "single" else answers
        assert [answer["action"] for answer in answers] == expected
        assert [answer["processed"] for answer in answers] == [action != "duplicate_ignored" for action in expected]

    @rule(number=st.integers(0, 2), question_id=QUESTIONS, answer=ANSWERS)
    def reply(self, number: int, question_id: str, answer: str) -> None:
        run = self.outside[f"{self.name}-{number}"]
        self._reply(run, question_id, answer)

    def _reply(self, run: ModelRun, question_id: str, answer: str) -> None:
        status, duplicate, counts = run.reply(question_id, answer)
        response = self.server.client.post(
            "/api/human-loop/reply", json={"runId": run.run_id, "questionId": question_id, "answer": answer}
        )
        assert response.status_code == status, response.text
        if status == 200:
            told = response.json()
            assert (told["ok"], told["duplicate"], told["status"]) == (True, duplicate, "resolved")
            assert told["answer"] == counts

    @rule(number=st.integers(0, 2), question_id=QUESTIONS)
    def reply_in_a_race(self, number: int, question_id: str) -> None:
        run = self.outside[f"{self.name}-{number}"]
        if question_id not in run.open_questions:
            return
        told: list[dict[str, Any]] = []

        def race(answer: str) -> None:
            body = {"runId": run.run_id, "questionId": question_id, "answer": answer}
            told.append(self.server.ok("POST", "/api/human-loop/reply", json=body) | {"sent": answer})

        threads = [threading.Thread(target=race, args=(f"racer {n}",)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        (winner,) = [one for one in told if not one["duplicate"]]
        assert [one["answer"] for one in told] == [winner["sent"]] * 3
        run.reply(question_id, winner["sent"])

    @rule(number=st.integers(0, 2))
    def cancel(self, number: int) -> None:
        run = self.outside[f"{self.name}-{number}"]
        if not run.known:
            self.server.problem(404, "POST", f"/api/runs/{run.run_id}/stop")
            return
        # Between its agent's end and its own, a run may be canceled yet.
        if self.server.ok("POST", f"/api/runs/{run.run_id}/stop")["changed"]:
            run.end(CANCELED, CANCELED)
        else:
            assert run.over

    @rule(session=st.sampled_from(SESSIONS))
    def queue_script(self, session: str) -> None:
        run_id = f"{self.name}-script-{len(self.scripts)}"
        self.server.enqueued(SCRIPT, runId=run_id, sessionId=session, providerOptions={"interactive": True})
        self.scripts[run_id] = ModelRun(run_id, known=True)
        self.lines[session].append(run_id)

    def _first(self, session: str) -> ModelRun:
        """The first run in a session's line, once it has asked."""
        run = self.scripts[self.lines[session][0]]
        if "own" not in run.questions:
            self.server.until(run.run_id, "human_loop.requested")
            run.take({"eventId": "journal", "type": "human_loop.requested", "payload": {"questionId": "own"}})
        return run

    @precondition(lambda self: any(self.lines.values()))
    @rule(session=st.sampled_from(SESSIONS), callbacks=st.lists(CALLBACKS, min_size=1, max_size=2))
    def report_beside_the_agent(self, session: str, callbacks: list[dict[str, Any]]) -> None:
        if not self.lines[session]:
            return
        run = self._first(session)
        self._send(run, callbacks, "array")
        if run.over:
            self._ended(session, run)

    @precondition(lambda self: any(self.lines.values()))
    @rule(session=st.sampled_from(SESSIONS), question_id=QUESTIONS, answer=ANSWERS)
    def answer_what_a_callback_asked(self, session: str, question_id: str, answer: str) -> None:
        if self.lines[session]:
            self._reply(self._first(session), question_id, answer)

    @precondition(lambda self: any(self.lines.values()))
    @rule(session=st.sampled_from(SESSIONS), answer=ANSWERS)
    def answer_script(self, session: str, answer: str) -> None:
        if not self.lines[session]:
            return
        run = self._first(session)
        self._reply(run, "own", answer)
        run.end("succeeded" if answer == "yes" else "failed", "expired")
        self.went_on[session].append(f"{run.run_id} {answer}")
        self._ended(session, run)

    @precondition(lambda self: any(self.lines.values()))
    @rule(session=st.sampled_from(SESSIONS), place=st.integers(0, 3))
    def cancel_script(self, session: str, place: int) -> None:
        """At any moment: the first may run already, or not yet."""
        if not self.lines[session]:
            return
        run_id = self.lines[session][place % len(self.lines[session])]
        run = self.scripts[run_id]
        assert self.server.ok("POST", f"/api/runs/{run_id}/stop")["changed"]
        run.end(CANCELED, CANCELED)
        self._ended(session, run)

    def _ended(self, session: str, run: ModelRun) -> None:
        self.lines[session].remove(run.run_id)
        check_stream(run, self.server.history(run.run_id))

    @rule(number=st.integers(0, 5))
    def answer_what_is_over(self, number: int) -> None:
        over = [run for run in self.scripts.values() if run.over and "own" in run.questions]
        if over:
            self._reply(over[number % len(over)], "own", "too late")

    @precondition(lambda self: self.restarts_left)
    @rule(gently=st.booleans())
    def restart(self, gently: bool) -> None:
        self.restarts_left -= 1
        if gently:
            assert self.server.stop() == 0
        else:
            self.server.kill()
        self.server.start()

    @rule(number=st.integers(0, 2))
    def read(self, number: int) -> None:
        run = self.outside[f"{self.name}-{number}"]
        if not run.known:
            self.server.problem(404, "GET", f"/api/runs/{run.run_id}")
            return
        shown = self.server.ok("GET", f"/api/runs/{run.run_id}")
        if not run.over:
            assert shown["state"] == ("waiting_human" if run.open_questions else "running")
            assert shown["openQuestions"] == run.open_questions
        todos = self.server.ok("GET", f"/api/runs/{run.run_id}/todos")["items"]
        assert {todo["todoId"]: todo["status"] for todo in todos} == run.todos
        listed = self.server.ok("GET", "/api/human-loop/requests", params={"runId": run.run_id})["requests"]
        assert {one["questionId"]: (one["status"], one["answer"]) for one in listed} == {
            key: (question.status, question.answer) for key, question in run.questions.items()
        }

    def teardown(self) -> None:
        for session, line in self.lines.items():
            while line:
                self.answer_script(session, "yes")
        for number, run in enumerate(self.outside.values()):
            if run.known and not run.over:
                self._send(
                    run, [{"eventId": "last", "type": "run.finished", "payload": {"outcome": "failed"}}], "array"
                )
            if run.known:
                frames = self.server.history(run.run_id)
                check_stream(run, frames)
                assert [f["data"]["text"] for f in frames if f["event"] == "message.delta"] == run.texts
                self.read(number)
        self._check_steps()

    def _check_steps(self) -> None:
        """Whatever died: no script began twice, and each that was answered went on once, with that answer."""
        for session in SESSIONS:
            steps = [step for step in self._steps(session) if step.startswith(f"{self.name}-")]
            assert len(steps) == len(set(steps)), steps
            begun = [step.removesuffix(" begins") for step in steps if step.endswith(" begins")]
            went_on = [step for step in steps if not step.endswith(" begins")]
            assert went_on == self.went_on[session]
            assert {step.split()[0] for step in went_on} <= set(begun) <= set(self.scripts)

    def _steps(self, session: str) -> list[str]:
        """What the scripts of all examples wrote; nothing before the first of them began."""
        worker = self.server.client.get(f"/api/session-workers/{session}")
        if worker.status_code == 404:
            return []
        with suppress(FileNotFoundError):
            return (self.server.worker_folder(session) / "workspace/steps").read_text().splitlines()
        return []


@pytest.fixture(scope="module")
def mortal_fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    server = FleetlogServer(tmp_path_factory.mktemp("mortal") / "home")
    server.stop_workers = False
    with server:
        yield server


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_calls_in_any_order_are_answered_as_the_model_does(mortal_fleetlog: FleetlogServer) -> None:
    machine = type("Machine", (AnyOrderOfCalls,), {"server": mortal_fleetlog, "restarts": 1})
    run_state_machine_as_test(
        seed(samples().number("any order of calls"))(machine),
        settings=settings(
            max_examples=samples().size(whole=50, sample=10),
            stateful_step_count=50,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
