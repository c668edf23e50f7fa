"""`script/bench`: it lists what there is, and each benchmark keeps its shape."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.agent_clis import installed_clis

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = REPOSITORY / "script/bench.d"
NAMES = sorted(path.stem.rstrip("_") for path in FOLDER.glob("[!_]*.py"))


def bench(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """As script/bench runs it, in this environment instead of .venv."""
    return subprocess.run(
        [sys.executable, FOLDER / "_dispatch.py", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize("arguments", [[], ["nonesuch"], ["_measuring"]])
def test_without_a_known_name_it_lists_what_there_is(arguments: list[str]) -> None:
    answer = bench(*arguments)
    assert answer.returncode == 2
    assert {"append", "load"} <= set(NAMES)
    for name in NAMES:
        assert f"  {name} " in answer.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_the_common_options(name: str) -> None:
    answer = bench(name, "--help")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"usage: script/bench {name} ")
    assert "--json" in answer.stdout
    assert "--rounds" in answer.stdout


@pytest.mark.proof
def test_the_last_line_is_one_object_for_programs() -> None:
    answer = bench("load", "--json", "--rounds", "1", "--events", "300", timeout=110)
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout.splitlines()[-1])
    assert {"bench", "rounds", "ours", "baseline", "ratio", "ratio_cold", "ratio_warm"} <= set(result)
    assert (result["bench"], result["rounds"], result["events"]) == ("load", 1, 300)


@pytest.mark.proof
@pytest.mark.timeout(180)
def test_a_providers_runs_are_compared_with_its_bare_cli_and_followed_to_a_client() -> None:
    installed_clis()
    answer = bench("providers", "--provider", "codex-cli", "--rounds", "1", "--json", timeout=170)
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout.splitlines()[-1])
    assert {"bench", "rounds", "ours", "baseline", "ratio"} <= set(result)
    (row,) = result["providers"]
    assert {"ours", "baseline", "ratio", "ours_mb", "baseline_mb", "delta_p99_ms"} <= set(row)
    assert list(row["hops"]) == [
        "model to printed",
        "printed to journaled",
        "journaled to appended",
        "appended to client",
    ]
