"""What providers say of themselves, and that this is all that a provider needs beside its own room."""

import subprocess
import sys
from pathlib import Path

import pytest

from application.ports.provider_descriptions import CliFiles, provider_named
from domain.run.values import RunSpec
from infrastructure.executor.providers.descriptions import DESCRIPTIONS, cli_files
from infrastructure.executor.providers.registry import PROVIDERS

ROOMS = Path(__file__).resolve().parents[3] / "infrastructure/executor/providers"


def test_every_room_of_a_provider_is_listed():
    rooms = {file.parent.name for file in ROOMS.glob("*/provider.py")}

    assert {type(provider).__module__.split(".")[-2] for provider in DESCRIPTIONS} == rooms


def test_the_provider_beside_a_description_is_the_one_described():
    for described, provider in zip(DESCRIPTIONS, PROVIDERS, strict=True):
        assert isinstance(provider, type(described))
        assert callable(provider.start)


def test_no_two_providers_have_a_name_in_common():
    names = [name for provider in DESCRIPTIONS for name in (provider.name, *provider.aliases)]

    assert len(names) == len({*names})


def test_what_all_clis_keep():
    files = cli_files()

    assert files.links == {".codex": "codex", ".claude": "claude", ".opencode": "opencode"}
    assert files.state_names.keys() == files.links.keys()
    assert {*files.credential_files} == {"auth.json", ".credentials.json"}
    assert files.environment == {
        "CODEX_HOME": "codex",
        "CLAUDE_CONFIG_DIR": "claude",
        "XDG_DATA_HOME": "opencode/share",
        "XDG_STATE_HOME": "opencode/state",
        "XDG_CONFIG_HOME": "opencode/config",
    }


INSTALLATION = {
    "ANTHROPIC_API_KEY": "a",
    "ANTHROPIC_BASE_URL": "http://a",
    "ANTHROPIC_MODEL": "m",
    "OPENAI_API_KEY": "o",
    "OPENAI_BASE_URL": "http://o",
    "OPENAI_COMPATIBLE_API_KEY": "c",
    "OPENAI_COMPATIBLE_BASE_URL": "http://c",
    "OPENROUTER_API_KEY": "r",
    "HTTPS_PROXY": "http://p",
}
OF_ANTHROPIC = {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"}
OF_COMPATIBLE = {"OPENAI_COMPATIBLE_API_KEY", "OPENAI_COMPATIBLE_BASE_URL"}


@pytest.mark.parametrize(
    ("provider", "model", "options", "given"),
    [
        ("scripted", "", {}, set()),
        ("claude-code", "m", {}, {*OF_ANTHROPIC, "ANTHROPIC_MODEL", "HTTPS_PROXY"}),
        ("codex-cli", "m", {}, {"OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTPS_PROXY"}),
        ("opencode", "m", {}, {*OF_COMPATIBLE, "HTTPS_PROXY"}),
        ("opencode", "", {}, {*OF_COMPATIBLE, "HTTPS_PROXY"}),
        ("opencode", "openrouter/vendor/m", {}, {"OPENROUTER_API_KEY", "HTTPS_PROXY"}),
        ("opencode", "anthropic/m", {}, {*OF_ANTHROPIC, "HTTPS_PROXY"}),
        ("opencode", "anthropic/m", {"smallModel": "compatible/s"}, {*OF_ANTHROPIC, *OF_COMPATIBLE, "HTTPS_PROXY"}),
        ("opencode", "opencode/m", {}, {"HTTPS_PROXY"}),
    ],
)
def test_an_agent_gets_what_its_own_provider_and_model_need_alone(provider, model, options, given):
    described = provider_named(provider, DESCRIPTIONS)
    spec = RunSpec(
        session_id="s", user_login_name="u", provider=provider, model=model, messages=(), provider_options=options
    )
    assert described.variables_of(spec, INSTALLATION) == {name: INSTALLATION[name] for name in given}


def test_two_providers_can_t_differ_about_a_variable():
    first, second = CliFiles(environment={"XDG_DATA_HOME": "one"}), CliFiles(environment={"XDG_DATA_HOME": "two"})

    assert CliFiles.of_all([first, first]).environment == first.environment
    with pytest.raises(ValueError, match="XDG_DATA_HOME: 'one' and 'two'"):
        CliFiles.of_all([first, second])


def test_the_control_plane_loads_no_provider_s_code():
    script = (
        "import sys, interfaces.bootstrap.control_plane\n"
        "print(*[name for name in sys.modules if name.startswith('infrastructure.executor.')])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()

    assert "infrastructure.executor.providers.descriptions" in loaded
    assert [name for name in loaded if not name.startswith("infrastructure.executor.providers")] == []
    assert [name for name in loaded if name.endswith((".provider", ".contract", ".cli_process", ".registry"))] == []
