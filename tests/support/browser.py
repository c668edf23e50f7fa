"""Debian's Chromium without a window, led by Playwright; a page that any error in it fails."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright

WAIT_MS = 45_000
"""What takes milliseconds may take long on a busy machine; a test waits for what it wants, not for a time."""
NETWORK = ("Failed to load resource", "net::ERR_")
"""What a browser says of an answer that is refused, or of a server that is gone."""


def chromium() -> str:
    """The browser's path. Without one the test is skipped, but in CI it fails."""
    path = shutil.which("chromium")
    if path is None:
        reason = "there is no chromium on the PATH; script/chromium installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@contextmanager
def running_browser() -> Iterator[Browser]:
    """While it runs no other event loop can run in this thread."""
    path = chromium()
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        # As root Chromium has no sandbox; a container's /dev/shm may be too small for it.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """A page with a storage of its own. `options`: viewport, color_scheme, reduced_motion and the like. At the end it
    has had no error: of a script, of the content policy, of anything but the network."""
    context = browser.new_context(locale="en-US", **({"viewport": {"width": 1280, "height": 800}} | options))
    context.set_default_timeout(WAIT_MS)
    errors: list[str] = []
    page = context.new_page()

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(each in message.text for each in NETWORK):
            errors.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        _go(page, url)
        yield page
    finally:
        context.close()
    assert errors == []


def _go(page: Page, url: str) -> None:
    """Chromium drops what is just being connected when any interface of the machine comes or goes, as the tests of
    Docker make them do; alone it would try again."""
    for _ in range(10):
        try:
            page.goto(url)
        except Error as error:
            if "ERR_NETWORK_CHANGED" not in error.message:
                raise
        else:
            return
    pytest.fail(f"the network changed at each of 10 tries to open {url}")


def hard_to_read(page: Page) -> list[Any]:
    """The visible texts with less contrast to what is behind them than WCAG's AA asks for, 4.5 to 1, and how much."""
    found: list[Any] = page.evaluate(_CONTRASTS)
    return found


_CONTRASTS = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (css) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = css;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = rgba(getComputedStyle(at).backgroundColor);
            if (color[3] === 255) return color;
        }
        return [255, 255, 255, 255];
    };
    const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    return [...document.querySelectorAll("body *")]
        .filter((each) => each.checkVisibility() && !each.matches(".unseen, .skip, option") && hasText(each))
        .map((each) => {
            const ends = [luminance(rgba(getComputedStyle(each).color)), luminance(behind(each))];
            return [each.textContent.slice(0, 40), (Math.max(...ends) + 0.05) / (Math.min(...ends) + 0.05)];
        })
        .filter(([, contrast]) => contrast < 4.5);
}"""
