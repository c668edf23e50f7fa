"""Warnings that providers share."""

from collections.abc import Iterable

from domain.run.events import RunWarning
from domain.run.values import RunSpec, Warn

_QUOTED = 300


def warning(code: str, message: str) -> RunWarning:
    return RunWarning(warning=Warn(code=code, message=message))


def unknown_options(spec: RunSpec, known: Iterable[str]) -> list[RunWarning]:
    return [
        warning("unknown_option", f"providerOptions.{name} means nothing to {spec.provider}; it is left out")
        for name in sorted(set(spec.provider_options) - set(known))
    ]


def not_understood(provider: str, said: bytes | str) -> RunWarning:
    """What a CLI printed that its adapter does not know: kept, never a crash."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return warning("not_understood", f"{provider} said what is not understood here: {text[:_QUOTED]!r}")
