"""The ordinary sessions of the hostile benchmark: each has one script run after the other that prints what time it is,
and a client that follows it. Beside them a probe asks for /health.

Stamps of containers and of clients are of the same clock: they are on one machine.
"""

import asyncio
import itertools
import json
import time
from contextlib import closing, suppress
from typing import Any, NamedTuple

import httpx

STARTING = 8
HEALTH_EVERY_S, HEALTH_TIMEOUT_S = 0.05, 5.0
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
TICK_S = 0.25
END_S = 90.0
"""What a run may take beyond the time of its script."""
AFTER_FAILURE_S = 1.0
SCRIPT = """
exec python3 -u -c 'import time
for _ in range({ticks}):
    print(time.time_ns())
    time.sleep({tick_s})'
"""


class Delta(NamedTuple):
    """`printed`: seconds since 1970; `late`: seconds from then to its arrival at the client."""

    printed: float
    late: float


class Run(NamedTuple):
    """`failure`: empty if it succeeded with all its output."""

    began: float
    ended: float
    failure: str


class Probe(NamedTuple):
    """`took`: seconds, HEALTH_TIMEOUT_S at most."""

    at: float
    took: float


class Neighbours:
    """As an async context manager: their sessions are active, and they work. `run_s`: how long a script takes."""

    def __init__(self, port: int, key: str, number: int, run_s: float) -> None:
        self._port, self._headers = port, {"authorization": f"Bearer {key}"}
        self._number, self._ticks = number, max(2, round(run_s / TICK_S))
        self._begun: dict[int, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.deltas: list[Delta] = []
        self.runs: list[Run] = []
        self.probes: list[Probe] = []

    async def __aenter__(self) -> "Neighbours":
        limits = httpx.Limits(max_connections=None)
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self._port}",
            headers=self._headers,
            timeout=END_S,
            trust_env=False,
            limits=limits,
        )
        starting = asyncio.Semaphore(STARTING)

        async def activate(number: int) -> None:
            async with starting:
                body = {"appId": "app", "userLoginName": f"user-{number}"}
                path = f"/api/session-workers/ordinary-{number}/activate"
                (await self._client.post(path, json=body)).raise_for_status()

        await asyncio.gather(*(activate(number) for number in range(self._number)))
        self._tasks = [asyncio.create_task(self._works(number)) for number in range(self._number)]
        self._tasks.append(asyncio.create_task(self._probe()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._client.aclose()

    async def settled(self, moment: float) -> None:
        """Return once all runs that had begun by then are over: whatever they printed has arrived."""
        while any(began <= moment for began in self._begun.values()):  # noqa: ASYNC110  # its runs end one by one
            await asyncio.sleep(0.1)

    async def _works(self, number: int) -> None:
        # Their runs begin at different times.
        await asyncio.sleep(number / self._number * self._ticks * TICK_S)
        for turn in itertools.count():
            self._begun[number] = began = time.time()
            try:
                async with asyncio.timeout(self._ticks * TICK_S + END_S):
                    failure = await self._run(number, f"ordinary-{number}-{turn}")
            except (httpx.HTTPError, TimeoutError, ValueError, KeyError) as error:
                failure = f"{type(error).__name__} {error}".strip()
            self.runs.append(Run(began, time.time(), failure))
            if failure:
                await asyncio.sleep(AFTER_FAILURE_S)

    async def _run(self, number: int, run_id: str) -> str:
        """What is wrong with the run; empty if it is as it should be."""
        body = {
            "runId": run_id,
            "sessionId": f"ordinary-{number}",
            "appId": "app",
            "userLoginName": f"user-{number}",
            "provider": "scripted",
            "messages": [{"role": "user", "content": SCRIPT.format(ticks=self._ticks, tick_s=TICK_S)}],
        }
        answer = await self._client.post("/api/runs/queue/enqueue", json=body)
        if answer.status_code != httpx.codes.ACCEPTED:
            return f"enqueue: {answer.status_code} {answer.json().get('reason', '')}"
        stamps, state = 0, ""
        async with self._client.stream("GET", f"/api/runs/{run_id}/stream") as stream:
            if stream.status_code != httpx.codes.OK:
                return f"stream: {stream.status_code}"
            kind = held = ""
            async for line in stream.aiter_lines():
                now = time.time()
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind == "message.delta":
                    *whole, held = (held + json.loads(line.removeprefix("data: "))["text"]).split("\n")
                    stamps += len(whole)
                    self.deltas += [Delta(int(stamp) / 1e9, now - int(stamp) / 1e9) for stamp in whole]
                elif line.startswith("data: ") and kind == "run.finished":
                    state = _said(json.loads(line.removeprefix("data: ")))
        if state == "succeeded" and stamps != self._ticks:
            return f"{stamps} lines of {self._ticks} came"
        return "" if state == "succeeded" else state or "the stream ended before the run"

    async def _probe(self) -> None:
        while True:
            at = time.time()
            self.probes.append(Probe(at, await health(self._port)))
            await asyncio.sleep(at + HEALTH_EVERY_S - time.time())


async def health(port: int) -> float:
    """Seconds until /health answers, each time on a new connection, as probes of orchestrators come."""
    began, status = time.perf_counter(), b""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with closing(writer):
                writer.write(HEALTH)
                status = await reader.readline()
    return time.perf_counter() - began if b" 200 " in status else HEALTH_TIMEOUT_S


def _said(finished: dict[str, Any]) -> str:
    """The outcome that a run's last event names, with its error."""
    error = finished.get("error") or {}
    exported = "" if finished.get("exported") else " not exported"
    return f"{finished['outcome']}{exported} {error.get('errorClass', '')}".strip()
