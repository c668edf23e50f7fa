"""What an installation's providers can do, and whether they could run, without starting anything."""

import json

import pytest
from msgspec.structs import replace

from application.ports.provider_descriptions import AgentCli
from application.ports.providers import Installation
from application.ports.worker_runtime import RuntimeUnavailable
from application.runs.provider_catalog import ProviderCatalog
from domain.errors import InvalidInput
from domain.run.capabilities import Capabilities
from domain.run.values import Message, RunSpec
from infrastructure.executor.providers.descriptions import DESCRIPTIONS
from infrastructure.executor.providers.version_table import capabilities_at
from infrastructure.runtimes.installations import ImageLabels, ProgramsOnPath
from tests.support.async_run import run

CLI = AgentCli(program="tool", label="tool", package="@vendor/tool")
SPEC = RunSpec(
    session_id="s", user_login_name="u", provider="scripted", messages=(Message(role="user", content="echo"),)
)


def catalog(path="/nowhere", configured=()):
    return ProviderCatalog(DESCRIPTIONS, ProgramsOnPath(path), dict.fromkeys(configured, "a value"))


def states(**options):
    return {state.name: state for state in run(catalog(**options).all())}


def with_options(**options):
    return replace(SPEC, provider_options=options)


def test_a_script_needs_nothing_and_has_a_human_loop_when_it_is_interactive():
    assert states()["scripted"].readiness == "ready"
    plain = run(catalog().capabilities_of(SPEC))
    assert (plain.resume, plain.human_loop, plain.todo_stream) == (False, False, True)
    assert run(catalog().capabilities_of(with_options(interactive=True))).human_loop


def test_an_unknown_provider_is_told_the_known_ones():
    with pytest.raises(InvalidInput, match=r"'cobol' is not a provider.*scripted"):
        run(catalog().capabilities_of(RunSpec(session_id="s", user_login_name="u", provider="cobol", messages=())))


@pytest.mark.parametrize("options", [{"interactive": "true"}, {"script": 3}])
def test_options_are_checked_before_anything_starts(options):
    with pytest.raises(InvalidInput) as refused:
        run(catalog().capabilities_of(with_options(**options)))
    assert refused.value.field.startswith("providerOptions.")


@pytest.mark.parametrize("provider", [each for each in DESCRIPTIONS if each.cli], ids=lambda each: each.name)
def test_a_cli_that_is_missing_or_has_no_credentials_says_what_to_do(provider, tmp_path):
    missing = states()[provider.name]
    assert missing.readiness == "environment_not_ready"
    assert provider.cli.program in missing.reason

    program = tmp_path / provider.cli.program
    program.touch(mode=0o755)
    no_credentials = states(path=str(tmp_path))[provider.name]
    assert no_credentials.readiness == "environment_not_ready"
    assert provider.credentials[0] in no_credentials.reason

    ready = states(path=str(tmp_path), configured=provider.credentials[:1])[provider.name]
    assert (ready.readiness, ready.reason) == ("ready", "")


def test_a_packaged_program_says_its_version(tmp_path):
    package = tmp_path / "node_modules/tool"
    (package / "bin").mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"version": "1.22.3-linux"}))
    (package / "bin/tool").touch(mode=0o755)
    (tmp_path / "tool").symlink_to(package / "bin/tool")
    assert run(ProgramsOnPath(str(tmp_path)).of(CLI)) == Installation(version="1.22.3")


def test_an_image_names_its_versions():
    def away():
        raise RuntimeUnavailable("no daemon")

    assert run(ImageLabels("img", lambda: {"fleetlog.cli.tool": "2.0.1"}).of(CLI)).version == "2.0.1"
    assert "has no tool" in run(ImageLabels("img", dict).of(CLI)).missing
    assert "no image img" in run(ImageLabels("img", lambda: None).of(CLI)).missing
    assert run(ImageLabels("img", away).of(CLI)).unhealthy.startswith("no daemon; see that the Docker daemon runs")


@pytest.mark.parametrize(
    ("version", "resume"), [("0.9", False), ("1.0.0", False), ("1.2.3", True), ("10.0", True), ("", True)]
)
def test_capabilities_are_those_of_the_version(version, resume):
    old = Capabilities(provider="p")
    new = Capabilities(provider="p", resume=True)
    assert capabilities_at([("1.0", old), ("1.2", new)], version).resume is resume
