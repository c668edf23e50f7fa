"""Which files script/worker-image ships: what an executor imports, and nothing else."""

import subprocess
import sys

from tests.architecture import room_map
from tests.support.import_graph import executor_roots, project_imports
from tests.support.worker_image import ROOT, executor_files, imported_files

PACKAGES = ("domain", "application", "projections", "infrastructure", "interfaces", "sql")


def test_a_program_s_files_are_found_by_its_imports(tmp_path):
    files = {
        "program/__init__.py": "",
        "program/__main__.py": "import sys\nfrom program.parts import first\nfrom .near import Value\n",
        "program/near.py": "Value = int\n",
        "program/parts/__init__.py": "",
        "program/parts/first.py": "def later():\n    import other.deep.module as module\n    return module\n",
        "program/parts/not_needed.py": "import program\n",
        "other/__init__.py": "",
        "other/deep/__init__.py": "from .. import sibling\n",
        "other/deep/module.py": 'from pathlib import Path\nRUN = Path(__file__).with_name("run_alone.py")\n',
        "other/deep/run_alone.py": "",
        "other/sibling.py": "",
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)

    assert imported_files("program/__main__.py", root=tmp_path) == files.keys() - {"program/parts/not_needed.py"}


def test_all_that_a_serving_executor_has_loaded_is_among_its_files():
    script = (
        "import sys, interfaces.executor.__main__, interfaces.executor.bootstrap\n"
        f"print(*[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] in {PACKAGES!r}], sep='\\n')"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()

    assert {name.removeprefix(f"{ROOT}/") for name in loaded} <= executor_files()


def test_its_files_are_those_that_the_graph_of_imports_leads_to():
    graph = project_imports()
    reached = graph.closure(executor_roots(graph), with_started=True)

    assert executor_files() == {str(graph.files[module].relative_to(ROOT)) for module in reached}


def test_an_executor_needs_nothing_of_the_control_plane():
    rooms = room_map.rooms_of(project_imports())
    needed = {
        rooms[name.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")] for name in executor_files()
    }

    assert needed == {
        "application",
        "application.ports",
        "domain",
        "domain.run",
        "domain.workspace",
        "infrastructure",
        "infrastructure.executor",
        "infrastructure.object_store",
        "infrastructure.stored_workspaces",
        "interfaces",
        "interfaces.executor",
        "interfaces.http_conventions",
    }
