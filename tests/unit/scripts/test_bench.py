"""`script/bench`: it lists the benchmarks, and each of them works: it is run at toy size, on its real servers."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
DISPATCHER = REPOSITORY / "script/bench.d/_dispatch.py"


def dispatcher() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_dispatcher", DISPATCHER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NAMES = list(dispatcher().benchmarks())


def bench(*arguments: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """As script/bench runs it, in this environment instead of .venv."""
    return subprocess.run(
        [sys.executable, DISPATCHER, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def result_of(name: str, *arguments: str, timeout: float, **environment: str) -> dict[str, Any]:
    """The object of its last line. Skips the test where the benchmark can't run; with CI=true that fails it."""
    done = bench(name, "--toy", "--json", *arguments, timeout=timeout, **environment)
    if done.returncode == os.EX_UNAVAILABLE and os.environ.get("CI") != "true":
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    *table, last = done.stdout.splitlines()
    assert "ratio" in "\n".join(table)
    result: dict[str, Any] = json.loads(last)
    return result


@pytest.fixture
def temporary_files() -> Iterator[Path]:
    """A folder with a short path: Postgres's socket lies in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("arguments", [[], ["nonesuch"], ["_measuring"]])
def test_without_a_known_name_it_lists_the_benchmarks(arguments: list[str]) -> None:
    answer = bench(*arguments)
    assert answer.returncode == 2
    assert {"append", "load", "queue"} <= set(NAMES)
    for name in NAMES:
        assert f"  {name} " in answer.stderr


def test_a_size_must_be_positive() -> None:
    answer = bench("verify", "--events", "0")
    assert answer.returncode == 2
    assert "--events is 0; give a number greater than 0" in answer.stderr


@pytest.mark.proof
@pytest.mark.timeout(600)  # activate builds the image of session workers first
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_compares_ours_with_its_baseline_and_leaves_nothing_behind(
    name: str, temporary_files: Path
) -> None:
    result = result_of(name, timeout=580, TMPDIR=str(temporary_files))
    assert (result["bench"], result["rounds"]) == (name, 1)
    figures = {key: value for key, value in result.items() if key.startswith("ratio")}
    assert "ratio" in figures
    figures |= {key: result[key] for key in ("ours", "baseline")}
    for key, value in figures.items():
        assert isinstance(value, int | float), f"{key} is {value!r}"
        assert math.isfinite(value), f"{key} is {value!r}"
    assert result["machine"]["cpus"] == os.cpu_count()
    assert list(temporary_files.iterdir()) == []


@pytest.mark.proof
@pytest.mark.sampled(1)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("provider", ["claude-code", "codex-cli", "opencode"])
def test_a_providers_runs_are_compared_with_its_bare_cli_and_followed_to_a_client(provider: str) -> None:
    result = result_of("providers", "--provider", provider, timeout=280)
    (row,) = result["providers"]
    assert row["provider"] == provider
    assert {"ours", "baseline", "ratio", "ours_mb", "baseline_mb", "delta_p99_ms"} <= set(row)
    assert list(row["hops"]) == [
        "model to printed",
        "printed to journaled",
        "journaled to appended",
        "appended to client",
    ]


@pytest.mark.proof
@pytest.mark.sampled(2)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("abuse", ["questions", "nested", "output", "line", "files", "sparse", "names", "callbacks"])
def test_an_abuse_is_measured_beside_ordinary_sessions_and_ends_by_a_name(abuse: str) -> None:
    """Those that `--toy` leaves out."""
    result = result_of("hostile", "--only", abuse, timeout=280)
    (found,) = result["abuses"].values()
    assert found["runs"] > 0
    assert found["failures"] == []
    assert found["ended"].startswith("200 x " if abuse == "callbacks" else "succeeded")
    for pair in ("delta_p50_ms", "delta_p99_ms", "health_p99_ms"):
        assert min(found[pair]) > 0


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_logs_of_several_sizes_are_compared_by_what_they_cost() -> None:
    result = result_of("growth", "--sizes", "600", "200", timeout=280)
    small, large = result["events"]
    assert 150 < small < large < 700
    operations = {"append", "load", "claim", "list page", "stream open", "timeline page", "up to ready"}
    assert set(result["ms"]) == operations
    assert {f"ratio_{name.replace(' ', '_')}" for name in operations} <= set(result)
    assert all(each > 0 for each in result["bytes_per_event"])
