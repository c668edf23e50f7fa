"""Claims, fencing by lease, retries by error class and policy, and the cap."""

import pytest
from msgspec.structs import replace

from domain.errors import Fenced
from domain.run import commands as c
from domain.run import events as e
from domain.run.decide import MAX_EXCUSED
from domain.run.values import FINAL_ERRORS, TRANSIENT_ERRORS, Usage
from tests.support.runs import (
    AGENT_DONE,
    BLOCKED,
    BOUND,
    CANCEL_REQUESTED,
    CLAIMED,
    ENDED,
    EXPORTED,
    EXPORTED_NOW,
    EXPORTED_TO,
    FINISHED,
    PREPARING,
    QUEUED,
    RETRY_AT,
    RETRYING,
    RUN_STARTED,
    RUNNING,
    SPEC,
    SYNCING,
    SYNCING_NOW,
    USAGE,
    claimed,
    error,
    run,
)

CLAIM = c.ClaimRun(lease_generation=2, owner="w1")


def fail(error_class: str, lease: int = 1, *, tail_lost: bool = False) -> c.FailAttempt:
    return c.FailAttempt(lease_generation=lease, error=error(error_class), retry_at=RETRY_AT, tail_lost=tail_lost)


def retry(error_class: str, attempt: int = 1, lease: int = 1) -> e.RunRetryScheduled:
    return e.RunRetryScheduled(lease_generation=lease, attempt=attempt, error=error(error_class), available_at=RETRY_AT)


def failed_agent(error_class: str) -> e.RunAgentFinished:
    return e.RunAgentFinished(lease_generation=1, outcome="failed", error=error(error_class))


class TestAClaim:
    def test_of_a_queued_run_begins_an_attempt(self):
        given = run.given(*QUEUED).when(replace(CLAIM, lease_generation=1)).then(claimed())
        assert (given.state.public_state, given.state.attempt) == ("claimed", 1)

    def test_after_a_retry_begins_the_next(self):
        run.given(*RETRYING).when(CLAIM).then(claimed(2, attempt=2))

    @pytest.mark.parametrize("history", [RUNNING, ENDED, SYNCING, EXPORTED], ids=["running", "ended", "syncing", "out"])
    def test_from_a_dead_holder_resumes_a_started_agent_s_attempt(self, history):
        before = run.given(*history).state
        given = run.given(*history).when(CLAIM).then(claimed(2, resumed=True))
        assert given.state.stage == before.stage

    @pytest.mark.parametrize("history", [CLAIMED, PREPARING], ids=["claimed", "preparing"])
    def test_from_a_dead_holder_before_the_start_is_another_attempt(self, history):
        given = run.given(*history).when(CLAIM).then(claimed(2, attempt=2))
        assert given.state.public_state == "claimed"

    def test_keeps_the_journal_s_cursor(self):
        entry = e.MessageDelta(lease_generation=1, text="x")
        given = run.given(*RUNNING).given(entry, event_id="r1/1/b1/1").given(claimed(2, resumed=True))
        assert given.state.entries == 1

    @pytest.mark.parametrize("history", [FINISHED, BLOCKED], ids=["finished", "blocked"])
    def test_of_what_does_not_run_changes_nothing(self, history):
        run.given(*history).when(CLAIM).then_nothing()

    def test_at_the_cap_is_the_end(self):
        history = (*QUEUED, claimed(1, 1), claimed(2, 2), claimed(3, 3))
        message = "attempt 3 of 3 failed: its worker died before the agent started"
        given = (
            run.given(*history)
            .when(c.ClaimRun(lease_generation=4, owner="w1"))
            .then(
                claimed(4, 3, resumed=True),
                e.RunFinished(
                    lease_generation=4, outcome="failed", exported=False, error=error("attempts_exhausted", message)
                ),
            )
        )
        assert given.state.public_state == "failed"


class TestTheFence:
    COMMANDS = (
        c.EnterPhase(lease_generation=1, phase="linking"),
        c.StartAgent(lease_generation=1, generation=1, boot_id="b1"),
        c.RecordJournalEntry(lease_generation=1, attempt=1, n=1, event=e.MessageStopped()),
        fail("network"),
        c.BeginFinalSync(lease_generation=1, sync_id="final"),
        c.RecordExported(lease_generation=1, sync=EXPORTED_TO),
        c.FinishRun(lease_generation=1, retry_at=RETRY_AT),
        c.ClaimRun(lease_generation=1, owner="w1"),
    )

    @pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
    @pytest.mark.parametrize("history", [CLAIMED, RUNNING, ENDED, EXPORTED], ids=["claimed", "running", "ended", "out"])
    def test_refuses_an_older_lease_in_every_state(self, command, history):
        resumed = history != CLAIMED
        given = run.given(*history, claimed(2, 1 if resumed else 2, resumed=resumed))
        given.when(command).then_error(Fenced, saying="lease 1 is not the run's current one, 2")

    def test_refuses_one_that_the_stream_has_not_seen(self):
        run.given(*RUNNING).when(fail("network", lease=9)).then_error(Fenced)

    @pytest.mark.parametrize("history", [QUEUED, BLOCKED, BOUND], ids=["queued", "blocked", "bound"])
    def test_refuses_a_lease_that_was_never_granted(self, history):
        run.given(*history).when(fail("network", lease=0)).then_error(Fenced)

    def test_refuses_the_same_claim_twice(self):
        run.given(*CLAIMED).when(c.ClaimRun(lease_generation=1, owner="w1")).then_error(Fenced)


