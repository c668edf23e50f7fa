"""Time travel: whatever the API answered, it answers again when it is asked for that moment."""

import random
from collections import Counter
from datetime import datetime
from typing import Any

import httpx
import pytest

from interfaces.http.edge.queries import AsOfQuery, ListAsOfQuery
from interfaces.http.routes import ENDPOINTS
from tests.support.api_server import ApiServer, running_api
from tests.support.mixed_history import append_all, mixed_history
from tests.support.random_calls import RandomCalls

# Every read that takes a moment, with the queries that it is asked with.
WITH_A_PAST = {
    "/api/session-workers/{sessionId}": ("",),
    "/api/session-workers/{sessionId}/syncs": ("?limit=2",),
    "/api/session-workers/{sessionId}/workspace": ("", "?path=/workspace/folder"),
    "/api/session-workers/{sessionId}/workspace/file": ("?path=/workspace/folder/file",),
    "/api/session-workers": ("", "?state=stopped&limit=1", "?lastSyncStatus=success"),
    "/api/runs/{runId}": ("",),
    "/api/runs/{runId}/usage": ("",),
    "/api/runs/{runId}/todos": ("",),
    "/api/runs/{runId}/todos/events": ("", "?after=12&limit=2"),
    "/api/runs": ("", "?limit=2", "?state=running", "?sessionId={sessionId}&limit=1"),
    "/api/human-loop/requests": ("", "?runId={runId}"),
    "/api/human-loop/pending": ("", "?runId={runId}&limit=1"),
    "/api/usage": ("?groupBy=provider&groupBy=day", "?groupBy=runId"),
    "/api/streams/{streamId}/events": ("", "?after=2&limit=3"),
}
# Every other read, and why no moment can be asked for.
WITHOUT_A_PAST = {
    "/api/runs/{runId}/stream": "the events themselves: `cursor` and `replay` go through the past",
    "/api/runs/{runId}/diff": "compares two moments, `from` and `to`",
    "/api/session-workers/{sessionId}/diff": "compares two moments, `from` and `to`",
    "/api/session-workers/{sessionId}/logs": "operational: what an executor keeps in memory",
    "/api/events": "the log itself: `after` and `to` bound it",
    "/api/events/{position}/why": "what an event led to grows with the log",
    "/api/runs/queue/{runId}": "an operational row, which no event makes",
    "/api/queue": "operational",
    "/api/effects": "operational; each try is kept with its times",
    "/api/effects/{effectKey}": "operational; each try is kept with its times",
    "/api/process-managers": "operational",
    "/api/providers": "what this installation can do",
    "/api/chat-opencode-history": "a view for older clients; sessions and runs have a past",
    "/api/chat-opencode-history/{chatId}": "a view for older clients; sessions and runs have a past",
    "/api/audit/verify": "walks the whole log",
    "/api/audit/checkpoint": "attests the whole log",
    "/api/audit/export": "the log itself: `after` and `upTo` bound it",
}
SESSIONS, RUNS_EACH, OUTSIDE = 3, 2, 2
SESSION_IDS = [f"session-{n}" for n in range(SESSIONS)] + [f"outside-session-{n}" for n in range(OUTSIDE)]
RUN_IDS = [f"run-{n}" for n in range(SESSIONS * RUNS_EACH)] + [f"outside-{n}" for n in range(OUTSIDE)] * 3
RECORDED_AT_ONCE = 12


def test_every_read_takes_a_moment_or_says_why_not() -> None:
    reads = {each.path: each for each in ENDPOINTS if each.method == "GET" and each.path.startswith("/api/")}
    taking = {path for path, each in reads.items() if issubclass(each.query, AsOfQuery | ListAsOfQuery)}

    assert taking == set(WITH_A_PAST)
    assert set(reads) - taking == set(WITHOUT_A_PAST)


class Recorded:
    """A live answer, and where it was asked for."""

    def __init__(self, path: str, url: str, answer: httpx.Response) -> None:
        self.path, self.url, self.answer = path, httpx.URL(url), _content(answer)
        self.as_of = int(answer.headers.get("x-as-of-position") or answer.json()["asOfPosition"])

    @property
    def stream(self) -> str | None:
        """The one stream that the answer is about."""
        parts = self.url.path.split("/")
        if "runId" in self.url.params:
            return f"run:{self.url.params['runId']}"
        kinds = {"session-workers": "session:", "runs": "run:", "streams": ""}
        return kinds[parts[2]] + parts[3] if len(parts) > 3 and parts[2] in kinds else None

    def again(self, client: httpx.Client, **moment: Any) -> Any:
        answer = client.get(self.url.copy_merge_params(moment))
        assert answer.status_code == 200, (self.url, moment, answer.text)
        return _content(answer)


def _content(answer: httpx.Response) -> Any:
    return answer.json() if answer.headers["content-type"] == "application/json" else {"content": answer.content}


