"""Prepares opencode's configuration, environment and credentials files for a run."""

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from application.ports.provider_descriptions import credentials_missing
from domain.run.values import RunSpec
from infrastructure.executor.providers.contract import AgentFailed, AgentTask
from infrastructure.executor.providers.opencode.description import NAME
from infrastructure.executor.providers.opencode.model_apis import CREDENTIALS, MODEL_APIS, ModelApi
from infrastructure.executor.providers.opencode.options import PROFILES, Action, OpencodeOptions
from infrastructure.executor.workspace.confined import ConfinedTree, NewFile
from infrastructure.folder_descent import delete_folder

_RUN_FOLDER = "opencode-run-"


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
    head, _, tail = model.partition("/")
    named = next((api for api in MODEL_APIS if tail and api.name == head), None)
    if named is not None:
        if not named.is_configured(environment):
            needed = (named.credential, named.base_url) if named.npm else (named.credential,)
            message = f"{NAME} can't use the model {model}: set {' and '.join(needed)} where the control plane runs"
            raise AgentFailed("auth_missing", message)
        return ChosenModel(api=named, model=tail)
    first = next((api for api in MODEL_APIS if api.is_configured(environment)), None)
    if first is None:
        raise AgentFailed("auth_missing", credentials_missing(NAME, CREDENTIALS))
    return ChosenModel(api=first, model=model)


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """`environment`: the agent's whole environment. `workspace`: the real path of its folder. `run_folder`: holds
    credentials and temporary files until `clear`."""

    environment: Mapping[str, str]
    chosen: ChosenModel
    workspace: str
    run_folder: Path

    def clear(self) -> None:
        """Delete the run folder. Blocks."""
        with contextlib.suppress(OSError):
            delete_folder(self.run_folder)


def set_up(task: AgentTask, options: OpencodeOptions, password: str) -> Setup:
    """Write the files that opencode reads. Credentials are files, so that they are not in the agent's environment.
    Blocks. Raises AgentFailed (auth_missing)."""
    chosen = chosen_model(task.spec.model, task.environment)
    private = Path(task.private_folder)
    for left in private.glob(f"{_RUN_FOLDER}*"):
        with contextlib.suppress(OSError):
            delete_folder(left)
    run_folder = Path(tempfile.mkdtemp(prefix=_RUN_FOLDER, dir=private))
    (run_folder / "tmp").mkdir()
    providers = {}
    for api in MODEL_APIS:
        if api.is_configured(task.environment):
            key = run_folder / f"{api.name}.key"
            key.touch(mode=0o600)
            key.write_text(task.environment[api.credential], encoding="utf-8")
            providers[api.name] = _provider(api, key, task.environment)
    config = _config(task.spec, options, chosen, providers)
    environment = {name: value for name, value in task.environment.items() if name not in CREDENTIALS}
    environment |= _FLAGS | _own_project(task.folder, config)
    environment["BUN_TMPDIR"] = str(run_folder / "tmp")
    environment["OPENCODE_SERVER_PASSWORD"] = password
    environment["OPENCODE_CONFIG_CONTENT"] = msgspec.json.encode(config).decode()
    _spare_installation(task)
    workspace = str(Path(task.folder).resolve())
    return Setup(environment=environment, chosen=chosen, workspace=workspace, run_folder=run_folder)


def _provider(api: ModelApi, key: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    provider: dict[str, Any] = {"options": {"apiKey": f"{{file:{key}}}"}}
    if api.npm:
        provider |= {"npm": api.npm, "name": api.name}
    base_url = environment.get(api.base_url, "").rstrip("/")
    if base_url:
        provider["options"]["baseURL"] = base_url if base_url.endswith(api.path) else base_url + api.path
    return provider


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
    if options.mcp:
        config["mcp"] = options.mcp
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