class TestPhases:
    def test_go_forward_only(self):
        given = run.given(*CLAIMED)
        for phase in ("restoring", "linking", "preparing"):
            entered = e.RunPhaseEntered(lease_generation=1, phase=phase)
            given = given.when(c.EnterPhase(lease_generation=1, phase=phase)).then(entered)
            assert given.state.public_state == phase
        given.when(c.EnterPhase(lease_generation=1, phase="restoring")).then_nothing()
        given = given.when(c.StartAgent(lease_generation=1, generation=1, boot_id="b1")).then(RUN_STARTED)
        assert given.state.public_state == "running"
        given.when(c.EnterPhase(lease_generation=1, phase="preparing")).then_nothing()

    def test_an_agent_starts_once(self):
        run.given(*RUNNING).when(c.StartAgent(lease_generation=1, generation=1, boot_id="b2")).then_nothing()

    def test_none_starts_once_the_run_is_canceled(self):
        run.given(*PREPARING, CANCEL_REQUESTED).when(
            c.StartAgent(lease_generation=1, generation=1, boot_id="b1")
        ).then_nothing()


class TestBeforeTheAgentStarted:
    @pytest.mark.parametrize("error_class", ["environment", "executor_lost", "network", "timeout", "internal"])
    def test_whatever_failed_is_tried_again(self, error_class):
        given = run.given(*PREPARING).when(fail(error_class)).then(retry(error_class))
        assert given.state.public_state == "queued"
        assert given.state.stage.available_at == RETRY_AT

    @pytest.mark.parametrize("error_class", sorted(FINAL_ERRORS))
    def test_but_credentials_and_bad_input_are_final(self, error_class):
        given = (
            run.given(*PREPARING)
            .when(fail(error_class))
            .then(e.RunFinished(lease_generation=1, outcome="failed", exported=False, error=error(error_class)))
        )
        assert given.state.public_state == "failed"

    @pytest.mark.parametrize("history", [RETRYING, FINISHED, SYNCING], ids=["retrying", "finished", "syncing"])
    def test_a_failure_of_nothing_changes_nothing(self, history):
        run.given(*history).when(fail("network")).then_nothing()


class TestAfterTheAgentStarted:
    @pytest.mark.parametrize("error_class", sorted(TRANSIENT_ERRORS))
    def test_a_provider_s_passing_error_is_tried_again(self, error_class):
        given = run.given(*RUNNING, failed_agent(error_class), SYNCING_NOW, EXPORTED_NOW)
        given.when(c.FinishRun(lease_generation=1, retry_at=RETRY_AT)).then(retry(error_class))

    @pytest.mark.parametrize(
        "error_class", ["environment", "executor_lost", "script_failed", "auth_missing", "timeout"]
    )
    def test_all_else_is_final(self, error_class):
        given = run.given(*RUNNING, failed_agent(error_class), SYNCING_NOW, EXPORTED_NOW)
        given.when(c.FinishRun(lease_generation=1, retry_at=RETRY_AT)).then(
            e.RunFinished(lease_generation=1, outcome="failed", exported=True, error=error(error_class))
        )

    def test_a_lost_executor_ends_the_agent_not_the_run(self):
        given = run.given(*RUNNING).when(fail("executor_lost")).then(failed_agent("executor_lost"))
        assert given.state.public_state == "running"

    def test_a_lost_tail_is_told(self):
        entry = e.MessageDelta(lease_generation=1, text="x")
        run.given(*RUNNING).given(entry, event_id="r1/1/b1/1").when(fail("executor_lost", tail_lost=True)).then(
            e.RunTailLost(lease_generation=1, attempt=1, recorded_entries=1, reason="it broke"),
            failed_agent("executor_lost"),
        )


