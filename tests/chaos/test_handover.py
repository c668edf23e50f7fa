"""Who follows an agent changes, by deploy or by crash; who reads the run's stream sees each event once, in order."""

import signal
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.fleetlog_parts import Installation, installation
from tests.support.fleetlog_server import frames_of

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]
LINES = 200
SCRIPT = f"for n in $(seq 1 {LINES}); do echo line $n; sleep 0.2; done"
PATIENCE_S = 60


@pytest.fixture
def parts(tmp_path_factory: pytest.TempPathFactory, database: str, bucket: ObjectStoreAccess) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("parts")
    with installation(folder, database, bucket, RUN_QUEUE_LOCK_MS="2000") as parts:
        yield parts


class Browser:
    """Reads a run's stream to its end, as an EventSource does: it reconnects with the last id that it has seen."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.seen: list[dict[str, Any]] = []
        self.connections, self.closed = 0, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        retry = threading.Event()
        while not self.closed:
            try:
                self._read()
            except httpx.HTTPError:
                retry.wait(0.1)

    def _read(self) -> None:
        headers = {"Last-Event-ID": self.seen[-1]["id"]} if self.seen else {}
        with (
            httpx.Client(trust_env=False, timeout=PATIENCE_S) as client,
            client.stream("GET", self._url, headers=headers) as response,
        ):
            self.connections += 1
            self.closed = response.status_code == 204
            for frame in frames_of(response):
                with self._changed:
                    if "id" in frame:
                        self.seen.append(frame)
                    self.closed = frame["event"] == "run.closed"
                    self._changed.notify_all()

    def until(self, event: str, times: int = 1) -> None:
        """Wait until it has seen so many of them."""

        def there() -> bool:
            return sum(frame["event"] == event for frame in self.seen) >= times

        with self._changed:
            assert self._changed.wait_for(there, PATIENCE_S), [frame["event"] for frame in self.seen]

    def to_the_end(self) -> list[dict[str, Any]]:
        self._thread.join(PATIENCE_S)
        assert self.closed, [frame["event"] for frame in self.seen]
        return self.seen


def browser(parts: Installation, run_id: str) -> Browser:
    return Browser(f"http://127.0.0.1:{parts.api.port}/api/runs/{run_id}/stream")


def assert_saw_it_all_once(parts: Installation, run_id: str, seen: list[dict[str, Any]]) -> None:
    recorded = parts.events(f"run:{run_id}")
    assert [int(frame["id"]) for frame in seen] == list(range(1, len(recorded) + 1))
    assert [frame["event"] for frame in seen] == [event["type"] for event in recorded]
    text = "".join(frame["data"]["text"] for frame in seen if frame["event"] == "message.delta")
    assert text.split("\n")[:LINES] == [f"line {n + 1}" for n in range(LINES)]
    assert seen[-1]["data"]["outcome"] == "succeeded"
    parts.assert_log_equals_journals(run_id, "s")


def test_a_deploy_and_a_crash_of_workers_are_invisible_to_who_reads_the_stream(parts: Installation) -> None:
    first = parts.worker()
    run_id = parts.api.enqueued(SCRIPT, sessionId="s")
    reader = browser(parts, run_id)
    reader.until("message.delta", 5)

    second = parts.worker()
    first.send(signal.SIGTERM)
    reader.until("run.claimed", 2)
    assert first.died(PATIENCE_S) == 0
    reader.until("message.delta", 15)
    parts.worker()
    second.kill()
    reader.until("run.claimed", 3)
    seen = reader.to_the_end()

    assert_saw_it_all_once(parts, run_id, seen)
    assert reader.connections == 1
    (found,) = parts.events("reconcile:runs")  # the deploy gave its lease back, the crash left it to be found
    assert (found["payload"]["acted"], found["payload"]["subjects"]) == (1, [run_id])


def test_a_crash_of_the_api_is_a_reconnect_to_who_reads_the_stream(parts: Installation) -> None:
    parts.worker()
    run_id = parts.api.enqueued(SCRIPT, sessionId="s")
    reader = browser(parts, run_id)
    reader.until("message.delta", 5)

    parts.api.kill()
    parts.api.start()
    reader.until("message.delta", 15)
    parts.api.stop()
    parts.api.start()
    seen = reader.to_the_end()

    assert_saw_it_all_once(parts, run_id, seen)
    assert reader.connections > 2
