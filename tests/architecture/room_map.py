"""The map of rooms in docs/explanation/architecture.md, drawn from the code's imports.

`python -m tests.architecture.room_map` draws it anew.
"""

import ast
from collections.abc import Iterable, Mapping
from itertools import chain

from tests.support.import_graph import REPOSITORY, ImportGraph, executor_roots, project_imports

PAGE = REPOSITORY / "docs/explanation/architecture.md"
BEGIN, END = "<!-- the map begins: python -m tests.architecture.room_map -->\n", "<!-- the map ends -->\n"
CONTROL_PLANE = "interfaces.cli.main"
PROGRAMS = {
    "control plane": "Control plane",
    "executor": "Executor, in each session worker",
    "both": "What both programs import",
}


def drawn(graph: ImportGraph) -> str:
    """The two parts of the map: a picture of the rooms with their imports, and a table that says what each is for."""
    members = members_of(rooms_of(graph))
    imports = imports_between_rooms(graph)
    programs = programs_of(graph, members)
    lines = ["```mermaid", "flowchart TB"]
    for program, title in PROGRAMS.items():
        lines.append(f'    subgraph {program.replace(" ", "_")}["{title}"]')
        lines += [f'        {_node(name)}["{name}"]' for name in members if programs[name] == program]
        lines.append("    end")
    lines += [
        f"    {_node(name)} --> {_node(target)}"
        for name, targets in without_shortcuts(imports).items()
        for target in sorted(targets)
    ]
    lines += ["```", "", "| room | program | files | what for |", "|---|---|---|---|"]
    lines += [
        f"| {_link(name)} | {programs[name]} | {len(modules)} | {purpose_of(graph, name)} |"
        for name, modules in members.items()
    ]
    return "\n".join(lines) + "\n"


def rooms_of(graph: ImportGraph) -> Mapping[str, str]:
    """The room of each module: the folder of the second level that it is in, or its package."""
    folders = {module for module in graph.modules if graph.files[module].name == "__init__.py"}
    return {
        module: second if (second := ".".join(module.split(".")[:2])) in folders else module.split(".")[0]
        for module in graph.modules
    }


def members_of(rooms: Mapping[str, str]) -> Mapping[str, list[str]]:
    """The modules of each room."""
    return {name: [module for module, room in rooms.items() if room == name] for name in sorted({*rooms.values()})}


def imports_between_rooms(graph: ImportGraph) -> Mapping[str, set[str]]:
    """The other rooms that modules of each room import."""
    rooms = rooms_of(graph)
    return {
        name: {rooms[target] for module in modules for target in graph.imports(module)} - {name}
        for name, modules in members_of(rooms).items()
    }


def circles(imports: Mapping[str, set[str]]) -> list[tuple[str, ...]]:
    """The sets of rooms that import each other, directly or not."""
    reached = {name: _reached(name, imports) for name in imports}
    groups = {tuple(sorted(other for other in reached[name] if name in reached[other])) for name in imports}
    return sorted(group for group in groups if len(group) > 1)


def programs_of(graph: ImportGraph, members: Mapping[str, Iterable[str]]) -> Mapping[str, str]:
    """The executor's rooms have its name; those of both programs hold modules that both load. All others are the
    control plane's, also what is loaded by a name or by nothing yet."""
    shared = graph.closure(executor_roots(graph)) & graph.closure([CONTROL_PLANE])

    def program(room: str, modules: Iterable[str]) -> str:
        if room.endswith(".executor"):
            return "executor"
        return "both" if shared & ({*modules} - {room}) else "control plane"

    return {room: program(room, modules) for room, modules in members.items()}


def without_shortcuts(imports: Mapping[str, set[str]]) -> Mapping[str, set[str]]:
    """The same, but for an arrow to a room that a longer way leads to as well."""
    reached = {name: _reached(name, imports) for name in imports}
    return {
        name: {
            target
            for target in targets
            if not any(
                target in reached[other] and name not in reached[other] and other not in reached[target]
                for other in targets - {target}
            )
        }
        for name, targets in imports.items()
    }


def purpose_of(graph: ImportGraph, room: str) -> str:
    """The first sentence of the room's own docstring."""
    text = ast.get_docstring(ast.parse(graph.files[room].read_bytes())) or ""
    return " ".join(text.split("\n\n")[0].split())


def _reached(start: str, imports: Mapping[str, set[str]]) -> frozenset[str]:
    reached: set[str] = set()
    left = {start}
    while left:
        reached |= left
        left = set(chain.from_iterable(imports[name] for name in left)) - reached
    return frozenset(reached)


def _node(room: str) -> str:
    return room.replace(".", "_")


def _link(room: str) -> str:
    return f"[`{room}`](../../{room.replace('.', '/')})"


def between_marks(page: str) -> str:
    return page.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + drawn(project_imports()) + END + rest.partition(END)[2], encoding="utf-8")
