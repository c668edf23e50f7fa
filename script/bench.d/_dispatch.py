"""Runs the benchmark that the first argument names, a module of this folder, with the other arguments.

A benchmark is a module whose docstring begins with what it compares, and whose `main()` reads `sys.argv`. Modules with
a leading underscore are parts of benchmarks; a trailing one avoids the name of a standard library module.
"""

import ast
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def benchmarks() -> dict[str, Path]:
    """The benchmarks' files, by name."""
    return {path.stem.rstrip("_"): path for path in sorted(FOLDER.glob("[!_]*.py"))}


def overview() -> str:
    lines = [
        "usage: script/bench NAME [--json] [--rounds N] [--toy] [--help]",
        "",
        "--toy runs a benchmark at its smallest sizes: shows in seconds whether it works, not how fast anything is.",
        "",
    ]
    width = max(map(len, benchmarks())) + 2
    for name, path in benchmarks().items():
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first_sentence = " ".join(about.partition("\n\n")[0].split())
        lines.append(f"  {name:<{width}}{first_sentence}")
    return "\n".join(lines)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    path = benchmarks().get(name)
    if path is not None:
        os.execv(sys.executable, [sys.executable, str(path), *sys.argv[2:]])
    elif name in {"-h", "--help"}:
        print(overview())
    else:
        problem = f"there is no benchmark {name!r}\n" if name else ""
        print(f"{problem}{overview()}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
