"""Agents that run or are silent for too long."""

from collections.abc import Iterator

import pytest

from tests.support.agent_processes import assert_none_left
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer
from tests.support.repair_lines import counted, repaired

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    limits = {
        "RUN_TIMEOUT_MS": "6000",
        "RUN_SILENCE_TIMEOUT_MS": "1500",
        "EXTERNAL_RUN_SILENCE_TIMEOUT_MS": "1000",
    }
    with FleetlogServer(tmp_path_factory.mktemp("impatient") / "home", **on_shared_postgres(), **limits) as server:
        yield server


FAMILY = "setsid sleep 600 & (sleep 600 &) ; trap '' TERM"


def test_a_silent_agent_is_ended_with_the_reason(impatient: FleetlogServer) -> None:
    snapshot = impatient.finished(f"{FAMILY}; echo begins; while true; do sleep 60; done")["snapshot"]

    assert (snapshot["state"], snapshot["error"]["errorClass"]) == ("failed", "timeout")
    assert "silent for more than 1.5 s" in snapshot["error"]["message"]
    assert_none_left(snapshot["runId"])


def test_an_agent_that_never_ends_is_ended_with_the_reason(impatient: FleetlogServer) -> None:
    snapshot = impatient.finished(f"{FAMILY}; while true; do echo again; sleep 0.2; done")["snapshot"]

    assert (snapshot["state"], snapshot["error"]["errorClass"]) == ("failed", "timeout")
    assert "ran for more than 6 s" in snapshot["error"]["message"]
    assert_none_left(snapshot["runId"])


def test_an_external_run_of_which_nothing_is_reported_ends_with_the_reason_and_frees_its_session(
    impatient: FleetlogServer,
) -> None:
    impatient.activate("outside")
    impatient.ok("POST", "/api/runs/outside-1/bind", json={"sessionId": "outside"})
    while impatient.ok("GET", "/api/runs/outside-1")["state"] == "running":
        impatient.ok("POST", "/api/reconcile/runs")  # what the clock does each minute

    last = impatient.history("outside-1")[-1]["data"]
    assert (last["outcome"], last["exported"], last["error"]["errorClass"]) == ("failed", True, "timeout")
    assert "EXTERNAL_RUN_SILENCE_TIMEOUT_MS" in last["error"]["message"]
    (line,) = repaired(impatient, "outside_run", runId="outside-1")
    caused = [
        event["metadata"]["traceId"]
        for event in impatient.ok("GET", "/api/streams/run:outside-1/events")["events"]
        if event["metadata"]["causationId"] == line["commandId"]
    ]
    assert (line["level"], {line["traceId"]}) == ("warning", {*caused})
    assert counted(impatient, "outside_run") == 1
    assert impatient.ok("POST", "/api/session-workers/outside/stop")["worker"]["state"] == "stopped"


def test_an_agent_that_waits_for_a_person_is_not_silent(impatient: FleetlogServer) -> None:
    script = """echo '::fleetlog {"type":"question","questionId":"q","prompt":"?"}'; read -r answer; echo "$answer" """
    run_id = impatient.enqueued(script, providerOptions={"interactive": True})
    impatient.until(run_id, "human_loop.requested")
    impatient.finished("sleep 1; echo other; sleep 1; echo done", sessionId="other")

    impatient.ok("POST", "/api/human-loop/reply", json={"runId": run_id, "questionId": "q", "answer": "yes"})

    assert impatient.history(run_id)[-1]["data"]["outcome"] == "succeeded"
