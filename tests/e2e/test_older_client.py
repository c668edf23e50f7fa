"""A client of the system before, unchanged, on a real server: on loopback, by a proxy, from another origin."""

import hashlib
import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import open_page, running_browser
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.node import node
from tests.support.ports import reserved_port

CLIENT = Path(__file__).with_name("older_client")
KEY = "the-key-of-the-portal"
TIMEOUT_S = 180


@pytest.fixture(scope="module")
def page_port() -> int:
    return reserved_port()


@pytest.fixture(scope="module")
def guarded_fleetlog(tmp_path_factory: pytest.TempPathFactory, page_port: int) -> Iterator[FleetlogServer]:
    """One with an API key, that pages of one other origin may call."""
    settings = {
        "FLEETLOG_API_KEYS": f"portal:{hashlib.sha256(KEY.encode()).hexdigest()}",
        "FLEETLOG_ALLOWED_ORIGINS": f"https://portal.example,http://localhost:{page_port}",
    }
    home = tmp_path_factory.mktemp("guarded") / "home"
    with FleetlogServer(home, **on_shared_postgres(), **settings) as server:
        yield server


def options(base: str, key: str = "") -> dict[str, Any]:
    names = {"chatId": new_id("chat"), "userId": new_id("user"), "projectName": "portal"}
    return {"base": base, "key": key, "names": names}


def in_node(base: str, key: str = "") -> list[str]:
    """The types of the stored events of a run that the client followed."""
    command = [node(), str(CLIENT / "in_node.mjs"), json.dumps(options(base, key))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def check(types: list[str]) -> None:
    assert types[0] == "run.queued"
    assert {"run.started", "message.delta", "todo.update", "todo.snapshot", "run.warning"} <= set(types)
    assert types[-1] == "run.finished"


def test_at_the_api_s_own_origin_on_loopback(shared_fleetlog: FleetlogServer) -> None:
    check(in_node(f"http://127.0.0.1:{shared_fleetlog.port}"))


def test_through_a_reverse_proxy_that_adds_the_api_key(guarded_fleetlog: FleetlogServer) -> None:
    with reverse_proxy(f"http://127.0.0.1:{guarded_fleetlog.port}") as base:
        check(in_node(base))


def test_in_a_browser_from_a_page_of_another_origin_that_is_allowed(
    guarded_fleetlog: FleetlogServer, page_port: int
) -> None:
    base = f"http://127.0.0.1:{guarded_fleetlog.port}"
    call = "async (options) => (await import('/journey.mjs')).journey(options)"
    with pages(page_port), running_browser() as browser:
        with open_page(browser, f"http://localhost:{page_port}/index.html") as page:
            check(page.evaluate(call, options(base, KEY)))
        stranger = browser.new_context().new_page()
        stranger.goto(f"http://127.0.0.1:{page_port}/index.html")
        refused = stranger.evaluate(f"(options) => ({call})(options).then(() => '', String)", options(base, KEY))
    assert refused == "TypeError: Failed to fetch"


@contextmanager
def reverse_proxy(upstream: str) -> Iterator[str]:
    command = [node(), str(CLIENT / "reverse_proxy.mjs"), upstream, KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            yield f"http://127.0.0.1:{int(proxy.stdout.readline())}"
        finally:
            proxy.terminate()


@contextmanager
def pages(port: int) -> Iterator[None]:
    """Serves the client's files to a browser, as an origin of their own."""
    handler = partial(_Files, directory=str(CLIENT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="pages")
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _Files(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012  # the base class has a dict

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""
