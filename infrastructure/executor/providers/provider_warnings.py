"""Warnings that all providers emit."""

from collections.abc import Iterable, Iterator

from domain.run.events import RunWarning
from domain.run.values import RunSpec, Warn

_QUOTED = 300
_KEPT = 20


def warning(code: str, message: str) -> RunWarning:
    return RunWarning(warning=Warn(code=code, message=message))


def unknown_options(spec: RunSpec, known: Iterable[str]) -> list[RunWarning]:
    return [
        warning("unknown_option", f"providerOptions.{name} means nothing to {spec.provider}; it is left out")
        for name in sorted(set(spec.provider_options) - set(known))
    ]


class UnknownOutput:
    """Makes warnings (`not_understood`) of CLI output that the adapter does not know: once for each kind, 20 kinds at
    most."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._known: set[str] = set()
        self._without_kind = 0

    def warn_once(self, kind: str, said: bytes) -> Iterator[RunWarning]:
        """A warning for the first output of each `kind`; of output without a kind ("") for each of the first 20."""
        if kind in self._known or (not kind and self._without_kind >= _KEPT) or len(self._known) >= _KEPT:
            return
        if kind:
            self._known.add(kind)
        else:
            self._without_kind += 1
        text = said[:_QUOTED].decode("utf-8", "replace")
        yield warning("not_understood", f"{self._provider} said what is not understood here: {text!r}")
