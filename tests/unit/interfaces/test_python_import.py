"""What the log's Python interface knows after its import alone, in a program that has imported nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN_EVENTS = Path(__file__).resolve().parents[1] / "domain/golden_events.json"


@pytest.mark.parametrize("module", ["interfaces.python", "infrastructure.eventsourcing_library.mapper"])
def test_it_knows_every_event_type_of_the_log(module: str) -> None:
    program = f"import {module}, json; from domain.event import event_types; print(json.dumps(list(event_types())))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    events = json.loads(GOLDEN_EVENTS.read_text(encoding="utf-8"))["events"]
    assert set(json.loads(done.stdout)) == set(events)
