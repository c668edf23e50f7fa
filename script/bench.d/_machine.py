"""The machine that a bench ran on, for its report."""

import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Cores, processor model, Python; the load average tells whether the machine had anything else to do."""
    models = [line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line]
    return {
        "cpus": os.cpu_count(),
        "model": models[0].split(":", 1)[1].strip() if models else platform.machine(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }
