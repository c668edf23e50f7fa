"""A worker without a provider's program or credentials: the run ends with its class and what to do."""

import pytest

from infrastructure.executor.providers.descriptions import DESCRIPTIONS

WITH_CLI = [provider for provider in DESCRIPTIONS if provider.cli is not None]
PROVIDER = pytest.mark.parametrize("provider", WITH_CLI, ids=lambda provider: provider.name)


def end_of_run(worker, provider):
    worker.start_run(
        "", spec={"provider": provider.name, "model": "m", "messages": [{"role": "user", "content": "go"}]}
    )
    return worker.journal()[-1]["payload"]


@PROVIDER
def test_without_credentials(worker, provider):
    ended = end_of_run(worker, provider)

    assert (ended["outcome"], ended["error"]["errorClass"]) == ("failed", "auth_missing")
    assert f"set {provider.credentials[0]}" in ended["error"]["message"]
    assert "where the control plane runs" in ended["error"]["message"]


@PROVIDER
def test_without_its_program(make_worker, provider, tmp_path):
    worker = make_worker()
    worker.start(PATH=str(tmp_path), **dict.fromkeys(provider.credentials, "sk-0123456789"), **urls_of(provider))
    worker.restore()

    ended = end_of_run(worker, provider)

    assert (ended["outcome"], ended["error"]["errorClass"]) == ("failed", "cli_missing")
    assert repr(provider.cli.program) in ended["error"]["message"]
    assert "script/agent-clis" in ended["error"]["message"]
    assert provider.cli.package in ended["error"]["message"]


def urls_of(provider):
    return {name: "http://127.0.0.1:9" for name in provider.variables if name.endswith("_BASE_URL")}