class TestThePolicy:
    def queued(self, policy):
        return e.RunQueued(spec=replace(SPEC, retry_policy=policy))

    def test_never_means_never(self):
        run.given(self.queued("never"), claimed()).when(fail("network")).then_types(e.RunFinished)

    @pytest.mark.parametrize("error_class", ["script_failed", "bad_input", "executor_lost"])
    def test_always_means_the_agent_s_own_failures_too(self, error_class):
        given = run.given(self.queued("always"), claimed(), RUN_STARTED, failed_agent(error_class), *SYNCING[-1:])
        given = given.given(EXPORTED_NOW)
        given.when(c.FinishRun(lease_generation=1, retry_at=RETRY_AT)).then(retry(error_class))

    def test_but_not_a_canceled_run(self):
        given = run.given(self.queued("always"), claimed(), CANCEL_REQUESTED)
        given.when(fail("network")).then(
            e.RunFinished(lease_generation=1, outcome="canceled", exported=False, error=error("network"))
        )


class TestTheCap:
    HISTORY = (*QUEUED, claimed(1, 1), retry("network", 1), claimed(2, 2), retry("network", 2, 2), claimed(3, 3))

    def test_the_last_attempt_is_final(self):
        message = "attempt 3 of 3 failed: it broke"
        run.given(*self.HISTORY).when(fail("network", lease=3)).then(
            e.RunFinished(
                lease_generation=3, outcome="failed", exported=False, error=error("attempts_exhausted", message)
            )
        )

    def test_an_attempt_that_an_outage_excuses_does_not_count(self):
        excused = replace(retry("network", 3, 3), excused=True)
        given = run.given(*self.HISTORY).when(replace(fail("network", lease=3), excused=True)).then(excused)
        assert (given.state.attempt, given.state.counted_attempts) == (3, 2)
        history = (*self.HISTORY, excused, claimed(4, 4))
        message = "attempt 3 of 3 failed: it broke"
        run.given(*history).when(fail("network", lease=4)).then(
            e.RunFinished(
                lease_generation=4, outcome="failed", exported=False, error=error("attempts_exhausted", message)
            )
        )
        run.given(*history).when(c.ClaimRun(lease_generation=5, owner="w1")).then_types(e.RunClaimed, e.RunFinished)

    def test_an_agent_that_an_outage_has_ended_is_excused_too(self):
        history = (*QUEUED, claimed(1, 1), retry("network", 1), claimed(2, 2), retry("network", 2, 2), claimed(3, 3))
        ended = replace(failed_agent("model_unavailable"), lease_generation=3)
        started = replace(RUN_STARTED, lease_generation=3, attempt=3)
        syncing, exported = replace(SYNCING[-1], lease_generation=3), replace(EXPORTED_NOW, lease_generation=3)
        finish = c.FinishRun(lease_generation=3, retry_at=RETRY_AT, excused=True)
        run.given(*history, started, ended, syncing, exported).when(finish).then(
            replace(retry("model_unavailable", 3, 3), excused=True)
        )

    def test_what_is_final_is_not_excused(self):
        command = replace(fail("bad_input", lease=3), excused=True)
        run.given(*self.HISTORY).when(command).then_types(e.RunFinished)

    def test_an_outage_does_not_excuse_for_ever(self):
        excused = replace(retry("network", 1, 1), excused=True)
        history = [*QUEUED]
        for _ in range(MAX_EXCUSED):
            history += [claimed(1, 1), excused]
        history += [claimed(2, MAX_EXCUSED + 3)]
        run.given(*history).when(replace(fail("network", lease=2), excused=True)).then_types(e.RunFinished)

    def test_what_is_final_anyway_keeps_its_own_error(self):
        run.given(*self.HISTORY).when(fail("bad_input", lease=3)).then(
            e.RunFinished(lease_generation=3, outcome="failed", exported=False, error=error("bad_input"))
        )


class TestUsage:
    def test_is_settled_at_the_end_over_all_attempts(self):
        history = (
            *RUNNING,
            replace(failed_agent("rate_limited"), usage=Usage(input_tokens=10, cached_input_tokens=4)),
            SYNCING_NOW,
            EXPORTED_NOW,
            retry("rate_limited"),
            claimed(2, 2),
            replace(RUN_STARTED, lease_generation=2, attempt=2),
            replace(AGENT_DONE, lease_generation=2),
            replace(SYNCING_NOW, lease_generation=2),
            replace(EXPORTED_NOW, lease_generation=2),
        )
        finished = run.given(*history).when(c.FinishRun(lease_generation=2, retry_at=RETRY_AT)).events[-1]
        assert finished.usage == Usage(input_tokens=110, output_tokens=7, cached_input_tokens=4, cost_usd=0.5)

    def test_is_settled_for_a_run_that_is_canceled_between_attempts(self):
        history = (*RUNNING, replace(failed_agent("rate_limited"), usage=USAGE), retry("rate_limited"))
        canceled = run.given(*history).when(c.CancelRun()).events[-1]
        assert (canceled.outcome, canceled.usage) == ("canceled", USAGE)
