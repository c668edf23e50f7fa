"""Runs the benchmark that the first argument names, a module of this folder, with the other arguments.

A benchmark is a module whose docstring begins with what it compares, and whose `main()` reads `sys.argv`. Names with an
underscore in front are their parts; one behind keeps a name from hiding a module of the standard library.
"""

import ast
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def benchmarks() -> dict[str, Path]:
    """By name."""
    return {path.stem.rstrip("_"): path for path in sorted(FOLDER.glob("[!_]*.py"))}


def what_there_is() -> str:
    lines = ["usage: script/bench NAME [--json] [--rounds N] [--help]", ""]
    for name, path in benchmarks().items():
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first_sentence = " ".join(about.partition("\n\n")[0].split())
        lines.append(f"  {name:<12}{first_sentence}")
    return "\n".join(lines)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    path = benchmarks().get(name)
    if path is not None:
        os.execv(sys.executable, [sys.executable, str(path), *sys.argv[2:]])
    elif name in {"-h", "--help"}:
        print(what_there_is())
    else:
        problem = f"there is no benchmark {name!r}\n" if name else ""
        print(f"{problem}{what_there_is()}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
