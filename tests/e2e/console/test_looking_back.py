"""The slider, the differences and why: the page shows what the API tells of the past."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import open_page
from tests.support.console import console, row, seq_of, settled, shown_state, timeline
from tests.support.fleetlog_server import FleetlogServer

ALWAYS_CHANGING = {"/seq", "/position", "/updatedAt"}


@pytest.mark.proof
def test_the_slider_shows_the_state_and_the_changes_that_the_api_tells(
    browser: Browser, shared_fleetlog: FleetlogServer, finished: str
) -> None:
    path, end = f"/api/runs/{finished}", settled(shared_fleetlog, finished)["seq"]
    with open_page(browser, console(shared_fleetlog, f"#/runs/{finished}")) as page:
        slider = page.get_by_role("slider", name="Event")
        expect(slider).to_have_value(str(end))
        slider.focus()
        for seq, key in ((end - 1, "ArrowLeft"), (end - 2, "ArrowLeft"), (end - 3, "ArrowLeft"), (1, "Home")):
            slider.press(key)
            assert shown_state(page, seq) == shared_fleetlog.ok("GET", path, params={"atSeq": seq})
            difference = shared_fleetlog.ok("GET", f"{path}/diff", params={"from": seq - 1, "to": seq})
            told = [each["path"] for each in difference["changes"] if each["path"] not in ALWAYS_CHANGING]
            assert page.locator(".change").evaluate_all("all => all.map((each) => each.dataset.path)") == told
            expect(page).to_have_url(console(shared_fleetlog, f"#/runs/{finished}?seq={seq}"))
        expect(timeline(page).locator("li.is-later", has_text="heard yes")).to_have_count(1)

        page.get_by_label("Compare with").select_option("the beginning")
        page.get_by_role("button", name="One event on").click()
        assert shown_state(page, 2)["state"] == "claimed"
        page.get_by_role("button", name="Live").click()
        assert shown_state(page, end)["state"] == "succeeded"
        expect(timeline(page).locator("li.is-later")).to_have_count(0)
        expect(page).to_have_url(console(shared_fleetlog, f"#/runs/{finished}"))


def test_a_link_to_a_seq_shows_the_todos_as_they_were(
    browser: Browser, shared_fleetlog: FleetlogServer, finished: str
) -> None:
    seq = seq_of(shared_fleetlog, finished, "todo.snapshot")
    with open_page(browser, console(shared_fleetlog, f"#/runs/{finished}?seq={seq}")) as page:
        shown_state(page, seq)
        todos = page.get_by_role("complementary").get_by_role("listitem")
        expect(todos.filter(has_text="Look around").last).to_contain_text("doing")
        page.get_by_role("button", name="Live").click()
        expect(page.get_by_role("progressbar", name="Todos done")).to_have_attribute("value", "1")


def test_a_link_to_a_seq_shows_a_tool_running_and_a_question_open_as_they_were(
    browser: Browser, shared_fleetlog: FleetlogServer, finished: str
) -> None:
    asked, tool = (seq_of(shared_fleetlog, finished, each) for each in ("human_loop.requested", "tool.start"))
    with open_page(browser, console(shared_fleetlog, f"#/runs/{finished}?seq={asked}")) as page:
        question, grep = page.locator(".k-question"), page.locator(".k-tool", has_text="Grep")
        expect(question).to_contain_text("Open")
        expect(question).not_to_contain_text("yes")
        expect(question.get_by_role("button", name="Send")).to_have_count(0)
        expect(page.locator(".head-line").get_by_text("now", exact=True)).to_be_visible()
        page.get_by_role("slider").fill(str(tool))
        expect(grep).to_contain_text("running")
        page.get_by_role("slider").fill(str(tool + 1))
        expect(grep).not_to_contain_text("running")
        page.get_by_role("button", name="Live").click()
        expect(question).to_contain_text("Answered: yes")
        expect(page.locator(".head-line").get_by_text("now", exact=True)).to_be_hidden()


def test_a_session_has_a_timeline_and_a_past_too(
    browser: Browser, shared_fleetlog: FleetlogServer, session: str, finished: str
) -> None:
    with open_page(browser, console(shared_fleetlog, f"#/sessions/{session}?seq=3")) as page:
        then = shared_fleetlog.ok("GET", f"/api/session-workers/{session}", params={"atSeq": 3})
        assert shown_state(page, 3) == then
        expect(row(page, session)).to_have_attribute("aria-current", "page")
        expect(timeline(page).locator("li", has_text="Run attached").filter(has_text=finished)).to_have_count(1)
        expect(timeline(page).locator("li", has_text="Activated")).to_contain_text("created and started")


def test_a_fork_begins_where_the_slider_is(browser: Browser, shared_fleetlog: FleetlogServer, finished: str) -> None:
    end = settled(shared_fleetlog, finished)["seq"]
    with open_page(browser, console(shared_fleetlog, f"#/runs/{finished}?seq={end}")) as page:
        page.get_by_role("button", name="Fork here").click()
        expect(timeline(page)).to_contain_text(f"from {finished} at seq {end}")
        name = page.get_by_role("heading", level=1).inner_text()
        assert shared_fleetlog.ok("GET", f"/api/session-workers/{name}")["origin"]["atSeq"] == end


def test_by_keyboard_alone_from_the_list_to_why_and_back(
    browser: Browser, shared_fleetlog: FleetlogServer, finished: str
) -> None:
    tool, end = seq_of(shared_fleetlog, finished, "tool.start"), settled(shared_fleetlog, finished)["seq"]
    with open_page(browser, console(shared_fleetlog)) as page:
        expect(row(page, finished)).to_be_visible()
        tab_to(page, ".row")
        page.keyboard.press("Home")
        arrow_to(page, "ArrowDown", finished)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1, name=finished)).to_be_focused()

        tab_to(page, ".block")
        page.keyboard.press("Home")
        arrow_to(page, "ArrowDown", "Grep")
        page.keyboard.press("Enter")
        expect(timeline(page).get_by_text("hay.txt:3: needle")).to_be_visible()
        page.keyboard.press("s")
        assert shown_state(page, tool)["tools"] == {"started": 1, "finished": 0, "failed": 0}
        page.keyboard.press("]")
        assert shown_state(page, tool + 1)["tools"] == {"started": 1, "finished": 1, "failed": 0}

        page.keyboard.press("w")
        asked = page.get_by_role("tree").locator("[data-asked]")
        expect(asked).to_be_focused()
        expect(asked).to_contain_text("tool.start")
        arrow_to(page, "ArrowUp", "Command")
        command = page.get_by_role("treeitem", name="Command").first
        expect(command).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("ArrowLeft")
        expect(asked).not_to_be_visible()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        expect(page.locator(":focus")).to_contain_text("run.queued")

        page.keyboard.press("Escape")
        expect(page.locator(".block:focus")).to_contain_text("Grep")
        expect(page.get_by_role("slider")).to_have_value(str(tool + 1))
        page.keyboard.press("l")
        expect(page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "true")
        tab_to(page, "#seq")
        page.keyboard.press("ArrowLeft")
        says = f"event {end - 1} of {end}, run.exported"
        expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", says)
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("slider")).to_be_focused()


def tab_to(page: Page, selector: str) -> None:
    """Tab until something of this kind has the focus, and can be seen to have it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return
    raise AssertionError(f"Tab does not get to {selector}")


def arrow_to(page: Page, key: str, text: str) -> None:
    """Press an arrow until what has the focus begins with a line of this text."""
    for _ in range(100):
        if text in page.evaluate(
            "document.activeElement.querySelector('.node')?.innerText ?? document.activeElement.innerText"
        ):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not get to {text}")
