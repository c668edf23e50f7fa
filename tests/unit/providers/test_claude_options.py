"""What a run may ask of Claude Code, and what its program is started with for it."""

import json

import pytest

from domain.errors import InvalidInput
from domain.run.values import Message, RunSpec
from infrastructure.executor.providers.claude_code.options import PERMISSION_MODES, ClaudeOptions
from infrastructure.executor.providers.claude_code.provider import ClaudeCodeProvider, _arguments
from infrastructure.executor.providers.provider_options import options_as

SESSION = "0d1f8a52-6a0e-4c2e-9b57-0a8f3a2b7c11"


def spec(profile="", resume="", tools=(), **options):
    return RunSpec(
        session_id="s",
        user_login_name="u",
        provider="claude-code",
        model="m",
        messages=(Message(role="user", content="go"),),
        execution_profile=profile,
        resume_session_id=resume,
        tools=tools,
        provider_options=options,
    )


def arguments(**asked):
    found = spec(**asked)
    return _arguments(found, options_as(ClaudeOptions, found))


def after(flag, words):
    return words[words.index(flag) + 1]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"maxTurns": "3"}, "maxTurns"),
        ({"maxRetries": None}, "maxRetries"),
        ({"maxBudgetUsd": "much"}, "maxBudgetUsd"),
        ({"allowedTools": "Bash"}, "allowedTools"),
        ({"forkSession": 1}, "forkSession"),
        ({"settings": []}, "settings"),
        ({"mcpServers": "x"}, "mcpServers"),
    ],
)
def test_options_are_checked_before_anything_starts(options, field):
    with pytest.raises(InvalidInput) as refused:
        ClaudeCodeProvider().check(spec(**options))
    assert refused.value.field == f"providerOptions.{field}"


def test_a_session_to_resume_is_checked_too():
    with pytest.raises(InvalidInput) as refused:
        ClaudeCodeProvider().check(spec(resume="--dangerously-skip-permissions"))
    assert refused.value.field == "resumeSessionId"


@pytest.mark.parametrize(("profile", "mode"), [*PERMISSION_MODES.items(), ("", "default"), ("yolo", "default")])
def test_an_execution_profile_is_a_permission_mode(profile, mode):
    assert after("--permission-mode", arguments(profile=profile)) == mode


def test_options_become_its_flags():
    words = arguments(
        tools=("Read", "Bash"),
        allowedTools=["Read"],
        disallowedTools=["Write"],
        maxTurns=3,
        maxBudgetUsd=0.5,
        effort="high",
        fallbackModel="other",
        settings={"env": {"A": "1"}},
        mcpServers={"files": {"command": "x"}},
    )

    assert {
        "--model=m",
        "--tools=Read,Bash",
        "--allowed-tools=Read",
        "--disallowed-tools=Write",
        "--max-turns=3",
        "--max-budget-usd=0.5",
        "--effort=high",
        "--fallback-model=other",
        '--settings={"env":{"A":"1"}}',
    } <= set(words)
    (servers,) = [word.partition("=")[2] for word in words if word.startswith("--mcp-config=")]
    assert json.loads(servers) == {"mcpServers": {"files": {"command": "x"}}}


def test_a_conversation_is_new_resumed_or_forked():
    assert "--resume" not in arguments()
    assert after("--resume", arguments(resume=SESSION)) == SESSION
    assert "--fork-session" not in arguments(resume=SESSION)
    assert "--fork-session" in arguments(resume=SESSION, forkSession=True)
