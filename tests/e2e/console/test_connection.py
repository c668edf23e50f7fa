"""A key where the server wants one; a server that goes away and comes back; runs that are long."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import open_page
from tests.support.console import console, row, shown_state, start, timeline
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer, new_id

KEY = "the key of ann"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[FleetlogServer]:
    """A server that wants a key."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    with FleetlogServer(tmp_path / "home", **on_shared_postgres(), FLEETLOG_API_KEYS=f"ann:{digest}") as server:
        server.client.headers["authorization"] = f"Bearer {KEY}"
        yield server


@pytest.mark.parametrize("part", ["main.js", "feed.js", "layout.css"])
def test_a_page_of_which_a_part_did_not_arrive_loads_again(
    browser: Browser, shared_fleetlog: FleetlogServer, part: str
) -> None:
    with open_page(browser, "about:blank") as page:
        page.route(f"**/console/{part}", lambda route: route.abort("connectionreset"), times=3)
        page.goto(console(shared_fleetlog, "#/sessions"))

        expect(page.locator(".bar")).to_have_css("display", "flex")
        expect(page.locator("#connection")).to_have_text("Live")
        page.wait_for_load_state()
        assert page.evaluate("sessionStorage.getItem('fleetlog.loads')") is None


def test_a_page_that_never_arrives_whole_says_so(browser: Browser, shared_fleetlog: FleetlogServer) -> None:
    with open_page(browser, "about:blank") as page:
        page.add_init_script("sessionStorage.setItem('fleetlog.loads', '8')")
        page.route("**/console/feed.js", lambda route: route.abort("connectionreset"))
        page.goto(console(shared_fleetlog))

        expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("Parts of this page could not be loaded.")
        expect(page.locator("#connection")).to_have_text("Not loaded")


@pytest.mark.proof
@pytest.mark.timeout(400)
def test_with_a_key_across_a_restart_no_event_is_missed_and_none_is_shown_twice(
    browser: Browser, guarded: FleetlogServer
) -> None:
    run_id = start(guarded, "s", "for n in $(seq 60); do echo line $n.; sleep 0.1; done", "read -r answer")
    guarded.until(run_id, "message.delta")
    with open_page(browser, console(guarded, f"#/runs/{run_id}")) as page:
        dialog = page.get_by_role("dialog", name="API key")
        dialog.get_by_label("Key").fill("another key")
        dialog.get_by_role("button", name="Go on").click()
        expect(dialog).to_contain_text("This key is not known.")
        expect(dialog).not_to_contain_text("kept for this tab")
        expect(page.locator("#forget-key")).to_be_hidden()
        dialog.get_by_label("Key").fill(KEY)
        page.keyboard.press("Enter")
        expect(timeline(page)).to_contain_text("line 2.")
        expect(page.locator("#connection")).to_have_text("Live")
        expect(page.locator("#forget-key")).to_be_visible()

        guarded.kill()
        expect(page.locator("#connection")).to_have_text("Reconnecting")
        guarded.start()

        expect(page.locator("#connection")).to_have_text("Live")
        expect(timeline(page)).to_contain_text("line 60.")
        lines = re.findall(r"line (\d+)\.", timeline(page).inner_text())
        assert [int(each) for each in lines] == list(range(1, 61))
        page.reload()
        expect(timeline(page)).to_contain_text("line 60.")
        expect(page.get_by_role("dialog")).to_have_count(0)

        page.get_by_role("button", name="Cancel run").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel run").click()
        expect(row(page, run_id)).to_contain_text("canceled")
        asked = [frame for frame in guarded.history(run_id) if frame["event"] == "run.cancel_requested"]
        assert len(asked) == 1
        page.get_by_role("button", name="Forget key").click()
        expect(page.get_by_role("dialog", name="API key")).to_be_visible()


@pytest.mark.proof
@pytest.mark.timeout(400)
def test_of_a_long_run_the_end_is_loaded_and_the_rest_on_demand(
    browser: Browser, shared_fleetlog: FleetlogServer
) -> None:
    run_id, session_id = new_id("run"), new_id("session")
    shared_fleetlog.ok("POST", f"/api/runs/{run_id}/bind", json={"sessionId": session_id})
    for part in range(5):
        numbers = range(part * 2000, part * 2000 + 2000)
        tools = [_tool(number // 2, ended=bool(number % 2)) for number in numbers]
        shared_fleetlog.ok("POST", f"/api/runs/{run_id}/callbacks", json=tools)
    with open_page(browser, console(shared_fleetlog, f"#/runs/{run_id}")) as page:
        expect(timeline(page)).to_contain_text("tool-4999")
        assert timeline(page).get_by_role("listitem").count() < 600
        page.get_by_role("button", name="Earlier events").click()
        expect(timeline(page)).to_contain_text("tool-4600")
        expect(timeline(page)).to_contain_text("tool-4999")

        page.get_by_role("slider").fill("101")
        assert shown_state(page, 101)["tools"] == {"started": 50, "finished": 50, "failed": 0}
        expect(timeline(page)).to_contain_text("tool-49")
        expect(timeline(page)).not_to_contain_text("tool-4999")
        page.get_by_role("button", name="Live").click()
        expect(timeline(page).get_by_text("tool-4999")).to_be_in_viewport()

        shared_fleetlog.ok("POST", f"/api/runs/{run_id}/callbacks", json=[_tool(5000, ended=False)])
        expect(timeline(page).get_by_text("tool-5000")).to_be_in_viewport()
        shared_fleetlog.ok("POST", f"/api/runs/{run_id}/stop")


def _tool(number: int, *, ended: bool) -> dict[str, Any]:
    kind = "tool.end" if ended else "tool.start"
    return {"eventId": f"{number} {kind}", "type": kind, "payload": {"toolId": str(number), "name": f"tool-{number}"}}
