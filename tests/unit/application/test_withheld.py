"""Which texts in a run's options are secrets, and that they come back as they were."""

import json
import time
from typing import Any

import msgspec
import pytest

from application.runs.withheld import MAX_SECRETS, filled, placeholders, to_redact, withheld
from domain.errors import InvalidInput
from domain.run.values import RunSpec

KEY = "k3y-0123456789abcdef0123"


def spec(options: dict[str, Any]) -> RunSpec:
    return RunSpec(session_id="s", user_login_name="u", provider="claude-code", messages=(), provider_options=options)


def withheld_of(options: dict[str, Any]) -> tuple[RunSpec, tuple[str, ...]]:
    numbers: dict[str, str] = {}
    return withheld(
        spec(options),
        ("settings", "mcpServers"),
        lambda value: numbers.setdefault(value, f"[secret {len(numbers):024x}]"),
    )


@pytest.mark.parametrize(
    ("server", "secret"),
    [
        ({"env": {"API_KEY": KEY}}, KEY),
        ({"env": {"CRM_PASSWORD": "correct horse"}}, "correct horse"),
        ({"env": {"CRM": KEY}}, KEY),
        ({"environment": {"X": "ghp_abcdefghijklmnopqrstuvwx"}}, "ghp_abcdefghijklmnopqrstuvwx"),
        ({"headers": {"Authorization": f"Bearer {KEY}"}}, f"Bearer {KEY}"),
        ({"http_headers": {"X-Auth": "some text"}}, "some text"),
        ({"bearer_token": "x" * 9}, "x" * 9),
        ({"oauth": {"clientSecret": "12345678"}}, "12345678"),
        ({"args": ["--token", "plain-words"]}, "plain-words"),
        ({"args": ["--api-key=plain-words"]}, "--api-key=plain-words"),
        ({"args": ["serve", "sk-ant-abcdefgh01234567"]}, "sk-ant-abcdefgh01234567"),
        ({"url": "https://me:hunter2hunter2@host/mcp"}, "https://me:hunter2hunter2@host/mcp"),
        ({"url": "https://host/mcp?access_token=abc&x=1"}, "https://host/mcp?access_token=abc&x=1"),
    ],
)
def test_what_is_a_secret_by_its_name_its_place_or_its_look(server, secret):
    logged, secrets = withheld_of({"mcpServers": {"crm": server}})
    assert secrets == (secret,)
    assert secret not in json.dumps(msgspec.to_builtins(logged))


@pytest.mark.parametrize(
    "options",
    [
        {"mcpServers": {"crm": {"command": "crm", "args": ["--verbose", "--port", "8080"], "type": "stdio"}}},
        {"mcpServers": {"crm": {"env": {"MODE": "production", "HOME": "/workspace/home/of-the-crm-server-2"}}}},
        {"mcpServers": {"crm": {"env": {"API_KEY": "${CRM_API_KEY}", "TOKEN": "{env:CRM_TOKEN}"}}}},
        {
            "mcpServers": {
                "crm": {"bearer_token_env_var": "CRM_TOKEN_OF_US", "env_http_headers": {"X-Auth": "CRM_AUTH"}}
            }
        },
        {"mcpServers": {"crm": {"url": "https://host/mcp?page=12345678"}}},
        {"settings": {"permissions": {"allow": ["Bash(npm run test:*)"]}, "model": "claude-sonnet-4-5-20250929"}},
        {"script": f"export API_KEY={KEY}"},
    ],
)
def test_the_rest_stays_readable(options):
    assert withheld_of(options) == (spec(options), ())


def test_what_was_taken_out_is_put_back():
    options = {
        "settings": {"env": {"A_TOKEN": KEY}},
        "mcpServers": {"a": {"headers": {"X-Key": KEY}}, "b": {"args": ["x", f"--secret={KEY}", 3, None]}},
    }
    logged, secrets = withheld_of(options)

    assert secrets == (KEY, f"--secret={KEY}")
    names = placeholders(logged)
    assert len(names) == 2
    by_name = dict(zip(sorted(names), secrets, strict=True))
    assert filled(logged, by_name) == spec(options)
    assert placeholders(spec(options)) == set()


def test_parts_of_secrets_are_not_told_either():
    assert to_redact((f"Bearer {KEY}", f"--token={KEY}2", "https://u:p%40ssword1@h")) == (
        f"Bearer {KEY}",
        KEY,
        f"--token={KEY}2",
        f"{KEY}2",
        "https://u:p%40ssword1@h",
        "p%40ssword1",
        "p@ssword1",
    )


def test_their_number_is_bounded():
    many = {f"KEY_{number}": f"{KEY}{number}" for number in range(MAX_SECRETS + 1)}
    with pytest.raises(InvalidInput, match="65 secrets; 64 are allowed"):
        withheld_of({"mcpServers": {"crm": {"env": many}}})


@pytest.mark.parametrize(
    "part", ["eyJ-", "eyJ_", "eyJaaaaaaaaaaaa.", "sk-", "ghp_", "xoxb-", "Basic ", "--a=", "${a:-"]
)
def test_a_long_text_is_looked_through_once(part: str) -> None:
    began = time.process_time()
    withheld_of({"settings": {"text": part * (250_000 // len(part))}})
    assert time.process_time() - began < 2
