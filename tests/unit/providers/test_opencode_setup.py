"""What a run may ask of opencode, and the configuration that opencode is started with for it."""

import json
from pathlib import Path

import pytest

from domain.errors import InvalidInput
from domain.run.values import Message, RunSpec
from infrastructure.executor.providers.contract import AgentFailed, AgentTask
from infrastructure.executor.providers.opencode.options import OpencodeOptions
from infrastructure.executor.providers.opencode.provider import OpencodeProvider
from infrastructure.executor.providers.opencode.setup import chosen_model, set_up
from infrastructure.executor.providers.provider_options import options_as
from infrastructure.redaction import Redactor

KEYS = {"OPENAI_COMPATIBLE_API_KEY": "key-1", "OPENAI_COMPATIBLE_BASE_URL": "http://m/v1"}


def spec(profile="", tools=(), model="m", **options):
    return RunSpec(
        session_id="s",
        user_login_name="u",
        provider="opencode",
        model=model,
        messages=(Message(role="user", content="go"),),
        execution_profile=profile,
        tools=tools,
        provider_options=options,
    )


@pytest.fixture
def configured(tmp_path):
    """The configuration for a run."""

    def config(more=(), **asked):
        workspace, home = tmp_path / "workspace", tmp_path / "home"
        for folder in (workspace / ".agent_data/opencode", home):
            folder.mkdir(parents=True, exist_ok=True)
        environment = {"PATH": "/bin", "XDG_CONFIG_HOME": str(workspace / ".agent_data/opencode/config"), **KEYS}
        environment |= dict(more)
        run = spec(**asked)
        task = AgentTask(
            run_id="r",
            attempt=1,
            spec=run,
            folder=str(workspace),
            private_folder=str(home),
            environment=environment,
            human_loop_timeout_ms=1000,
            redactor=Redactor(),
        )
        setup = set_up(task, options_as(OpencodeOptions, run), "password")
        assert "key-1" not in str(setup.environment)
        return json.loads(setup.environment["OPENCODE_CONFIG_CONTENT"])

    return config


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"agent": 1}, "agent"),
        ({"permission": {"bash": "perhaps"}}, "permission"),
        ({"modelConfig": []}, "modelConfig"),
        ({"mcp": "x"}, "mcp"),
        ({"maxSteps": 0}, "maxSteps"),
        ({"maxRetries": -1}, "maxRetries"),
    ],
)
def test_options_are_checked_before_anything_starts(options, field):
    with pytest.raises(InvalidInput) as refused:
        OpencodeProvider().check(spec(**options))
    assert refused.value.field == f"providerOptions.{field}"


@pytest.mark.parametrize(
    ("profile", "permission"),
    [
        ("", {"edit": "ask", "bash": "ask"}),
        ("default", {"edit": "ask", "bash": "ask"}),
        ("yolo", {"edit": "ask", "bash": "ask"}),
        ("build", {}),
        ("plan", {}),
    ],
)
def test_an_execution_profile_is_what_the_tools_may_do(configured, profile, permission):
    assert configured(profile=profile)["permission"] == permission


def test_options_are_parts_of_its_configuration(configured):
    config = configured(
        profile="plan",
        tools=("read", "write"),
        permission={"bash": {"git *": "allow"}},
        modelConfig={"limit": {"context": 9}},
        smallModel="compatible/small",
        mcp={"files": {"type": "local", "enabled": True}},
        maxSteps=3,
    )

    assert config["permission"] == {"*": "deny", "read": "allow", "edit": "allow", "bash": {"git *": "allow"}}
    assert config["provider"]["compatible"]["models"] == {"m": {"limit": {"context": 9}}}
    assert (config["model"], config["small_model"]) == ("compatible/m", "compatible/small")
    assert config["agent"] == {"plan": {"steps": 3}}
    assert config["mcp"] == {"files": {"type": "local", "enabled": True}}


def test_the_texts_of_mcp_servers_are_in_files_that_opencode_reads(configured):
    config = configured(
        mcp={
            "crm": {
                "type": "local",
                "command": ["crm", "--token", "5ecret-1"],
                "environment": {"KEY": "5ecret-2", "OWN": "{env:HOME}"},
            }
        }
    )

    assert "5ecret" not in str(config)
    server = config["mcp"]["crm"]
    read = [Path(text.removeprefix("{file:").removesuffix("}")) for text in server["command"]]
    assert [file.read_text() for file in read] == ["crm", "--token", "5ecret-1"]
    assert {file.stat().st_mode & 0o777 for file in read} == {0o600}
    assert server["environment"]["KEY"].startswith("{file:")
    assert server["environment"]["OWN"] == "{env:HOME}"


def test_the_address_of_a_model_is_always_said(configured):
    """A workspace's own configuration may name another."""
    named = configured(model="anthropic/m", more={"ANTHROPIC_API_KEY": "key-2"})["provider"]
    assert named["anthropic"]["options"]["baseURL"] == "https://api.anthropic.com/v1"
    assert named["compatible"]["options"]["baseURL"] == "http://m/v1"
    moved = configured(model="anthropic/m", more={"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://a/"})
    assert moved["provider"]["anthropic"]["options"]["baseURL"] == "http://a/v1"


def test_a_model_may_name_its_api():
    environment = {**KEYS, "ANTHROPIC_API_KEY": "key-2"}
    assert chosen_model("m", environment).api.name == "compatible"
    assert chosen_model("anthropic/m", environment).api.name == "anthropic"
    assert chosen_model("vendor/m", environment).model == "vendor/m"
    with pytest.raises(AgentFailed, match="set OPENAI_API_KEY where the control plane runs"):
        chosen_model("openai/m", environment)
