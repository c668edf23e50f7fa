"""All events of the domain, whatever a test run has imported so far, and none that tests register for themselves."""

import importlib
import pkgutil

import domain
from domain.event import Event, event_types


def domain_events() -> dict[str, type[Event]]:
    """By wire name, sorted."""
    for module in pkgutil.walk_packages(domain.__path__, "domain."):
        importlib.import_module(module.name)
    return {name: known for name, known in sorted(event_types().items()) if known.__module__.startswith("domain.")}
