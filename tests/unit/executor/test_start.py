"""What an executor loads before it serves: each session pays for it at every start of its container."""

import subprocess
import sys

HEAVY = ("httpx", "boto3", "botocore", "psycopg", "docker", "rich", "eventsourcing", "sqlite3")


def test_an_executor_loads_nothing_heavy_before_it_serves() -> None:
    script = f"import sys, interfaces.executor.bootstrap; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()
    assert loaded == "[]"
