"""Prepares opencode's configuration, environment and credentials files for a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from application.ports.provider_descriptions import credentials_missing
from domain.run.values import RunSpec
from infrastructure.executor.providers.contract import AgentFailed, AgentTask
from infrastructure.executor.providers.opencode.description import NAME
from infrastructure.executor.providers.opencode.model_apis import CREDENTIALS, MODEL_APIS, ModelApi, api_of
from infrastructure.executor.providers.opencode.options import PROFILES, Action, OpencodeOptions
from infrastructure.executor.providers.run_folder import RunFolder
from infrastructure.executor.workspace.confined import ConfinedTree, NewFile


class ChosenModel(msgspec.Struct, frozen=True, kw_only=True):
    """`model`: "" for opencode's default."""

    api: ModelApi
    model: str


_FLAGS = {
    "OPENCODE_PURE": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_CLAUDE_CODE": "1",
}
_PERMISSION_OF_TOOL = {"write": "edit", "patch": "edit", "apply_patch": "edit", "multiedit": "edit"}
_INSTALLED = b'{"packages":{"":{"dependencies":{"@opencode-ai/plugin":"*"}}}}\n'


def chosen_model(model: str, environment: Mapping[str, str]) -> ChosenModel:
    """The API of a run's model, named as `provider/model` or `model`. Raises AgentFailed (auth_missing)."""
    api, name = api_of(model, environment)
    if api is None:
        raise AgentFailed("auth_missing", credentials_missing(NAME, CREDENTIALS))
    if not api.is_configured(environment):
        needed = (api.credential, api.base_url) if api.npm else (api.credential,)
        message = f"{NAME} can't use the model {model}: set {' and '.join(needed)} where the control plane runs"
        raise AgentFailed("auth_missing", message)
    return ChosenModel(api=api, model=name)


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """`environment`: the agent's whole environment. `workspace`: the real path of its folder. `files`: credentials and
    temporary files."""

    environment: Mapping[str, str]
    chosen: ChosenModel
    workspace: str
    files: RunFolder

    def clear(self) -> None:
        """Delete the run's files. Blocks."""
        self.files.clear()


def set_up(task: AgentTask, options: OpencodeOptions, password: str) -> Setup:
    """Write the files that opencode reads. Credentials are files, so that they are not in the agent's environment.
    Blocks. Raises AgentFailed (auth_missing)."""
    chosen = chosen_model(task.spec.model, task.environment)
    files = RunFolder.made(task.private_folder)
    (files.path / "tmp").mkdir()
    providers = {}
    for api in MODEL_APIS:
        if api.is_configured(task.environment):
            key = files.write(f"{api.name}.key", task.environment[api.credential])
            providers[api.name] = _provider(api, key, task.environment)
    config = _config(task.spec, options, chosen, providers)
    if options.mcp:
        config["mcp"] = _with_files(options.mcp, files)
    environment = {name: value for name, value in task.environment.items() if name not in CREDENTIALS}
    environment |= _FLAGS | _own_project(task.folder, config)
    environment["BUN_TMPDIR"] = str(files.path / "tmp")
    environment["OPENCODE_SERVER_PASSWORD"] = password
    environment["OPENCODE_CONFIG_CONTENT"] = msgspec.json.encode(config).decode()
    _spare_installation(task)
    workspace = str(Path(task.folder).resolve())
    return Setup(environment=environment, chosen=chosen, workspace=workspace, files=files)


def _provider(api: ModelApi, key: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    # The address is always said: a workspace's own configuration may name another, and the key would go there.
    provider: dict[str, Any] = {"options": {"apiKey": f"{{file:{key}}}", "baseURL": api.url(environment)}}
    if api.npm:
        provider |= {"npm": api.npm, "name": api.name}
    return provider


def _with_files(mcp: Any, files: RunFolder, name: str = "mcp") -> Any:
    """MCP servers with each of their texts in a file, for opencode to read: the configuration itself is in the
    environment, which the agent's tools see. opencode's own references to files and variables stay as they are."""
    if isinstance(mcp, dict):
        return {
            key: value if key == "type" else _with_files(value, files, f"{name}-{number}")
            for number, (key, value) in enumerate(mcp.items())
        }
    if isinstance(mcp, list):
        return [_with_files(each, files, f"{name}-{number}") for number, each in enumerate(mcp)]
    if not isinstance(mcp, str) or "{file:" in mcp or "{env:" in mcp:
        return mcp
    return f"{{file:{files.write(name, mcp)}}}"


def _config(
    spec: RunSpec, options: OpencodeOptions, chosen: ChosenModel, providers: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    profile = PROFILES.get(spec.execution_profile, PROFILES["default"])
    config: dict[str, Any] = {
        "autoupdate": False,
        "share": "disabled",
        "snapshot": False,
        "enabled_providers": list(providers),
        "provider": providers,
        "permission": _permission(profile.permission, spec.tools, options.permission),
    }
    if chosen.model:
        # Declared here, so that a model need not be in opencode's built-in catalogue; the API decides whether it
        # exists.
        providers[chosen.api.name]["models"] = {chosen.model: options.model_config}
        config["model"] = f"{chosen.api.name}/{chosen.model}"
        config["small_model"] = options.small_model or config["model"]
    if options.max_steps is not None:
        config["agent"] = {options.agent or profile.agent: {"steps": options.max_steps}}
    return config


def _permission(
    profile: Mapping[str, Action], tools: Sequence[str], own: Mapping[str, Action | dict[str, Action]]
) -> dict[str, Action | dict[str, Action]]:
    """Permission rules in opencode's order: a later one overrides an earlier one."""
    rules: dict[str, Action | dict[str, Action]] = {}
    if tools:
        rules["*"] = "deny"
        for tool in tools:
            name = _PERMISSION_OF_TOOL.get(tool, tool)
            rules[name] = profile.get(name, "allow")
    else:
        rules.update(profile)
    return rules | dict(own)


def _own_project(folder: str, config: dict[str, Any]) -> dict[str, str]:
    """Variables that limit project settings to the workspace's own. In a folder without `.git`, opencode would
    otherwise use settings that it finds in parent folders. Adds AGENTS.md to `config`."""
    workspace = Path(folder)
    if (workspace / ".git").exists():
        return {}
    found = {"OPENCODE_DISABLE_PROJECT_CONFIG": "1"}
    if (workspace / ".opencode").is_dir():
        found["OPENCODE_CONFIG_DIR"] = str(workspace / ".opencode")
    for name in ("opencode.json", "opencode.jsonc"):
        if (workspace / name).is_file():
            found["OPENCODE_CONFIG"] = str(workspace / name)
    if (workspace / "AGENTS.md").is_file():
        config["instructions"] = [str(workspace / "AGENTS.md")]
    return found


def _spare_installation(task: AgentTask) -> None:
    """Put an empty node_modules and a lock file into opencode's settings folders in the workspace. Without them
    opencode would install 60 MB of npm packages for plugins there, which would be synced."""
    settings = Path(task.environment["XDG_CONFIG_HOME"])
    workspace = Path(task.folder)
    tree = ConfinedTree(task.folder)
    try:
        for place in (settings.parent, settings / "opencode"):
            if not place.is_relative_to(workspace):
                continue
            path = str(place.relative_to(workspace))
            with tree.ensure_directory(f"{path}/node_modules", replace=True):
                pass
            if tree.lstat(f"{path}/package-lock.json") is None:
                list(tree.write_files([NewFile(f"{path}/package-lock.json", _INSTALLED, 0o644)]))
    finally:
        tree.close()
