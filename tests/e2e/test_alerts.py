"""The alert rules of the documentation, in a real Prometheus that scrapes a real installation in trouble, reach the
receiver of a real Alertmanager, and take back what they said once the trouble is mended.

Rules and configurations are those of the pages, but for addresses and for time: a rule fires as soon as its expression
holds (without its `for`, which test_alert_rules.py tries), and the Alertmanager does not wait for more alerts.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.support.alert_receiver import AlertReceiver
from tests.support.alert_rules import ALERTS, OBSERVE, block, impatient_rules_file, rules
from tests.support.dashboard_queries import OUTAGES
from tests.support.fault_proxy import FaultProxy
from tests.support.fleetlog_parts import Installation, WorkerProcess, installation
from tests.support.fleetlog_server import new_id
from tests.support.ports import reserved_port
from tests.support.prometheus_programs import required_prometheus
from tests.support.prometheus_server import AlertmanagerServer, PrometheusServer
from tests.support.servers import ObjectStoreServer, shared_postgres
from tests.support.session_history import output

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]
QUESTION = """echo '::fleetlog {"type": "question", "questionId": "q", "prompt": "Go on?"}'; read -r answer"""
PROXIED = ("tests.support.proxied_fleetlog", "worker", "--json")
UNRENDERED = ("<no value>", "<error", "{{")
REFUSED_TODO = """
CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.body::text LIKE '%poison%' THEN RAISE EXCEPTION 'too much' USING ERRCODE = '54000'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_poison BEFORE INSERT OR UPDATE ON read_models.todos
    FOR EACH ROW EXECUTE FUNCTION refuse_poison()
"""


@dataclass
class Watched:
    """An API and a worker, whose executors and object store are behind proxies, and who watches them."""

    parts: Installation
    store: FaultProxy
    executors: FaultProxy
    metrics_port: int
    prometheus: PrometheusServer
    alertmanager: AlertmanagerServer
    receiver: AlertReceiver

    def worker(self) -> WorkerProcess:
        settings = {"TEST_EXECUTOR_PROXY": self.executors.url, "FLEETLOG_METRICS_PORT": str(self.metrics_port)}
        return self.parts.worker(*PROXIED, **settings)

    def told(self, alert: str, status: Literal["firing", "resolved"], after: int, **labels: str) -> dict[str, Any]:
        """What the receiver hears of it, behind the first `after`."""

        def standing() -> str:
            logs = (self.prometheus.log_tail(), self.alertmanager.log_tail(), self.parts.worker_log())
            states = [(rule["name"], rule["state"], rule.get("lastError")) for rule in self.prometheus.rules()]
            return "\n".join((str(states), *logs))

        one = self.receiver.until(alert, status, after, standing, **labels)
        assert one["labels"]["severity"] == rules()[alert].severity
        summary = str(one["annotations"]["summary"])
        assert [part for part in UNRENDERED if part in summary] == []
        return one


def alertmanager_file(receiver: AlertReceiver) -> str:
    """The page's, with our address, and without a wait for more."""
    text = block(ALERTS, "route").replace("http://localhost:5001/fleetlog", receiver.url)
    assert receiver.url in text
    return text.replace("group_wait: 30s", "group_wait: 0s").replace("group_interval: 5m", "group_interval: 1s")


def prometheus_file(folder: Path, alertmanager: AlertmanagerServer, *targets: str) -> str:
    """The pages', with our addresses."""
    text = block(ALERTS, "rule_files") + block(OBSERVE, "scrape_configs")
    for theirs, ours in (
        ("/etc/prometheus", str(folder)),
        ('"localhost:9093"', f'"127.0.0.1:{alertmanager.port}"'),
        ('"fleetlog:8080", "fleetlog-worker:9100"', json.dumps(targets)[1:-1]),
    ):
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    return text


