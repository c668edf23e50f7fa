"""Usage and recorded syncs: given events, what reads show."""

from domain.event import Event
from domain.run import events as e
from domain.run.values import Usage
from domain.session.events import SessionSynced
from projections import sync_history, usage
from projections.sync_history import SYNC_HISTORY
from projections.usage import MAX_TOKENS, USAGE, UsageRow, columns
from tests.support.mixed_history import sync_ref
from tests.support.recorded import as_json, at, recorded
from tests.unit.projections.test_runs import SPEC

FINISHED = e.RunFinished(
    outcome="failed", exported=True, usage=Usage(input_tokens=5, output_tokens=1, cached_input_tokens=2, cost_usd=0.25)
)


def row_of(*events: Event) -> UsageRow:
    return USAGE.fold_all(recorded("run:r1", [e.RunQueued(spec=SPEC), *events]))["r1"]


def test_usage_is_settled_by_the_end_once() -> None:
    second = e.RunFinished(outcome="succeeded", exported=True, usage=Usage(input_tokens=99))
    assert as_json(usage.view(row_of(FINISHED, second))) == {
        "runId": "r1",
        "sessionId": "s1",
        "appId": "a",
        "projectName": "p",
        "userLoginName": "u",
        "provider": "scripted",
        "model": "m",
        "settled": True,
        "outcome": "failed",
        "day": "2026-03-01",
        "finishedAt": at(2),
        "inputTokens": 5,
        "outputTokens": 1,
        "cachedInputTokens": 2,
        "costUsd": 0.25,
    }


def test_nothing_is_settled_before() -> None:
    agent_finished = e.RunAgentFinished(outcome="succeeded", usage=Usage(input_tokens=5))
    shown = usage.view(row_of(agent_finished))
    assert (shown.settled, shown.input_tokens, shown.day) == (False, 0, None)


def test_no_claim_of_a_provider_breaks_a_sum() -> None:
    absurd = e.RunFinished(
        outcome="succeeded", exported=True, usage=Usage(input_tokens=10**30, output_tokens=-(10**30))
    )
    assert columns(row_of(absurd))[-4:-2] == (MAX_TOKENS, -MAX_TOKENS)


def test_a_report_names_its_dimensions_and_sums() -> None:
    groups, total = usage.report(
        ["provider"],
        [
            (None, None, None, None, None, "codex", None, None, 2, 10, 3, None, None),
            (None, None, None, None, None, "scripted", None, None, 1, 5, 1, 4, 0.25),
        ],
    )
    assert groups == (
        {
            "provider": "codex",
            "runs": 2,
            "inputTokens": 10,
            "outputTokens": 3,
            "cachedInputTokens": None,
            "costUsd": None,
        },
        {
            "provider": "scripted",
            "runs": 1,
            "inputTokens": 5,
            "outputTokens": 1,
            "cachedInputTokens": 4,
            "costUsd": 0.25,
        },
    )
    assert total == {"runs": 3, "inputTokens": 15, "outputTokens": 4, "cachedInputTokens": 4, "costUsd": 0.25}
    assert usage.report([], []) == (
        (),
        {"runs": 0, "inputTokens": 0, "outputTokens": 0, "cachedInputTokens": None, "costUsd": None},
    )


def test_every_recorded_sync_is_kept() -> None:
    syncs = [
        SessionSynced(generation=1, sync_id=str(n), reason="manual", sync=sync_ref(n), files=n, bytes=2 * n)
        for n in (1, 2)
    ]
    rows = SYNC_HISTORY.fold_all(recorded("session:s1", syncs))
    assert list(rows) == ["s1 1", "s1 2"]
    assert as_json(sync_history.view(rows["s1 2"])) == {
        "sessionId": "s1",
        "seq": 2,
        "position": 102,
        "at": at(2),
        "syncId": "2",
        "reason": "manual",
        "generation": 1,
        "runId": None,
        "sync": {"manifestKey": "manifests/1-2.json", "manifestHash": f"{2:064x}"},
        "unchanged": False,
        "files": 2,
        "bytes": 4,
        "uploadedFiles": 0,
        "uploadedBytes": 0,
        "unstablePaths": [],
        "skippedPaths": [],
    }
