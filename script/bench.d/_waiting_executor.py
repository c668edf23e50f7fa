"""One executor for all sessions, over HTTP, whose agents do nothing: a run whose message is `ask` asks a question,
waits for its answer and ends; any other ends at once. Prints its URL, and ends with its input. `GET /begun`: when each
agent was started."""

import asyncio
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from application import executor_protocol as protocol
from domain.workspace.sync import SyncRef

BOOT = "0123456789abcdef"
HEARTBEAT_S = 10.0
SYNCED = SyncRef(manifest_key="p/manifests/1-1-0.json", manifest_hash="0" * 64)


class Agent:
    def __init__(self, request: protocol.StartRequest) -> None:
        self.attempt, self.asks = request.attempt, request.spec.messages[-1].content == "ask"
        self.begun, self.answered = time.time(), asyncio.Event()

    def journal(self) -> list[protocol.JournalEntry]:
        told: list[tuple[str, dict[str, Any]]] = []
        if self.asks:
            told.append(("human_loop.requested", {"questionId": "q", "prompt": "Go on?"}))
        if self.asks and self.answered.is_set():
            told.append(("human_loop.resolved", {"questionId": "q", "answer": "yes"}))
        if not self.asks or self.answered.is_set():
            told.append(("run.agent_finished", {"outcome": "succeeded", "exitCode": 0}))
        return [
            protocol.JournalEntry(
                n=n,
                boot_id=BOOT,
                attempt=self.attempt,
                type=type_,
                payload=msgspec.Raw(msgspec.json.encode(payload)),
                ts=datetime.now(UTC),
            )
            for n, (type_, payload) in enumerate(told, 1)
        ]

    def state(self, run_id: str) -> protocol.RunState:
        journal = self.journal()
        return protocol.RunState(
            run_id=run_id,
            attempt=self.attempt,
            boot_id=BOOT,
            entries=len(journal),
            finished=journal[-1].type == "run.agent_finished",
        )

    async def stream(self, cursor: int) -> AsyncIterator[bytes]:
        while True:
            for entry in self.journal()[cursor:]:
                cursor = entry.n
                yield msgspec.json.encode(entry) + b"\n"
                if entry.type == "run.agent_finished":
                    return
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self.answered.wait()
            except TimeoutError:
                yield b"\n"


agents: dict[str, Agent] = {}


def answer(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


async def health(_request: Request) -> Response:
    return answer(protocol.ExecutorHealth(boot_id=BOOT, restored=True))


async def begun(_request: Request) -> Response:
    return answer({run_id: agent.begun for run_id, agent in agents.items()})


async def start(request: Request) -> Response:
    asked = msgspec.json.decode(await request.body(), type=protocol.StartRequest)
    agent = agents.setdefault(asked.run_id, Agent(asked))
    return answer(agent.state(asked.run_id))


async def state(request: Request) -> Response:
    run_id = request.path_params["run_id"]
    return answer(agents[run_id].state(run_id)) if run_id in agents else Response(status_code=404)


async def follow(request: Request) -> Response:
    cursor = int(request.query_params.get("cursor", 0))
    return StreamingResponse(agents[request.path_params["run_id"]].stream(cursor), media_type="application/x-ndjson")


async def reply(request: Request) -> Response:
    agents[request.path_params["run_id"]].answered.set()
    return answer(protocol.ReplyResult())


def always(body: object) -> Any:
    async def endpoint(_request: Request) -> Response:
        return answer(body)

    return endpoint


ROUTES = [
    Route("/health", health),
    Route("/begun", begun),
    Route("/workspace/restore", always(protocol.RestoreResult()), methods=["POST"]),
    Route("/workspace/link-agent-data", always(protocol.LinkResult()), methods=["POST"]),
    Route("/workspace/validate", always(protocol.ValidateResult(ok=True)), methods=["POST"]),
    Route("/workspace/sync", always(protocol.SyncResult(sync=SYNCED, unchanged=True)), methods=["POST"]),
    Route("/provider-runs/start", start, methods=["POST"]),
    Route("/provider-runs/{run_id}", state),
    Route("/provider-runs/{run_id}/stream", follow),
    Route("/provider-runs/{run_id}/stop", state, methods=["POST"]),
    Route("/provider-runs/{run_id}/human-loop/reply", reply, methods=["POST"]),
]


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(Starlette(routes=ROUTES), log_level="warning", lifespan="off", timeout_keep_alive=75)
    server = uvicorn.Server(config)

    def end_with_input() -> None:
        sys.stdin.read()
        server.should_exit = server.force_exit = True

    threading.Thread(target=end_with_input, daemon=True).start()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
