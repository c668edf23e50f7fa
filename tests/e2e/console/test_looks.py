"""What agents wrote stays text; it can be read in the light and in the dark, on a wide screen and on a narrow one."""

import shlex
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import hard_to_read, open_page
from tests.support.console import ask, console, questions, row, say, settled, shown_state, start, timeline
from tests.support.fleetlog_server import FleetlogServer

HOSTILE = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script><b>bold</b>'


def test_hostile_text_stays_text(browser: Browser, shared_fleetlog: FleetlogServer, session: str) -> None:
    run_id = start(
        shared_fleetlog,
        session,
        f"echo {shlex.quote(HOSTILE)}",
        say(type="reasoning.delta", text=HOSTILE),
        say(type="tool.start", toolId="a", name=HOSTILE, input={HOSTILE: HOSTILE, "path": HOSTILE}),
        say(type="tool.end", toolId="a", output=HOSTILE),
        say(type="todo.update", todo={"todoId": HOSTILE, "content": HOSTILE}),
        ask(HOSTILE, HOSTILE, HOSTILE),
        "read -r answer; exit 1",
        prompt=HOSTILE,
    )
    asked = shared_fleetlog.until(run_id, "human_loop.requested")[-1]
    with open_page(browser, console(shared_fleetlog)) as page:
        expect(page.get_by_role("region", name=HOSTILE)).to_be_visible()
        row(page, run_id).click()
        for kind in ("text", "thought", "tool", "todos", "question"):
            expect(timeline(page).locator(f".k-{kind}")).to_contain_text(HOSTILE)
        timeline(page).locator(".k-tool summary").click()
        expect(timeline(page).locator(".tool-inside")).to_contain_text(HOSTILE)
        page.get_by_role("slider").fill(asked["id"])
        shown_state(page, int(asked["id"]))
        expect(page.get_by_role("complementary")).to_contain_text(HOSTILE)
        page.get_by_role("button", name="Live").click()
        timeline(page).get_by_role("button", name=HOSTILE).click()
        expect(page.locator(".head-chip")).to_have_text("failed")

        assert page.locator("img:not([src='console/mark.svg']), body script, main b").count() == 0
        assert page.evaluate("window.hurt") is None
        assert [each["answer"] for each in questions(shared_fleetlog, run_id)] == [HOSTILE]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(
    browser: Browser, shared_fleetlog: FleetlogServer, finished: str, scheme: Literal["light", "dark"]
) -> None:
    url = console(shared_fleetlog, f"#/runs/{finished}")
    with open_page(browser, url, color_scheme=scheme, reduced_motion="reduce") as page:
        shown_state(page, settled(shared_fleetlog, finished)["seq"])
        expect(timeline(page)).to_contain_text("heard yes")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(background.removeprefix("rgb(").split(",")[0]) < 64) == (scheme == "dark")
        assert hard_to_read(page) == []
        assert page.evaluate("document.getAnimations().length") == 0


def test_nothing_is_wider_than_a_narrow_screen(
    browser: Browser, shared_fleetlog: FleetlogServer, session: str, finished: str
) -> None:
    position = settled(shared_fleetlog, finished)["position"]
    sees = {
        "": "h1",
        "#/runs": ".row",
        "#/sessions": ".row",
        f"#/sessions/{session}": ".block",
        f"#/events/{position}/why": "[role=treeitem]",
        f"#/runs/{finished}": ".block",
    }
    with open_page(browser, console(shared_fleetlog), viewport={"width": 400, "height": 800}) as page:
        for route, selector in sees.items():
            page.goto(console(shared_fleetlog, route))
            expect(page.locator(selector).first).to_be_visible()
            assert page.evaluate("document.scrollingElement.scrollWidth") <= 400, route
        expect(page.get_by_role("slider")).to_be_in_viewport()
        page.get_by_role("link", name="All").click()
        expect(row(page, finished)).to_be_visible()
