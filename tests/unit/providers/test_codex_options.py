"""What a run may ask of Codex, and what Codex is asked for it."""

import pytest

from domain.errors import InvalidInput
from domain.run.values import Message, RunSpec
from infrastructure.executor.providers.codex.options import options_of
from infrastructure.executor.providers.codex.provider import CodexProvider
from infrastructure.executor.providers.codex.requests import arguments, thread_config, thread_request, turn_request

THREAD = "01a2037c-5d49-7382-bd89-7b1dcdb0aa6e"


def spec(profile="", resume="", **options):
    return RunSpec(
        session_id="s",
        user_login_name="u",
        provider="codex-cli",
        model="m",
        messages=(Message(role="system", content="Be brief."), Message(role="user", content="go")),
        execution_profile=profile,
        resume_session_id=resume,
        provider_options=options,
    )


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"approvalPolicy": "always"}, "approvalPolicy"),
        ({"sandbox": "none"}, "sandbox"),
        ({"maxRetries": -1}, "maxRetries"),
        ({"maxRetries": "2"}, "maxRetries"),
        ({"forkSession": 1}, "forkSession"),
        ({"config": []}, "config"),
        ({"config": {"model_providers.mine": {}}}, "config.model_providers.mine"),
        ({"config": {"openai_base_url": "http://elsewhere"}}, "config.openai_base_url"),
    ],
)
def test_options_are_checked_before_anything_starts(options, field):
    with pytest.raises(InvalidInput) as refused:
        CodexProvider().check(spec(**options))
    assert refused.value.field == f"providerOptions.{field}"


def test_only_a_threads_id_can_be_resumed():
    CodexProvider().check(spec(resume=THREAD))
    with pytest.raises(InvalidInput) as refused:
        CodexProvider().check(spec(resume="../../etc/passwd"))
    assert refused.value.field == "resumeSessionId"


@pytest.mark.parametrize(
    ("profile", "options", "approval", "sandbox", "mode"),
    [
        ("", {}, "untrusted", "danger-full-access", "default"),
        ("build", {}, "on-request", "danger-full-access", "default"),
        ("plan", {}, "untrusted", "danger-full-access", "plan"),
        ("full-access", {}, "never", "danger-full-access", "default"),
        ("read-only", {}, "on-request", "read-only", "default"),
        ("read-only", {"approvalPolicy": "never"}, "never", "read-only", "default"),
        ("unheard of", {"sandbox": "workspace-write"}, "untrusted", "workspace-write", "default"),
    ],
)
def test_a_profile_is_an_approval_policy_a_sandbox_and_a_mode(profile, options, approval, sandbox, mode):
    _, thread = thread_request(spec(profile, **options), "/workspace", {})
    turn = turn_request(spec(profile, **options), THREAD, "m")
    assert (thread["approvalPolicy"], thread["sandbox"]) == (approval, sandbox)
    assert turn["collaborationMode"]["mode"] == mode


def test_a_thread_is_started_resumed_or_forked():
    assert thread_request(spec(), "/workspace", {})[0] == "thread/start"
    method, params = thread_request(spec(resume=THREAD), "/workspace", {})
    assert (method, params["threadId"], params["developerInstructions"]) == ("thread/resume", THREAD, "Be brief.")
    assert thread_request(spec(resume=THREAD, forkSession=True), "/workspace", {})[0] == "thread/fork"


def test_the_options_reach_the_thread_and_the_turn():
    asked = spec(effort="high", summary="concise", outputSchema={"type": "object"}, maxRetries=0, networkAccess=True,
                 mcpServers={"crm": {"command": "crm"}}, config={"tool_output_token_limit": 5})  # fmt: skip
    turn = turn_request(asked, THREAD, "m")
    assert (turn["effort"], turn["summary"], turn["outputSchema"]) == ("high", "concise", {"type": "object"})
    config = thread_config(options_of(asked), "http://model/v1", "key")
    provider = config["model_providers.fleetlog"]
    assert (provider["base_url"], provider["stream_max_retries"]) == ("http://model/v1", 0)
    assert config["mcp_servers"] == {"crm": {"command": "crm"}}
    assert config["sandbox_workspace_write.network_access"] is True
    assert config["tool_output_token_limit"] == 5


def test_the_command_line_is_the_same_for_every_run():
    assert arguments()[-1] == "app-server"
    assert "tools.update_plan.enabled=true" in arguments()
    assert 'web_search="disabled"' in arguments()


@pytest.mark.parametrize(
    ("version", "plan_mode", "profiles"),
    [("0.60.0", False, 5), ("0.105.0", False, 5), ("0.106.0", True, 6), ("0.169.0", True, 6), ("", True, 6)],
)
def test_capabilities_are_known_by_version(version, plan_mode, profiles):
    found = CodexProvider().capabilities(version, {})
    assert (found.resume, found.human_loop, found.todo_stream) == (True, True, True)
    assert (found.build_plan_mode, len(found.execution_profiles)) == (plan_mode, profiles)
