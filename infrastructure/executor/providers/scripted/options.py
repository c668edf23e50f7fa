"""Checks a script's `providerOptions`, and finds the script."""

import msgspec

from domain.errors import InvalidInput
from domain.run.values import RunSpec

KNOWN_OPTIONS = frozenset({"script", "interactive"})


class ScriptOptions(msgspec.Struct, frozen=True, kw_only=True):
    script: str | None = None
    interactive: bool = False


def options_of(spec: RunSpec) -> ScriptOptions:
    """Raises InvalidInput with the option's field."""
    for name, kind in (("script", str), ("interactive", bool)):
        if name in spec.provider_options and not isinstance(spec.provider_options[name], kind):
            raise InvalidInput(f"providerOptions.{name}", f"must be a {kind.__name__}")
    return msgspec.convert({k: v for k, v in spec.provider_options.items() if k in KNOWN_OPTIONS}, ScriptOptions)


def script_of(spec: RunSpec) -> str:
    """Raises InvalidInput where there is none."""
    script = options_of(spec).script
    if script is not None:
        return script
    for message in reversed(spec.messages):
        if message.role == "user":
            return message.content
    raise InvalidInput("messages", "there is neither providerOptions.script nor a user message to run")
