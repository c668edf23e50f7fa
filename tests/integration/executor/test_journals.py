"""The journal of a run, harmed or written by somebody else."""

import os
import resource
import shutil
from pathlib import Path

import pytest

from tests.integration.executor.worker import ended, text_of


@pytest.fixture(scope="module")
def worker(shared_worker):
    return shared_worker


def journal_file(worker, run_id):
    (record,) = (path for path in worker.state.glob("runs/*/*/run.json") if run_id in path.read_text())
    return record.with_name("journal.ndjson")


def test_what_somebody_else_puts_into_a_journal_is_no_entry(worker):
    go = worker.workspace / "go"
    os.mkfifo(go)
    worker.start_run("echo one; read -r go < go; echo two", "run-garbage")
    with worker.following() as entries:
        assert next(entries)["payload"]["text"] == "one\n"
        with journal_file(worker, "run-garbage").open("a") as file:
            file.write("garbage\n")
        go.write_text("go\n")
        rest = list(entries)

    assert text_of(rest) == "two\n"
    assert text_of(worker.journal()) == "one\ntwo\n"


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_journal_that_was_harmed_is_said_to_be_and_its_run_can_be_stopped(make_worker, harm):
    worker = make_worker().start()
    worker.restore()
    run_id = worker.start_run("echo $$; sleep 600")["runId"]
    with worker.following() as entries:
        agent = os.pidfd_open(int(next(entries)["payload"]["text"]))
    harm(journal_file(worker, run_id))

    refused = worker.http.get(f"/provider-runs/{run_id}/stream?cursor=0")

    assert (refused.status_code, refused.json()["reason"]) == (409, "journal_damaged")
    assert worker.http.post(f"/provider-runs/{run_id}/stop").status_code == 200
    assert ended(agent)


def test_a_run_that_is_active_is_known_without_its_folder(make_worker):
    worker = make_worker().start()
    worker.restore()
    worker.start_run("echo one >> ran; sleep 600", "run-known")
    shutil.rmtree(worker.state / "runs")

    assert worker.run_state()["finished"] is False
    again = worker.try_start("echo one >> ran; sleep 600", "run-known")
    assert (again.status_code, again.json()["attempt"]) == (200, 1)


def test_a_run_whose_journal_can_not_be_written_ends_and_says_why(make_worker):
    worker = make_worker().start()
    worker.restore()
    go = worker.workspace / "go"
    os.mkfifo(go)
    worker.start_run("echo $$; read -r go < go; seq 1 100000; sleep 600")
    with worker.following() as entries:
        agent = os.pidfd_open(int(next(entries)["payload"]["text"]))
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
        go.write_text("go\n")
        cursor = sum(1 for _ in entries) + 1

    refused = worker.http.get(f"/provider-runs/{worker.run_id}/stream?cursor={cursor}")

    assert (refused.status_code, refused.json()["reason"]) == (507, "journal_failed")
    assert "File too large" in refused.json()["detail"]
    assert ended(agent)
