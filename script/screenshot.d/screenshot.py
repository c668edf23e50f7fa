"""Starts a server with a fleet of scripted agents, opens its console, and writes docs/images/console.png."""

import shutil
import sys
import tempfile
from pathlib import Path

from fleet import fill
from playwright.sync_api import expect

from tests.support.browser import open_page, running_browser
from tests.support.fleetlog_server import REPOSITORY, FleetlogServer

MAX_BYTES = 200_000


def draw(server: FleetlogServer, target: Path) -> None:
    url = f"http://127.0.0.1:{server.port}/console#/runs/checkout-retries"
    with running_browser() as browser, open_page(browser, url) as page:
        expect(page.get_by_role("list", name="Timeline").get_by_role("button", name="Send")).to_be_in_viewport()
        expect(page.locator(".row")).to_have_count(6)
        expect(page.locator(".change").first).to_be_visible()
        page.screenshot(path=target)
    size = target.stat().st_size
    assert size <= MAX_BYTES, f"{target} has {size} bytes, more than {MAX_BYTES}"
    print(f"{target.relative_to(REPOSITORY)}: {size:,} bytes")


home = Path(tempfile.mkdtemp(prefix="fleetlog-screenshot-"))
try:
    with FleetlogServer(home / "home") as server:
        server.client.headers["x-actor"] = "ada"
        fill(server)
        draw(server, REPOSITORY / "docs/images/console.png")
finally:
    shutil.rmtree(home, ignore_errors=True)
sys.exit(0)
