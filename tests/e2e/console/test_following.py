"""What happens is on the page as it happens; what a person does there reaches the agent."""

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import open_page
from tests.support.console import WORK, ask, console, questions, row, start, timeline
from tests.support.fleetlog_server import FleetlogServer, new_id

pytestmark = pytest.mark.proof


def test_a_run_is_followed_and_its_question_answered_without_a_reload(
    browser: Browser, shared_fleetlog: FleetlogServer, session: str
) -> None:
    with open_page(browser, console(shared_fleetlog)) as page:
        expect(page.locator("#connection")).to_have_text("Live")
        prompt = f"Which way, {new_id('question')}?"
        goes_on = ("read -r answer", 'echo "heard $answer"', "sleep 0.3", "echo and done")
        run_id = start(shared_fleetlog, session, *WORK, ask("q1", prompt, "left", "right"), *goes_on)

        # It appears in the list, and its question on the first page.
        expect(row(page, run_id)).to_contain_text("waiting for you")
        expect(page.get_by_role("region", name=prompt)).to_contain_text(run_id)
        expect(page).to_have_title(re.compile(r"^\(\d+\) Fleetlog$"))

        row(page, run_id).click()
        expect(page.get_by_role("heading", level=1, name=run_id)).to_be_focused()
        expect(timeline(page)).to_contain_text("first words")
        expect(timeline(page).get_by_text("Look around").first).to_be_visible()
        grep = timeline(page).locator(".k-tool", has_text="Grep")
        expect(grep).to_contain_text("needle")
        expect(grep).to_contain_text("1.2 s")
        expect(grep.get_by_text("hay.txt:3: needle")).not_to_be_visible()
        grep.locator("summary").click()
        expect(grep.get_by_text("hay.txt:3: needle")).to_be_visible()
        expect(timeline(page).locator(".k-tool", has_text="Bash")).to_contain_text("failed")

        timeline(page).get_by_role("button", name="left").click()

        expect(timeline(page)).to_contain_text("heard left")
        expect(timeline(page)).to_contain_text("and done")
        answered = timeline(page).get_by_role("region", name=prompt)
        expect(answered).to_contain_text("Answered: left by anonymous")
        expect(row(page, run_id)).to_contain_text("succeeded")
        expect(page.locator(".head-chip")).to_have_text("succeeded")
        expect(page.locator(".meta")).to_contain_text("1,234 tokens · $0.50")
        expect(page.get_by_role("button", name="Cancel run")).to_have_count(0)
        said = [(each["questionId"], each["answer"]) for each in questions(shared_fleetlog, run_id)]
        assert said == [("q1", "left")]


def test_an_answer_in_words_and_a_cancel_reach_the_agent(
    browser: Browser, shared_fleetlog: FleetlogServer, session: str
) -> None:
    script = (ask("q1", "Say something."), "read -r answer", 'echo "heard $answer"', "exec sleep 300")
    run_id = start(shared_fleetlog, session, *script)
    with open_page(browser, console(shared_fleetlog, f"#/runs/{run_id}")) as page:
        box = timeline(page).get_by_role("textbox", name="Answer: Say something.")
        box.fill("all right, then")
        box.press("Enter")
        expect(timeline(page)).to_contain_text("heard all right, then")

        page.get_by_role("button", name="Cancel run").click()
        dialog = page.get_by_role("dialog", name="Cancel this run?")
        dialog.get_by_role("button", name="Keep it running").click()
        expect(dialog).to_have_count(0)
        page.get_by_role("button", name="Cancel run").click()
        dialog.get_by_role("button", name="Cancel run").click()

        expect(page.locator(".head-chip")).to_have_text("canceled")
        expect(row(page, run_id)).to_contain_text("canceled")


def test_the_list_of_sessions_changes_as_they_do(browser: Browser, shared_fleetlog: FleetlogServer) -> None:
    with open_page(browser, console(shared_fleetlog, "#/sessions")) as page:
        expect(page.locator("#connection")).to_have_text("Live")
        name = f"of-this-test-{shared_fleetlog.port}"
        shared_fleetlog.activate(name)
        expect(row(page, name)).to_contain_text("running")

        shared_fleetlog.ok("POST", f"/api/session-workers/{name}/stop")
        expect(row(page, name)).to_contain_text("stopped")
        page.get_by_label("State").select_option("running")
        expect(page.locator(".row").first).to_contain_text("running")
        expect(row(page, name)).to_have_count(0)
