"""What a run may ask of Claude Code, and what its program is started with for it."""

import json
from pathlib import Path

import pytest

from domain.errors import InvalidInput
from domain.run.values import Message, RunSpec
from infrastructure.executor.providers.claude_code.options import PERMISSION_MODES, ClaudeOptions
from infrastructure.executor.providers.claude_code.provider import ClaudeCodeProvider, _arguments, _file_arguments
from infrastructure.executor.providers.contract import AgentTask
from infrastructure.executor.providers.provider_options import options_as
from infrastructure.executor.providers.run_folder import RunFolder
from infrastructure.redaction import Redactor

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
        ({"settings": {"env": {"ANTHROPIC_BASE_URL": "http://evil"}}}, "settings.env.ANTHROPIC_BASE_URL"),
        ({"settings": {"env": {"A": "1", "anthropic_auth_token": "x"}}}, "settings.env.anthropic_auth_token"),
        ({"settings": {"env": {"CLAUDE_CODE_OAUTH_TOKEN": "x"}}}, "settings.env.CLAUDE_CODE_OAUTH_TOKEN"),
        ({"settings": {"env": {"CLAUDE_CODE_USE_BEDROCK": "1"}}}, "settings.env.CLAUDE_CODE_USE_BEDROCK"),
        ({"settings": {"env": {"HTTPS_PROXY": "http://evil"}}}, "settings.env.HTTPS_PROXY"),
        ({"settings": {"env": {"NODE_TLS_REJECT_UNAUTHORIZED": "0"}}}, "settings.env.NODE_TLS_REJECT_UNAUTHORIZED"),
        ({"settings": {"env": ["A=1"]}}, "settings.env"),
        ({"settings": {"apiKeyHelper": "./key"}}, "settings.apiKeyHelper"),
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
    } <= set(words)


@pytest.fixture
def file_arguments(tmp_path):
    """The arguments that name files, and what is in these."""
    made = []

    def arguments_for(environment, **options):
        home = tmp_path / f"home-{len(made)}"
        home.mkdir()
        made.append(RunFolder.made(str(home)))
        task = AgentTask(
            run_id="r",
            attempt=1,
            spec=spec(**options),
            folder="/",
            environment=environment,
            human_loop_timeout_ms=1,
            redactor=Redactor(),
        )
        return _file_arguments(task, options_as(ClaudeOptions, task.spec), made[-1])

    return arguments_for


def test_what_may_be_secret_is_in_files_that_the_command_line_names(file_arguments):
    settings, servers, strict = file_arguments(
        {}, settings={"env": {"A": "1"}}, mcpServers={"files": {"command": "x", "env": {"KEY": "5ecret"}}}
    )

    assert strict == "--strict-mcp-config"
    assert "5ecret" not in servers
    flag, _, file = servers.partition("=")
    assert flag == "--mcp-config"
    assert json.loads(Path(file).read_text())["mcpServers"]["files"]["env"] == {"KEY": "5ecret"}
    assert Path(file).stat().st_mode & 0o777 == 0o600
    assert Path(file).parent.stat().st_mode & 0o777 == 0o700
    flag, _, file = settings.partition("=")
    assert flag == "--settings"
    assert json.loads(Path(file).read_text())["env"]["A"] == "1"


@pytest.mark.parametrize(
    ("environment", "address"),
    [({}, "https://api.anthropic.com"), ({"ANTHROPIC_BASE_URL": "http://models"}, "http://models")],
)
def test_the_model_s_address_is_always_the_installation_s(file_arguments, environment, address):
    (settings,) = file_arguments(environment)
    assert json.loads(Path(settings.partition("=")[2]).read_text()) == {"env": {"ANTHROPIC_BASE_URL": address}}


@pytest.mark.parametrize("name", ["ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "CLAUDE_CODE_MAX_OUTPUT_TOKENS"])
def test_other_variables_of_its_are_a_run_s_to_set(name):
    ClaudeCodeProvider().check(spec(settings={"env": {name: "1"}}))


def test_a_conversation_is_new_resumed_or_forked():
    assert "--resume" not in arguments()
    assert after("--resume", arguments(resume=SESSION)) == SESSION
    assert "--fork-session" not in arguments(resume=SESSION)
    assert "--fork-session" in arguments(resume=SESSION, forkSession=True)