def live_answers(client: httpx.Client, random_: random.Random) -> list[Recorded]:
    found = []
    asked = [(path, query) for path, queries in WITH_A_PAST.items() for query in queries]
    for path, query in random_.sample(asked, RECORDED_AT_ONCE):
        session, run = random_.choice(SESSION_IDS), random_.choice(RUN_IDS)
        stream = random_.choice([f"session:{session}", f"run:{run}"])
        url = (path + query).format(sessionId=session, runId=run, streamId=stream)
        answer = client.get(url)
        if answer.status_code not in {404, 400}:  # it isn't there yet, or not as far as `after`
            assert answer.status_code == 200, (url, answer.text)
            found.append(Recorded(path, url, answer))
    return [each for each in found if each.as_of > 0]


def history_with_answers(server: ApiServer, client: httpx.Client, seed: int) -> list[Recorded]:
    random_ = random.Random(seed)
    calls = RandomCalls(client, random_, count=OUTSIDE)
    recorded: list[Recorded] = []
    ends: dict[str, int] = {}
    for batch in mixed_history(sessions=SESSIONS, runs_each=RUNS_EACH, seed=seed):
        position = server.run(append_all(server.deps.store, iter([batch]), ends))
        if random_.random() < 0.5:
            calls.call()
        if random_.random() < 0.3:
            # What is asked for a moment later may see this batch, or not yet, or a part of the read models it.
            assert client.get("/api/runs", params={"minPosition": position}).status_code == 200
            recorded += live_answers(client, random_)
    return recorded


@pytest.mark.proof
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=[pytest.mark.proof, pytest.mark.sampled(1)]) for seed in range(2, 6))]
)
def test_every_answer_is_given_again_for_its_position_its_time_and_its_seq(database: str, seed: int) -> None:
    with running_api(database) as server, server.client() as client:
        recorded = history_with_answers(server, client, seed)
        events = {event.position: event for event in server.run(server.deps.store.read_all(limit=100_000))}
        compared: Counter[tuple[str, str]] = Counter()

        for each in recorded:
            assert each.again(client, atPosition=each.as_of) == each.answer, (each.url, each.as_of)
            compared[each.path, "atPosition"] += 1

            following = events.get(each.as_of + 1)
            time: datetime = events[each.as_of].recorded_at
            if following is None or following.recorded_at > time:
                assert each.again(client, at=time.isoformat()) == each.answer, (each.url, time)
                compared[each.path, "at"] += 1

            seqs = [
                event.seq for event in events.values() if event.stream == each.stream and event.position <= each.as_of
            ]
            if seqs:
                then = each.again(client, atSeq=max(seqs))
                assert _undated(then) == _undated(each.answer), (each.url, max(seqs))
                compared[each.path, "atSeq"] += 1

        assert set(compared) >= {(path, moment) for path in WITH_A_PAST for moment in ("atPosition", "at")}
        of_one = {path for path in WITH_A_PAST if "{" in "".join([path, *WITH_A_PAST[path]])} - {"/api/runs"}
        assert {path for path, moment in compared if moment == "atSeq"} == of_one


def _undated(answer: dict[str, Any]) -> dict[str, Any]:
    """A seq stands for the position of its event; what lies between it and the next one is the same state."""
    return {name: value for name, value in answer.items() if name != "asOfPosition"}


def test_lists_of_the_past_page_with_cursors_of_their_own_moment(database: str) -> None:
    with running_api(database) as server, server.client() as client:
        ends: dict[str, int] = {}
        then = server.run(append_all(server.deps.store, mixed_history(sessions=3, runs_each=2, seed=5), ends))
        whole = client.get("/api/runs", params={"minPosition": then}).json()["items"]
        server.run(append_all(server.deps.store, mixed_history(sessions=2, runs_each=2, seed=6, prefix="later-")))

        paged, cursor = [], None
        while True:
            query = {"atPosition": then, "limit": 4} | ({"cursor": cursor} if cursor else {})
            page = client.get("/api/runs", params=query).json()
            paged += page["items"]
            cursor = page["nextCursor"]
            if cursor is None:
                break

        assert paged == whole


@pytest.mark.parametrize("path", ["/api/session-workers", "/api/runs", "/api/human-loop/requests", "/api/usage"])
def test_a_moment_that_a_list_can_not_have_is_refused(api: ApiServer, client: httpx.Client, path: str) -> None:
    beyond = api.last_position() + 1_000_000

    refused = client.get(path, params={"atPosition": beyond})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "atPosition"

    both = client.get(path, params={"atPosition": 1, "at": "2026-03-04T05:06:07Z"})
    assert both.status_code == 400

    before_all = client.get(path, params={"at": "2001-01-01T00:00:00Z"})
    assert before_all.status_code == 200
    assert before_all.json()["asOfPosition"] == 0


def test_a_workspace_of_the_past_is_named_by_a_sync_or_by_a_moment(api: ApiServer, client: httpx.Client) -> None:
    history = mixed_history(sessions=1, runs_each=1, prefix="workspace-")
    position = api.run(append_all(api.deps.store, history))
    path = "/api/session-workers/workspace-session-0/workspace"

    both = client.get(path, params={"syncPosition": position, "atPosition": position})
    assert both.status_code == 400
    assert both.json()["errors"][0]["field"] == "syncPosition"

    unsynced = client.get(path, params={"atSeq": 2})
    assert unsynced.status_code == 404
    assert "had never been synced then" in unsynced.json()["detail"]
