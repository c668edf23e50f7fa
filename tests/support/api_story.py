"""The examples of the API, sent one after the other to a real server: the story of ada's session `s1`.

What only the server can name (a dead letter, the position of a sync) is put into the example's place.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from domain.identifiers import container_name
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.edge.queries import ReadQuery
from interfaces.http.routes import ENDPOINTS
from tests.support.fleetlog_server import FleetlogServer
from tests.support.raw_append import append_raw

PATIENCE_S = 120
BY_NAME: Mapping[str, Endpoint] = {endpoint.name: endpoint for endpoint in ENDPOINTS}
Told = tuple[Endpoint, httpx.Response]


class ApiStory:
    """`dsn`: of the server's database, in which one event is planted that no code knows."""

    def __init__(self, server: FleetlogServer, dsn: str) -> None:
        self._server, self._dsn = server, dsn

    def told(self) -> Iterator[Told]:
        """Every operation once, with the server's answer."""
        for session in ("d1", "d2"):
            (self._server.home / "workers" / container_name(session, 1)).write_text("in the way of the worker's folder")
            self._server.client.post(f"/api/session-workers/{session}/activate", params={"waitMs": 0}, json=ADA)
        yield from self._each("getHealth", "getReadiness", "getMetrics", "listProviders")
        yield from self.begun()
        yield from self._each(
            "stopSession", "stopIdleSessions", "removeStoppedSessions", "reconcileRuns", "reconcileSyncs",
            "reconcileEffects", "reconcileContainers", "drainQueue",
        )  # fmt: skip
        yield from self._each("verifyLog", "makeCheckpoint", "exportLog")
        checkpoint = self.sent("makeCheckpoint").json()
        del checkpoint["asOfPosition"]
        yield self._one("verifyCheckpoint", body={"checkpoint": checkpoint})
        yield from self._dead_letters()
        yield from self._stopped_process_manager()

    def begun(self) -> Iterator[Told]:
        """The part of it that makes what most operations are about: sessions with files, runs, a question."""
        yield from self._runs()
        yield from self._each("bindRun", "recordCallbacks", "stopRun")
        yield from self._session()

    def sent(self, name: str, *, body: Any = None, **path: str) -> httpx.Response:
        """The answer to an operation's example, or to it with another body or path parameters."""
        endpoint = BY_NAME[name]
        url = endpoint.path
        for parameter, value in {**endpoint.example_path, **path}.items():
            url = url.replace("{" + parameter + "}", value)
        query = dict(endpoint.example.query)
        if issubclass(endpoint.query, ReadQuery):
            query["minPosition"] = self._server.client.get("/api/events", params={"limit": 1}).json()["asOfPosition"]
        wanted = endpoint.example.body if body is None else body
        options = {} if wanted is None else {"json": wanted}
        return self._server.client.request(endpoint.method, url, params=query, **options)

    def _one(self, name: str, *, body: Any = None, **path: str) -> Told:
        return BY_NAME[name], self.sent(name, body=body, **path)

    def _each(self, *names: str) -> Iterator[Told]:
        return map(self._one, names)

    def _runs(self) -> Iterator[Told]:
        yield from self._each("activateSession", "startRun", "pauseQueue", "getQueue", "resumeQueue", "enqueueRun")
        self._server.until("r2", "human_loop.requested")
        yield from self._each("getQueueItem", "listPendingQuestions", "answerQuestion")
        self._server.history("r2")
        yield from self._each(
            "listRuns", "getRun", "streamRun", "listTodos", "listTodoChanges", "listQuestions", "getRunUsage",
            "getUsage", "listEvents", "listStreamEvents", "explainEvent", "diffRun", "bisectRun",
        )  # fmt: skip

    def _session(self) -> Iterator[Told]:
        yield from self._each(
            "nameChat", "retitleChat", "listChats", "getChat", "getSessionLogs",
            "syncSession", "getSession", "listSessions", "listSyncs", "listWorkspace", "readWorkspaceFile",
            "diffSession", "bisectSession", "forkRun", "planRestore",
        )  # fmt: skip
        position = self.sent("listSyncs").json()["items"][0]["position"]
        yield self._one("restoreWorkspace", body={"syncPosition": position})
        self._server.ok("POST", "/api/session-workers/s2/activate", json=ADA)
        yield self._one("discardWorkspace")

    def _dead_letters(self) -> Iterator[Told]:
        dead = self._until(
            lambda: self._server.client.get("/api/effects", params={"state": "dead"}).json()["effects"],
            lambda effects: len(effects) == 2,
        )
        first, second = (effect["id"] for effect in dead)
        yield self._one("listEffects")
        yield self._one("getEffect", effectKey=first)
        yield self._one("retryEffect", effectKey=first)
        yield self._one("dropEffect", effectKey=second)

    def _stopped_process_manager(self) -> Iterator[Told]:
        async def plant() -> None:
            async with GroupCommitEventStore(self._dsn) as store:
                await append_raw(store, "run:planted", 0, [("run.queued", 1, b'{"spec":1}', datetime.now(UTC))])

        asyncio.run(plant())
        managers = self._until(
            lambda: self._server.client.get("/api/process-managers").json()["processManagers"],
            lambda all_of_them: any(one["status"] == "stopped" for one in all_of_them),
        )
        (position,) = (one["errorPosition"] for one in managers if one["errorPosition"])
        yield self._one("listProcessManagers")
        yield self._once_it_stands("retryProcessManager", {"reason": "try again"})
        yield self._once_it_stands("skipProcessManagerEvent", {"position": position})

    def _once_it_stands(self, name: str, body: Any) -> Told:
        """Until a process manager has told the log that it stopped, and after a retry that it stopped again, commands
        to it get a 409."""
        return BY_NAME[name], self._until(lambda: self.sent(name, body=body), lambda told: told.status_code != 409)

    def _until(self, ask: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
        """The first answer that is enough: the ledger and the process managers tell nobody, so they are asked."""
        deadline = time.monotonic() + PATIENCE_S
        while not enough(answer := ask()):
            assert time.monotonic() < deadline, f"{answer}\n{self._server.log_tail()}"
            time.sleep(0.05)
        return answer


ADA = {"appId": "shop", "userLoginName": "ada"}
