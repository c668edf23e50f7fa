"""Which project modules import which, read from the source; nothing is executed.

An import counts wherever it stands: at the top, inside a function, below `if TYPE_CHECKING`. A package counts as a
module, namely its `__init__.py`. Modules are named as Python names them, such as `domain.run.state`.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("domain", "application", "projections", "infrastructure", "interfaces", "sql")


@dataclass(frozen=True)
class ImportGraph:
    """The modules below `root` that belong to `packages`, and the imports between them."""

    root: Path
    packages: tuple[str, ...]

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """The file of each module."""
        found = (path for package in self.packages for path in (self.root / package).rglob("*.py"))
        return {_name(path.relative_to(self.root)): path for path in sorted(found)}

    @property
    def modules(self) -> frozenset[str]:
        return frozenset(self.files)

    def imports(self, module: str) -> frozenset[str]:
        """The modules that `module` itself names in its imports. KeyError: there is no such module."""
        return self._references[module].imported

    def started(self, module: str) -> frozenset[str]:
        """The modules that `module` starts as programs: it holds their name (`python -m NAME`) as a text, or the file
        name of one that lies beside it."""
        return self._references[module].started

    def imports_of_file(self, file: Path) -> frozenset[str]:
        """The same for a file that is no module of the project, such as a script."""
        return self._referenced(file, package="").imported

    def closure(self, roots: Iterable[str], *, with_started: bool = False) -> frozenset[str]:
        """All modules that are loaded when `roots` are imported, themselves and the packages above included.
        `with_started`: and those of the programs that one of them starts."""
        reached: set[str] = set()
        left = list(roots)
        while left:
            module = left.pop()
            if module in reached:
                continue
            reached.add(module)
            left += [*self.imports(module), *self._above(module)]
            if with_started:
                left += self.started(module)
        return frozenset(reached)

    def cycles(self) -> list[tuple[str, ...]]:
        """For each set of modules that import each other, directly or not, one shortest circle: each module imports the
        next, and the last is the first again. Loading a module loads the packages above it, too."""
        loads = {module: self._loads(module) for module in self.files}
        return [
            min((_shortest_circle(module, loads, group) for module in sorted(group)), key=len)
            for group in _groups(loads)
        ]

    @cached_property
    def _references(self) -> Mapping[str, "_References"]:
        return {
            module: self._referenced(file, package=module if file.name == "__init__.py" else module.rpartition(".")[0])
            for module, file in self.files.items()
        }

    @cached_property
    def _modules_of_files(self) -> Mapping[Path, str]:
        return {file: module for module, file in self.files.items()}

    def _referenced(self, file: Path, package: str) -> "_References":
        imported: set[str] = set()
        started: set[str] = set()
        for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
            match node:
                case ast.Import(names=names):
                    imported |= {self._known(alias.name) for alias in names}
                case ast.ImportFrom(module=name, names=names, level=level):
                    origin = _absolute(name or "", level, package)
                    imported |= {self._known(f"{origin}.{alias.name}") for alias in names}
                case ast.Constant(value=str(text)) if text in self.files:
                    started.add(text)
                case ast.Constant(value=str(text)) if text.endswith(".py") and "\n" not in text:
                    started.add(self._modules_of_files.get(file.parent / text, ""))
        return _References(frozenset(imported - {""}), frozenset(started - {""}))

    def _known(self, name: str) -> str:
        """The project module that an import of `name` names: itself, or the one that has it as an attribute."""
        while name and name not in self.files:
            name = name.rpartition(".")[0]
        return name

    def _above(self, module: str) -> set[str]:
        """The packages that `module` is in."""
        parts = module.split(".")
        return {".".join(parts[:depth]) for depth in range(1, len(parts))} & self.files.keys()

    def _loads(self, module: str) -> frozenset[str]:
        """Its imports, and the packages above them that it is not in itself."""
        imported = self.imports(module)
        packages = {package for each in imported for package in self._above(each)}
        return imported | (packages - self._above(module) - {module})


@dataclass(frozen=True)
class _References:
    imported: frozenset[str]
    started: frozenset[str]


def executor_roots(graph: ImportGraph) -> list[str]:
    """What the executor's program is made of: its start, and the providers, which it loads by their names."""
    rooms = "infrastructure.executor.providers."
    providers = [name for name in graph.modules if name.startswith(rooms) and name.endswith(".provider")]
    return ["interfaces.executor.__main__", *sorted(providers)]


@cache
def project_imports() -> ImportGraph:
    """The project's own graph; read once per process."""
    return ImportGraph(REPOSITORY, PACKAGES)


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _absolute(name: str, level: int, package: str) -> str:
    """The absolute name that `from <level dots><name> import` stands for in a module of `package`."""
    if level == 0:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])


def _groups(edges: Mapping[str, frozenset[str]]) -> list[frozenset[str]]:
    """The strongly connected components that hold a circle (Tarjan, without recursion)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_nodes: dict[str, None] = {}
    groups: list[frozenset[str]] = []
    for start in sorted(edges):
        if start in order:
            continue
        walk: list[tuple[str, Iterator[str]]] = []
        _enter(start, edges, order, lowest, open_nodes, walk)
        while walk:
            node, following = walk[-1]
            target = next(following, None)
            if target is None:
                walk.pop()
                if walk:
                    lowest[walk[-1][0]] = min(lowest[walk[-1][0]], lowest[node])
                if lowest[node] == order[node]:
                    group = _closed(node, open_nodes)
                    if len(group) > 1 or node in edges[node]:
                        groups.append(group)
            elif target not in order:
                _enter(target, edges, order, lowest, open_nodes, walk)
            elif target in open_nodes:
                lowest[node] = min(lowest[node], order[target])
    return groups


def _enter(
    node: str,
    edges: Mapping[str, frozenset[str]],
    order: dict[str, int],
    lowest: dict[str, int],
    open_nodes: dict[str, None],
    walk: list[tuple[str, Iterator[str]]],
) -> None:
    order[node] = lowest[node] = len(order)
    open_nodes[node] = None
    walk.append((node, iter(sorted(edges[node]))))


def _closed(node: str, open_nodes: dict[str, None]) -> frozenset[str]:
    group = set()
    while node not in group:
        last, _ = open_nodes.popitem()
        group.add(last)
    return frozenset(group)


def _shortest_circle(start: str, edges: Mapping[str, frozenset[str]], group: frozenset[str]) -> tuple[str, ...]:
    """The shortest way from `start` back to it within `group`, which has one."""
    paths: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    while True:
        following: list[tuple[str, ...]] = []
        for path in paths:
            for target in sorted(edges[path[-1]] & group):
                if target == start:
                    return (*path, start)
                if target not in seen:
                    seen.add(target)
                    following.append((*path, target))
        paths = following
