"""Protocols between rooms are in one place per layer."""

import ast

from tests.support.import_graph import project_imports

PORTS = ("application.ports.", "projections.ports", "interfaces.executor.ports")
OF_ONE_ROOM = {
    "domain.record",
    "infrastructure.embedded.restart_on_exit",
    "infrastructure.executor.providers.contract",
    "infrastructure.postgres.read_models.cursors",
    "infrastructure.streams.client_stream",
    "infrastructure.streams.replay_stream",
    "infrastructure.streams.topic",
    "projections.documents",
}
"""Modules whose Protocols are between the modules of their own room."""


def test_protocols_between_rooms_are_ports() -> None:
    graph = project_imports()
    found = {
        module
        for module in graph.modules
        for node in ast.walk(ast.parse(graph.files[module].read_bytes()))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("Protocol") for base in node.bases)
    }

    assert {module for module in found if not module.startswith(PORTS)} == OF_ONE_ROOM


def test_infrastructure_has_about_a_dozen_rooms() -> None:
    rooms = {
        module.split(".")[1]
        for module in project_imports().modules
        if module.count(".") >= 2 and module.startswith("infrastructure.")
    }

    assert len(rooms) <= 13
