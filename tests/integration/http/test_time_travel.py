"""Time travel: whatever the API answered, it answers again when it is asked for that moment."""

import random
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.support.api_server import ApiServer, running_api
from tests.support.mixed_history import append_all, mixed_history

OF_SESSION = ("/api/session-workers/{session}", "/api/session-workers/{session}/syncs?limit=2")
OF_RUN = (
    "/api/runs/{run}",
    "/api/runs/{run}/usage",
    "/api/runs/{run}/todos",
    "/api/runs/{run}/todos/events",
    "/api/runs/{run}/todos/events?after=12&limit=2",
    "/api/human-loop/requests?runId={run}",
    "/api/human-loop/pending?runId={run}&limit=1",
)
LISTS = (
    "/api/session-workers",
    "/api/session-workers?state=stopped&limit=1",
    "/api/session-workers?lastSyncStatus=success",
    "/api/runs",
    "/api/runs?limit=2",
    "/api/runs?state=running",
    "/api/runs?sessionId={session}&limit=1",
    "/api/human-loop/requests",
    "/api/human-loop/pending",
    "/api/usage?groupBy=provider&groupBy=day",
)
RECORDED_AT_ONCE = 12


class Recorded:
    """A live answer, and where it was asked for."""

    def __init__(self, url: str, answer: dict[str, Any]) -> None:
        self.url, self.answer, self.as_of = httpx.URL(url), answer, int(answer["asOfPosition"])

    @property
    def stream(self) -> str | None:
        """The one stream that the answer is about."""
        parts = self.url.path.split("/")
        if "runId" in self.url.params:
            return f"run:{self.url.params['runId']}"
        return (
            {"session-workers": "session:", "runs": "run:"}[parts[2]] + parts[3]
            if len(parts) > 3 and parts[2] in {"session-workers", "runs"}
            else None
        )

    def again(self, client: httpx.Client, **moment: Any) -> Any:
        answer = client.get(self.url.copy_merge_params(moment))
        assert answer.status_code == 200, (self.url, moment, answer.text)
        return answer.json()


def live_answers(client: httpx.Client, random_: random.Random, sessions: int, runs: int) -> list[Recorded]:
    found = []
    for template in random_.sample([*OF_SESSION, *OF_RUN, *OF_RUN, *LISTS], RECORDED_AT_ONCE):
        url = template.format(session=f"session-{random_.randrange(sessions)}", run=f"run-{random_.randrange(runs)}")
        answer = client.get(url)
        if answer.status_code != 404:
            assert answer.status_code == 200, (url, answer.text)
            found.append(Recorded(url, answer.json()))
    return [each for each in found if each.as_of > 0]


def history_with_answers(server: ApiServer, client: httpx.Client, seed: int) -> list[Recorded]:
    sessions, runs_each = 3, 2
    random_ = random.Random(seed)
    recorded: list[Recorded] = []
    ends: dict[str, int] = {}
    for batch in mixed_history(sessions=sessions, runs_each=runs_each, seed=seed):
        position = server.run(append_all(server.deps.store, iter([batch]), ends))
        if random_.random() < 0.3:
            # What is asked for a moment later may see this batch, or not yet, or a part of the read models it.
            assert client.get("/api/runs", params={"minPosition": position}).status_code == 200
            recorded += live_answers(client, random_, sessions, sessions * runs_each)
    assert len(recorded) > 150
    return recorded


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.proof), pytest.param(3, marks=pytest.mark.proof)]
)
def test_every_answer_is_given_again_for_its_position_its_time_and_its_seq(database: str, seed: int) -> None:
    with running_api(database) as server, server.client() as client:
        recorded = history_with_answers(server, client, seed)
        events = {event.position: event for event in server.run(server.deps.store.read_all(limit=100_000))}

        for each in recorded:
            assert each.again(client, atPosition=each.as_of) == each.answer, (each.url, each.as_of)

            following = events.get(each.as_of + 1)
            time: datetime = events[each.as_of].recorded_at
            if following is None or following.recorded_at > time:
                assert each.again(client, at=time.isoformat()) == each.answer, (each.url, time)

            if each.stream is not None:
                seqs = [
                    event.seq
                    for event in events.values()
                    if event.stream == each.stream and event.position <= each.as_of
                ]
                then = each.again(client, atSeq=max(seqs)) if seqs else None
                if then is not None:
                    assert {**then, "asOfPosition": each.as_of} == each.answer, (each.url, max(seqs))


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
