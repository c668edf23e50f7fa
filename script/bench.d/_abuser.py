"""An abuser: a session with an API key of its own at a server that others use, too. Everything it does is bounded."""

import asyncio
import http.client
import json
import math
import os
import re
import resource
import textwrap
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

LOOK_S = 0.5
SETTING = re.compile(r"MAX_[A-Z_]+")
AGENT = """python3 - <<'END'
import json, os, sys, time
count, seconds = {count}, {seconds}
def say(report):
    print("::fleetlog", json.dumps(report))
{code}
END
"""


class Abuser:
    """`scale`: the part of each figure that is done, 1 for all of it. `patience_s`: what one abuse may take. Its
    process has a low priority, as if it were on another machine."""

    def __init__(self, port: int, key: str, session_id: str, *, scale: float, patience_s: float) -> None:
        self._port, self._session_id = port, session_id
        self._headers = {"authorization": f"Bearer {key}", "host": "localhost", "content-type": "application/json"}
        self._scale, self._patience_s = scale, patience_s
        self._run_id = f"abuse-{uuid.uuid4().hex[:8]}"
        os.setpriority(os.PRIO_PROCESS, 0, 10)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def runs(self, code: str, count: int, *, seconds: float = 0) -> str:
        """Have the session's agent execute Python code that knows `count` and `seconds`; how its run ended."""
        script = AGENT.format(count=self._part(count), seconds=seconds * self._scale, code=textwrap.dedent(code))
        run = {
            "runId": self._run_id,
            "sessionId": self._session_id,
            "appId": "app",
            "userLoginName": "abuser",
            "provider": "scripted",
            "messages": [{"role": "user", "content": script}],
            "providerOptions": {"interactive": True},
        }
        status, answer = self._asked("POST", "/api/runs/queue/enqueue", run)
        if status != http.client.ACCEPTED:
            return named(status, answer)
        end = time.monotonic() + self._patience_s
        while time.monotonic() < end:
            time.sleep(LOOK_S)
            status, answer = self._asked("GET", f"/api/runs/{self._run_id}")
            if status == http.client.OK and answer["finishedAt"]:
                return ending(answer)
        self._asked("POST", f"/api/runs/{self._run_id}/stop", {})
        return f"went on for {self._patience_s:g} s"

    def posts(self, *, senders: int, size: int, requests: int, seconds: float) -> str:
        """Send callbacks to a run, without a pause, whatever the answers are: `requests` in all with bodies of `size`
        bytes, by `senders` at once, for so many seconds at most."""
        self._bind()
        body_size, left = self._part(size), iter(range(self._part(requests)))
        end, turn = time.monotonic() + min(seconds, self._patience_s), threading.Lock()

        def next_number() -> int | None:
            with turn:
                return next(left, None) if time.monotonic() < end else None

        def send(_: int) -> Counter[str]:
            answers: Counter[str] = Counter()
            while (number := next_number()) is not None:
                answers[named(*self._asked("POST", self._callbacks, batch(number, body_size)))] += 1
            return answers

        with ThreadPoolExecutor(min(senders, self._part(requests))) as threads:
            all_answers = sum(threads.map(send, range(senders)), Counter[str]())
        self._asked("POST", f"/api/runs/{self._run_id}/stop", {})
        return counted(all_answers)

    def follows(self, number: int, *, seconds: float) -> str:
        """Open so many streams of a run that reports ten times a second, and read them all."""
        self._bind()
        request = f"GET /api/runs/{self._run_id}/stream HTTP/1.1\r\n".encode()
        headers = self._headers | {"connection": "close"}
        request += "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n"
        answers = asyncio.run(self._opened(self._part(number), request, max(1, seconds * self._scale)))
        self._asked("POST", f"/api/runs/{self._run_id}/stop", {})
        return counted(answers)

    def idles(self, number: int, *, seconds: float) -> str:
        """Open so many connections and send nothing; how many of them were still open at the end."""
        answers = asyncio.run(self._opened(self._part(number), b"", max(1, seconds * self._scale)))
        return counted(answers)

    async def _opened(self, number: int, request: bytes, seconds: float) -> Counter[str]:
        """What has become of each connection by then."""
        end = asyncio.get_running_loop().time() + seconds

        async def one() -> str:
            try:
                async with asyncio.timeout(seconds):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except (OSError, TimeoutError):
                return "not connected"
            with closing(writer):
                if not request:
                    with suppress(TimeoutError, ConnectionError):
                        async with asyncio.timeout_at(end):
                            await reader.read()
                            return "closed"
                    return "open at the end"
                writer.write(request)
                return await followed(reader, end)

        reporting = asyncio.create_task(self._report_until(end)) if request else None
        answers = Counter(await asyncio.gather(*(one() for _ in range(number))))
        if reporting:
            await reporting
        return answers

    async def _report_until(self, end: float) -> None:
        number = 0
        while asyncio.get_running_loop().time() < end:
            number += 1
            await asyncio.to_thread(self._asked, "POST", self._callbacks, batch(number, 100))
            await asyncio.sleep(0.1)

    def _bind(self) -> None:
        self._callbacks = f"/api/runs/{self._run_id}/callbacks"
        status, answer = self._asked("POST", f"/api/runs/{self._run_id}/bind", {"sessionId": self._session_id})
        assert status == http.client.OK, answer

    def _asked(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Status and answer; status 0 where none came."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._patience_s)
        sent = body if isinstance(body, bytes | None) else json.dumps(body)
        kind = {"content-type": "application/x-ndjson"} if isinstance(body, bytes) else {}
        try:
            connection.request(method, path, sent, self._headers | kind)
            response = connection.getresponse()
            answer = json.loads(response.read() or b"{}")
        except (OSError, http.client.HTTPException) as error:
            return 0, {"reason": type(error).__name__}
        finally:
            connection.close()
        return response.status, answer if isinstance(answer, dict) else {}

    def _part(self, count: int) -> int:
        return max(1, math.ceil(count * self._scale))


def batch(number: int, size: int) -> bytes:
    """Callbacks of 100 KB at most, `size` bytes in all."""
    lines: list[str] = []
    while size > 0:
        report = {
            "eventId": f"{number}-{len(lines)}",
            "type": "message.delta",
            "payload": {"text": "x" * min(size, 100_000)},
        }
        lines.append(json.dumps(report))
        size -= len(lines[-1]) + 1
    return "\n".join(lines).encode()


async def followed(reader: asyncio.StreamReader, end: float) -> str:
    """The status of a stream, and its reason if it is refused; it is read until the end."""
    status = ""
    try:
        async with asyncio.timeout_at(end):
            status = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            if status != "200":
                found = re.search(rb'"reason":\s*"(\w+)"', await reader.read())
                return f"{status} {found[1].decode() if found else ''}".strip()
            while await reader.read(1 << 16):
                pass
            return "200, closed"
    except TimeoutError:
        return status or "no answer"
    except (OSError, asyncio.IncompleteReadError):
        return f"{status} cut off".strip()


def named(status: int, answer: dict[str, Any]) -> str:
    """A status with the reason that the answer gives."""
    return f"{status or 'none'} {answer.get('reason', '')}".strip()


def counted(answers: Counter[str]) -> str:
    return ", ".join(f"{number:,} x {name}" for name, number in answers.most_common())


def ending(run: dict[str, Any]) -> str:
    """A run's outcome, with the codes of its error and its warnings and the settings that they name."""
    said = [(run["error"]["errorClass"], run["error"]["message"])] if run["error"] else []
    said += [(warning["code"], warning["message"]) for warning in run["warnings"]]
    codes = dict.fromkeys(" ".join(dict.fromkeys([code, *SETTING.findall(text)])) for code, text in said)
    return ", ".join([run["outcome"], *codes])
