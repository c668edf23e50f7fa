"""The files of the page for people: open to everybody, of the right kinds, cached by their content, and shut to scripts
from elsewhere."""

import re

import httpx
import pytest

from interfaces.http.console.routes import FILE_NAMES
from tests.integration.http.test_callers import guarded, stranger
from tests.support.problems import problem

__all__ = ["guarded", "stranger"]
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
FILES = ["/console", *(f"/console/{name}" for name in sorted(FILE_NAMES))]


@pytest.mark.parametrize("path", FILES)
def test_a_file_is_served_to_anybody_under_a_policy_that_runs_nothing_else(stranger: httpx.Client, path: str) -> None:
    answer = stranger.get(path)

    assert answer.status_code == 200
    kind = KINDS[path.rpartition(".")[2] if "." in path else "html"]
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    scripts = r"script-src 'self' 'sha256-[A-Za-z0-9+/]{43}='"
    assert re.match(rf"default-src 'none'; {scripts}; style-src 'self'; connect-src 'self'; img-src 'self'; ", policy)
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy


def test_an_unchanged_file_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/console/main.js")
    again = client.get("/console/main.js", headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])


def test_head_answers_as_get_does_without_a_body(client: httpx.Client) -> None:
    answer = client.head("/console")

    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(client.get("/console").content)


@pytest.mark.parametrize(
    "name", ["nothing.js", "__init__.py", "routes.py", "..%2froutes.py", "%2e%2e%2froutes.py", "a/b"]
)
def test_nothing_else_is_served_from_there(client: httpx.Client, name: str) -> None:
    problem(client.get(f"/console/{name}"), 404)


def test_a_slash_too_many_leads_to_the_page(client: httpx.Client) -> None:
    assert client.get("/console/", follow_redirects=True).text == client.get("/console").text


def test_every_file_that_the_page_names_is_there(client: httpx.Client) -> None:
    named = set(re.findall(r'(?:src|href)="console/([^"]+)"', client.get("/console").text))
    for name in FILE_NAMES:
        if name.endswith(".js"):
            named |= set(re.findall(r'from "\./([^"]+)"', client.get(f"/console/{name}").text))

    assert named | {"index.html"} == FILE_NAMES


def test_no_script_makes_markup_of_a_text(client: httpx.Client) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|DOMParser|https?://(?!www\.w3\.org/2000/svg)"
    for name in FILE_NAMES:
        assert re.findall(forbidden, client.get(f"/console/{name}").text) == [], name
