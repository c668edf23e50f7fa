"""The files of this repository that a program imports, found in its source without running it.

`python closure.py ROOT interfaces/executor/__main__.py …` prints their paths, sorted, one a line; further arguments are
files that the program loads by their names. An import inside a
function counts as one at the top, and a module counts with the packages around it. A file that a module runs as a
program of its own, `Path(__file__).with_name("NAME.py")`, belongs to it. Modules that are not found here belong to
other libraries.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


def closure(root: Path, starts: Iterable[str]) -> set[str]:
    """The paths, relative to `root`, of `starts` and of all that it imports from there, directly or not."""
    found: set[str] = set()
    waiting = [*starts]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += _packages_around(root, path)
        waiting += _needed(root, path, ast.parse((root / path).read_text(encoding="utf-8"), path))
    return found


def _needed(root: Path, path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield from _files(root, alias.name)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = _absolute(path, module or "", level)
                yield from _files(root, base)
                for alias in names:
                    yield from _files(root, f"{base}.{alias.name}")
            case ast.Call(func=ast.Attribute(attr="with_name"), args=[ast.Constant(value=str(name))]) if name.endswith(
                ".py"
            ):
                yield str(Path(path).with_name(name))


def _absolute(path: str, module: str, level: int) -> str:
    """The module that `from module import …` at `level` dots names in the file `path`."""
    if level == 0:
        return module
    package = Path(path).parts[:-level]
    return ".".join([*package, *([module] if module else [])])


def _files(root: Path, module: str) -> Iterator[str]:
    """The file of a module of this repository; none for another library's, or for a name that is no module."""
    path = Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (root / candidate).is_file():
            yield str(candidate)


def _packages_around(root: Path, path: str) -> Iterator[str]:
    for folder in Path(path).parents:
        if (root / folder / "__init__.py").is_file():
            yield str(folder / "__init__.py")


if __name__ == "__main__":
    print("\n".join(sorted(closure(Path(sys.argv[1]), sys.argv[2:]))))
