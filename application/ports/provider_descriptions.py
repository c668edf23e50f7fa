"""What both programs know of a provider without starting it: its names, its program, its variables, what it can do."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

import msgspec

from domain.errors import InvalidInput
from domain.run.capabilities import Capabilities
from domain.run.values import RunSpec

Value = TypeVar("Value")


class AgentCli(msgspec.Struct, frozen=True, kw_only=True):
    """The program of a provider: its name on the PATH, its name in the worker image's labels (`fleetlog.cli.{label}`),
    and the npm package that brings it."""

    program: str
    label: str
    package: str


class CliFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's CLI keeps on the disk. The agents' data is the folder of the workspace that is synced with it.

    `links`: folders in the agents' home that are symlinks to folders of the agents' data, such as {".codex": "codex"}.
    `state_names`: by such a folder, patterns of the names that the CLI writes into it as its state. A sync leaves them
    out where the workspace has a folder of that name in its own root. `credential_files`: names of files with
    credentials; below the agents' data they are never stored. `environment`: variables of every agent, which name
    folders of the agents' data.
    """

    links: Mapping[str, str] = {}
    state_names: Mapping[str, tuple[str, ...]] = {}
    credential_files: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}

    @classmethod
    def of_all(cls, each: Iterable[Self]) -> Self:
        """The union. Raises ValueError where two differ about a folder or a variable."""
        all_of_them = tuple(each)
        return cls(
            links=_union(files.links for files in all_of_them),
            state_names=_union(files.state_names for files in all_of_them),
            credential_files=tuple(dict.fromkeys(name for files in all_of_them for name in files.credential_files)),
            environment=_union(files.environment for files in all_of_them),
        )


class ProviderDescription(Protocol):
    """One kind of agent. Nothing here touches the world."""

    name: str
    aliases: tuple[str, ...]
    cli: AgentCli | None
    """None: the provider needs no program of its own."""
    credentials: tuple[str, ...]
    """Variables with secrets, any one of which suffices. Empty: none is needed."""
    variables: tuple[str, ...]
    """Other variables of the installation that an agent may need, such as a model's base URL."""
    secret_options: tuple[str, ...]
    """`providerOptions` in which there may be secrets, such as MCP servers: those are kept out of the log."""
    files: CliFiles

    def capabilities(self, version: str, options: Mapping[str, Any]) -> Capabilities:
        """Of a version of its CLI ("": not known, the newest is assumed), under a run's `providerOptions`."""
        ...

    def check(self, spec: RunSpec) -> None:
        """Raises domain InvalidInput, with the field as in the API, for what it can't accept. Options that it does not
        know are no error: the session warns of them."""
        ...

    def variables_of(self, spec: RunSpec, installation: Mapping[str, str]) -> dict[str, str]:
        """What the agent of this run gets of the installation's credentials and other variables: those of `credentials`
        and `variables` that are set, and no more than this run needs."""
        ...

    def keeps(self, provider_session_id: str, path: str) -> bool:
        """Whether the agent keeps this conversation in that file, by its path in the workspace: where the file came
        along, the conversation can be resumed. False without `resume`."""
        ...


Description = TypeVar("Description", bound=ProviderDescription)


def provider_named(name: str, providers: Sequence[Description]) -> Description:
    """By its name or an alias. Raises InvalidInput for `provider`."""
    for provider in providers:
        if name == provider.name or name in provider.aliases:
            return provider
    known = ", ".join(sorted(known for provider in providers for known in (provider.name, *provider.aliases)))
    raise InvalidInput("provider", f"{name!r} is not a provider of this installation; known are: {known}")


def variables_of_all(provider: ProviderDescription, installation: Mapping[str, str]) -> dict[str, str]:
    """`variables_of` for a provider whose runs all need the same."""
    return {name: installation[name] for name in (*provider.credentials, *provider.variables) if name in installation}


def program_missing(cli: AgentCli) -> str:
    """What to do about a program that is not there."""
    return (
        f"the program {cli.program!r} is not on the PATH of the worker: run script/agent-clis on this machine "
        f"(or npm install -g {cli.package}), or build the worker image anew with script/worker-image"
    )


def credentials_missing(provider: str, credentials: Sequence[str]) -> str:
    """What to do about a provider without any of its credentials."""
    names = " or ".join(credentials)
    return f"{provider} needs credentials: set {names} (or {credentials[0]}_FILE) where the control plane runs"


def _union(each: Iterable[Mapping[str, Value]]) -> dict[str, Value]:
    united: dict[str, Value] = {}
    for mapping in each:
        for name, value in mapping.items():
            if united.setdefault(name, value) != value:
                raise ValueError(f"two providers differ about {name}: {united[name]!r} and {value!r}")
    return united
