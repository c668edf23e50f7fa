"""The providers of all descriptions: `PROVIDER` in the `provider.py` beside each.

All are loaded when the executor starts, none later: the executor outlives an upgrade of the installation, and must not
load code of another release than its own.
"""

from importlib import import_module

from application.ports.provider_descriptions import ProviderDescription
from infrastructure.executor.providers.contract import Provider
from infrastructure.executor.providers.descriptions import DESCRIPTIONS


def _provider_beside(description: ProviderDescription) -> Provider:
    room = type(description).__module__.rpartition(".")[0]
    provider: Provider = import_module(f"{room}.provider").PROVIDER
    return provider


PROVIDERS: tuple[Provider, ...] = tuple(_provider_beside(description) for description in DESCRIPTIONS)