@pytest.fixture(scope="module")
def installed(object_store_server: ObjectStoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    required_prometheus()
    folder, access = tmp_path_factory.mktemp("watched"), object_store_server.create_bucket_access()
    dsn, metrics_port = shared_postgres().create_log(), reserved_port()
    with ExitStack() as stack:
        store = stack.enter_context(FaultProxy(access.endpoint))
        executors = stack.enter_context(FaultProxy())
        receiver = stack.enter_context(AlertReceiver())
        access = replace(access, endpoint=store.url)
        limits = {"EXECUTOR_MAX_RETRIES": "1", "EXECUTOR_RETRY_DELAY_MS": "20"}
        parts = stack.enter_context(installation(folder / "fleetlog", dsn, access, **limits))
        alertmanager = stack.enter_context(AlertmanagerServer(folder / "alertmanager", alertmanager_file(receiver)))
        targets = (f"127.0.0.1:{parts.api.port}", f"127.0.0.1:{metrics_port}")
        config = prometheus_file(folder / "prometheus", alertmanager, *targets)
        (folder / "prometheus").mkdir()
        (folder / "prometheus/fleetlog-key").write_text("key")
        prometheus = PrometheusServer(folder / "prometheus", config, impatient_rules_file())
        everything = Watched(parts, store, executors, metrics_port, prometheus, alertmanager, receiver)
        everything.worker()
        stack.enter_context(prometheus)
        yield everything


@pytest.fixture
def watched(installed: Watched) -> Watched:
    """With a worker, whatever a test has left."""
    if not any(worker.alive for worker in installed.parts.workers):
        installed.worker()
    return installed


@pytest.fixture
def session() -> str:
    return new_id("session")


def test_all_rules_load(watched: Watched) -> None:
    watched.prometheus.until_true("fleetlog_worker_processes == 1")

    loaded = watched.prometheus.rules()

    assert [rule["name"] for rule in loaded] == list(rules())
    assert [(rule["name"], rule["lastError"]) for rule in loaded if rule.get("lastError")] == []


def test_a_question_that_nobody_answers(watched: Watched, session: str) -> None:
    before = watched.receiver.told()
    run_id = watched.parts.api.enqueued(QUESTION, sessionId=session, providerOptions={"interactive": True})

    fired = watched.told("FleetlogQuestionsOpen", "firing", before)

    assert fired["annotations"]["summary"].startswith("1 questions wait for a person: answer those of GET /api/")
    (pending,) = watched.parts.api.ok("GET", "/api/human-loop/pending")["requests"]
    watched.parts.api.ok(
        "POST", "/api/human-loop/reply", json={"runId": run_id, "questionId": pending["questionId"], "answer": "yes"}
    )
    watched.told("FleetlogQuestionsOpen", "resolved", before)


def test_a_stale_run_and_nobody_who_works(watched: Watched, session: str) -> None:
    before = watched.receiver.told()
    run_id = watched.parts.api.enqueued("echo begun; sleep 600", sessionId=session)
    watched.parts.api.until(run_id, "message.delta")
    watched.parts.kill_workers()
    watched.parts.expire_leases()
    watched.parts.rows("UPDATE worker_processes SET seen_at = seen_at - interval '1 hour'")

    stuck = watched.told("FleetlogRunsStuck", "firing", before)
    nobody = watched.told("FleetlogNobodyWorks", "firing", before)
    gone = watched.told("FleetlogDown", "firing", before, instance=f"127.0.0.1:{watched.metrics_port}")

    assert stuck["annotations"]["summary"].startswith("1 runs are stale")
    assert "start `fleetlog worker`" in nobody["annotations"]["summary"]
    assert gone["annotations"]["summary"].startswith(f"127.0.0.1:{watched.metrics_port} does not answer")
    watched.worker()
    for alert in ("FleetlogRunsStuck", "FleetlogNobodyWorks", "FleetlogDown"):
        watched.told(alert, "resolved", before)
    watched.parts.api.ok("POST", f"/api/runs/{run_id}/stop")
    assert watched.parts.api.history(run_id)[-1]["data"]["outcome"] == "canceled"


def test_syncs_that_fail(watched: Watched, session: str) -> None:
    api = watched.parts.api
    output(api, "echo kept > file", session)
    (api.worker_folder(session) / "workspace/file").write_text("changed since the last sync")
    before = watched.receiver.told()
    with watched.store.refusing():
        since = api.ok("POST", f"/api/session-workers/{session}/stop", params={"waitMs": 0})["position"]
        failure = api.until_session(session, "session.sync_failed", since)

        fired = watched.told("FleetlogSyncsFail", "firing", before)

    assert "1 session workers could not be synced" in fired["annotations"]["summary"]
    worker = api.ok("GET", f"/api/session-workers/{session}")
    assert worker["lastSyncError"] == failure["payload"]["error"]
    assert api.ok("POST", f"/api/session-workers/{session}/stop")["worker"]["state"] == "stopped"
    watched.told("FleetlogSyncsFail", "resolved", before)


def test_a_read_model_that_stands_still(watched: Watched, session: str) -> None:
    before = watched.receiver.told()
    watched.parts.rows(REFUSED_TODO)
    todo = {"type": "todo.update", "todo": {"todoId": "poison", "content": "x", "status": "todo"}}
    run = watched.parts.api.finished(f"echo '::fleetlog {json.dumps(todo)}'", sessionId=session)["snapshot"]
    assert run["state"] == "succeeded", run

    fired = watched.told("FleetlogReadModelStopped", "firing", before, projection="todos")

    assert fired["annotations"]["summary"].startswith("todos stands still at an event that it can't take")
    watched.parts.rows("DROP FUNCTION refuse_poison CASCADE")
    watched.parts.api.command("projections", "retry", "todos", "--reason", "there is room again")
    watched.told("FleetlogReadModelStopped", "resolved", before, projection="todos")


def test_a_dead_runtime(watched: Watched, tmp_path: Path) -> None:
    """The dashboard shows it, too."""
    before = watched.receiver.told()
    dead = watched.parts.worker(WORKER_RUNTIME="docker", DOCKER_HOST=f"unix://{tmp_path}/no-daemon.sock")
    try:
        fired = watched.told("FleetlogOutage", "firing", before, dependency="docker")
        (shown,) = watched.prometheus.query(OUTAGES)
    finally:
        dead.send(signal.SIGTERM)
        ended = dead.died(60)

    assert fired["annotations"]["summary"].startswith("docker is down for 1 processes, and what needs it waits")
    assert (shown["metric"], shown["value"][1]) == ({"dependency": "docker"}, "1")
    assert ended == 0, watched.parts.worker_log()
    watched.told("FleetlogOutage", "resolved", before, dependency="docker")


def test_executors_that_do_not_answer(watched: Watched, session: str) -> None:
    """Only the worker that calls them knows."""
    api = watched.parts.api
    output(api, "echo kept > file", session)
    before = watched.receiver.told()
    with watched.executors.fault(" /", "cut") as cut:
        api.ok("POST", f"/api/session-workers/{session}/stop", params={"waitMs": 0})
        assert cut.happened.wait(60)

        fired = watched.told(
            "FleetlogExecutorsUnreachable", "firing", before, instance=f"127.0.0.1:{watched.metrics_port}"
        )

    assert fired["annotations"]["summary"].startswith("1 executors have not answered")
    watched.prometheus.until_true('sum(fleetlog_executor_circuits{state="open"}) == 0')
    assert api.ok("POST", f"/api/session-workers/{session}/stop")["worker"]["state"] == "stopped"
