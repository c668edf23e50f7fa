"""What opencode is started with: the models' APIs, its configuration and environment, a folder for the run alone."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from domain.run.values import RunSpec
from infrastructure.providers.contract import AgentFailed, AgentTask
from infrastructure.providers.model_errors import no_credentials
from infrastructure.workspace.confined import ConfinedTree, NewFile

PROVIDER = "opencode"
Action = Literal["ask", "allow", "deny"]
_RUN_FOLDER = "opencode-run-"


class ModelApi(msgspec.Struct, frozen=True, kw_only=True):
    """A model provider of opencode's, and the variables that lead to it. `path` is what opencode wants at the end of
    the base URL; `npm` the SDK of a provider that opencode does not know by itself."""

    name: str
    credential: str
    base_url: str = ""
    path: str = ""
    npm: str = ""

    def is_configured(self, environment: Mapping[str, str]) -> bool:
        """Whether it can be used: it has its credential, and one that opencode does not know has its URL, too."""
        return bool(environment.get(self.credential)) and not (self.npm and not environment.get(self.base_url))


MODEL_APIS = (
    ModelApi(
        name="compatible",
        credential="OPENAI_COMPATIBLE_API_KEY",
        base_url="OPENAI_COMPATIBLE_BASE_URL",
        npm="@ai-sdk/openai-compatible",
    ),
    ModelApi(name="anthropic", credential="ANTHROPIC_API_KEY", base_url="ANTHROPIC_BASE_URL", path="/v1"),
    ModelApi(name="openai", credential="OPENAI_API_KEY", base_url="OPENAI_BASE_URL"),
    ModelApi(name="openrouter", credential="OPENROUTER_API_KEY"),
    ModelApi(name="opencode", credential="OPENCODE_API_KEY"),
)
"""A model without a provider's name belongs to the first of these that is configured."""
CREDENTIALS = tuple(api.credential for api in MODEL_APIS)


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """An execution profile: opencode's agent, and the permissions that differ from that agent's own."""

    agent: str
    permission: Mapping[str, Action] = {}


PROFILES: Mapping[str, Profile] = {
    "default": Profile(agent="build", permission={"edit": "ask", "bash": "ask"}),
    "build": Profile(agent="build"),
    "plan": Profile(agent="plan"),
}


class OpencodeOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`providerOptions`. `agent`: one of the workspace's own instead of the profile's. `permission`, `modelConfig` and
    `mcp` are parts of opencode's configuration (https://opencode.ai/docs/config): what each tool may do, the run's
    model (limit, cost, options), MCP servers. `maxRetries`: how often a failed request to the model is repeated before
    the run ends; opencode itself ends it after five."""

    agent: str = ""
    variant: str = ""
    small_model: str = ""
    permission: dict[str, Action | dict[str, Action]] = {}
    model_config: dict[str, Any] = {}
    mcp: dict[str, Any] = {}
    max_steps: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_retries: Annotated[int, msgspec.Meta(ge=0)] = 2


class ChosenModel(msgspec.Struct, frozen=True, kw_only=True):
    """`model`: "" for the one that opencode prefers."""

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
            message = f"{PROVIDER} can't use the model {model}: set {' and '.join(needed)} where the control plane runs"
            raise AgentFailed("auth_missing", message)
        return ChosenModel(api=named, model=tail)
    first = next((api for api in MODEL_APIS if api.is_configured(environment)), None)
    if first is None:
        raise AgentFailed("auth_missing", no_credentials(PROVIDER, CREDENTIALS))
    return ChosenModel(api=first, model=model)


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """`environment` is the agent's whole one; `workspace` is its folder, without links; `run_folder` holds credentials
    and temporary files until `clear`."""

    environment: Mapping[str, str]
    chosen: ChosenModel
    workspace: str
    run_folder: Path

    def clear(self) -> None:
        """Blocks."""
        shutil.rmtree(self.run_folder, ignore_errors=True)


def set_up(task: AgentTask, options: OpencodeOptions, password: str) -> Setup:
    """Write what opencode reads. Credentials reach it as files, so that no `env` of the agent shows them. Blocks.
    Raises AgentFailed."""
    chosen = chosen_model(task.spec.model, task.environment)
    private = Path(task.private_folder)
    for left in private.glob(f"{_RUN_FOLDER}*"):
        shutil.rmtree(left, ignore_errors=True)
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
        # Named here, so that the API decides whether there is such a model, not opencode's catalogue of yesterday.
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
    """In opencode's order: a later rule overrides an earlier one."""
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
    """Where no repository ends its search, opencode would take what it finds in the folders above the workspace as the
    project's settings, up to the root: then it is told of the workspace's own."""
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
    """Opencode fetches 60 MB of npm packages for plugins into each folder of its settings where it does not find them,
    and those folders are synced: let it find them."""
    settings = Path(task.environment["XDG_CONFIG_HOME"])
    workspace = Path(task.folder)
    tree = ConfinedTree(task.folder)
    try:
        for place in (settings.parent, settings / "opencode"):
            if not place.is_relative_to(workspace):
                continue
            path = str(place.relative_to(workspace))
            with tree.made_directory(f"{path}/node_modules", replace=True):
                pass
            if tree.lstat(f"{path}/package-lock.json") is None:
                list(tree.write_files([NewFile(f"{path}/package-lock.json", _INSTALLED, 0o644)]))
    finally:
        tree.close()
