"""A real Prometheus and a real Alertmanager as child processes, each with a folder and a free port of its own."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.ports import reserved_port
from tests.support.prometheus_programs import ALERTMANAGER, PROMETHEUS

START_S = 60.0
PATIENCE_S = 60.0
END_S = 30.0
LAST_LINES = 40


class _Program:
    """`arguments`: beside those that name its port."""

    def __init__(self, folder: Path, program: Path, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, reserved_port()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)
        self._command = [str(program), f"--web.listen-address=127.0.0.1:{self.port}", *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            until(self._is_ready, START_S, self.log_tail)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self.client.close()
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_S)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self._command} ended:\n{self.log_tail()}"
        try:
            return self.client.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def log_tail(self) -> str:
        """The end of what it logged."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LAST_LINES:])


class AlertmanagerServer(_Program):
    """`config`: the text of its file."""

    def __init__(self, folder: Path, config: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "alertmanager.yml"
        file.write_text(config, encoding="utf-8")
        super().__init__(
            folder, ALERTMANAGER, f"--config.file={file}", f"--storage.path={folder}/data", "--cluster.listen-address="
        )


class PrometheusServer(_Program):
    """`config`: the text of its file; `rules`: that of `fleetlog.rules.yml` beside it. It asks targets and rules every
    second, and says each second again what fires."""

    def __init__(self, folder: Path, config: str, rules: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "prometheus.yml"
        pace = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        file.write_text(pace + config, encoding="utf-8")
        (folder / "fleetlog.rules.yml").write_text(rules, encoding="utf-8")
        super().__init__(
            folder,
            PROMETHEUS,
            f"--config.file={file}",
            f"--storage.tsdb.path={folder}/data",
            "--rules.alert.resend-delay=1s",
            "--enable-feature=exemplar-storage",
        )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query, now."""
        return list(self._answer("query", query=expression)["result"])

    def rules(self) -> list[dict[str, Any]]:
        """Those that it has loaded, with their state and what is wrong with them."""
        return [rule for group in self._answer("rules")["groups"] for rule in group["rules"]]

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        now = time.time()
        return list(self._answer("query_exemplars", query=expression, start=now - 3600, end=now + 60))

    def until_scraped(self, *targets: str) -> None:
        """All of what the targets show now is in it: each was scraped twice since."""
        counted = {target: self._scrapes(target) for target in targets}
        until(lambda: all(self._scrapes(each) >= count + 2 for each, count in counted.items()), PATIENCE_S, self._tell)

    def until_true(self, expression: str) -> None:
        """The expression has series."""
        until(lambda: self.query(expression), PATIENCE_S, lambda: f"{expression} stays empty\n{self._tell()}")

    def _scrapes(self, target: str) -> int:
        found = self.query(f'count_over_time(up{{instance="{target}"}}[1h])')
        return int(found[0]["value"][1]) if found else 0

    def _tell(self) -> str:
        targets = [
            (each["scrapeUrl"], each["health"], each["lastError"]) for each in self._answer("targets")["activeTargets"]
        ]
        firing = [(rule["name"], rule["state"], rule.get("lastError", "")) for rule in self.rules()]
        return f"{targets}\n{firing}\n{self.log_tail()}"

    def _answer(self, what: str, **query: Any) -> Any:
        answer = self.client.get(f"/api/v1/{what}", params=query)
        assert answer.is_success, f"{what} {query}: {answer.status_code} {answer.text}"
        body = answer.json()
        assert body["status"] == "success", body
        assert not body.get("warnings"), body
        return body["data"]


def scraping(*targets: str) -> str:
    """The part of a Prometheus' file that scrapes these."""
    return f"scrape_configs:\n  - job_name: fleetlog\n    static_configs: [{{targets: {json.dumps(targets)}}}]\n"


def until(holds: Callable[[], object], timeout_s: float, tell: Callable[[], str]) -> None:
    """Nobody tells, so it is asked."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.1)
