"""Builds the command line, configuration, thread request and turn request for `codex app-server`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from domain.run.values import RunSpec
from infrastructure.executor.providers.codex.options import CodexOptions, options_of, profile_of
from infrastructure.executor.providers.prompts import prompt_of

_PROVIDER_ID = "fleetlog"
_ALWAYS: Mapping[str, Any] = {
    "allow_login_shell": False,  # a login shell would reset PATH
    "analytics.enabled": False,
    "check_for_update_on_startup": False,
    "features.apps": False,
    "features.default_mode_request_user_input": True,
    "features.plugins": False,
    "features.shell_snapshot": False,  # would write the whole environment to files that are synced
    "skills.bundled.enabled": False,  # would add 500 KB to every workspace
    "suppress_unstable_features_warning": True,
    "tools.experimental_request_user_input.enabled": True,
    "tools.update_plan.enabled": True,
    "web_search": "disabled",
}


def arguments() -> list[str]:
    """The command line arguments, the same for every run."""
    settings = [f"{name}={msgspec.json.encode(value).decode()}" for name, value in _ALWAYS.items()]
    return [word for setting in settings for word in ("-c", setting)] + ["app-server"]


def thread_config(options: CodexOptions, base_url: str, key: str) -> dict[str, Any]:
    """The configuration of the run's thread. It holds the key, because it is sent over stdin: so the key is in no
    environment, file or command line that the agent's tools could read."""
    provider = {
        "name": "Fleetlog",
        "base_url": base_url,
        "experimental_bearer_token": key,
        "wire_api": "responses",
        # The two limits would multiply.
        "request_max_retries": 0,
        "stream_max_retries": options.max_retries,
    }
    config = {**options.config, f"model_providers.{_PROVIDER_ID}": provider}
    if options.mcp_servers is not None:
        config["mcp_servers"] = options.mcp_servers
    if options.network_access is not None:
        config["sandbox_workspace_write.network_access"] = options.network_access
    return config


def thread_request(spec: RunSpec, folder: str, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The method that starts, resumes or forks the run's thread, and its parameters."""
    options = options_of(spec)
    profile = profile_of(spec, options)
    params: dict[str, Any] = {
        "cwd": folder,
        "modelProvider": _PROVIDER_ID,
        "approvalPolicy": profile.approval,
        "sandbox": profile.sandbox,
        "config": config,
    }
    if spec.model:
        params["model"] = spec.model
    system = prompt_of(spec).system
    if system:
        params["developerInstructions"] = system
    if not spec.resume_session_id:
        return "thread/start", params
    method = "thread/fork" if options.fork_session else "thread/resume"
    return method, {**params, "threadId": spec.resume_session_id, "excludeTurns": True}


def turn_request(spec: RunSpec, thread_id: str, model: str) -> dict[str, Any]:
    """The parameters of `turn/start`; `model` is the one that the thread request returned."""
    options = options_of(spec)
    mode = "plan" if profile_of(spec, options).plan else "default"
    settings = {"model": model, "reasoning_effort": options.effort, "developer_instructions": None}
    params = {
        "threadId": thread_id,
        "input": [{"type": "text", "text": prompt_of(spec).text, "text_elements": []}],
        "effort": options.effort,
        "summary": options.summary,
        "outputSchema": options.output_schema,
        # Always sent, because a thread keeps the mode of its last turn.
        "collaborationMode": {"mode": mode, "settings": settings},
    }
    return {name: value for name, value in params.items() if value is not None}
