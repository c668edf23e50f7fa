"""Debian's Postgres 15, the oldest version that is supported. As Debian has it, it compiles statements (JIT)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from infrastructure.embedded.postgres import SERVER_SETTINGS, EmbeddedPostgres

PROGRAM = Path("/usr/lib/postgresql/15/bin/postgres")
OURS_ALONE = {"jit", "io_workers"}
"""Settings of the embedded server that Debian's has not, or has otherwise."""


class DebianPostgres(EmbeddedPostgres):
    """Run as the embedded one is."""

    major_version = "15"
    settings: ClassVar[Mapping[str, str]] = {
        name: value for name, value in SERVER_SETTINGS.items() if name not in OURS_ALONE
    }
    locale_options = ("--locale=C.UTF-8",)

    def __init__(self, home: Path, *, start_timeout: float = 60.0) -> None:
        super().__init__(home, start_timeout=start_timeout)
        self._program = PROGRAM


def required_debian_postgres() -> None:
    """Skip the test where there is none; fail it there with CI=true."""
    if PROGRAM.exists():
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"there is no {PROGRAM}; script/test-programs installs it")
    pytest.skip(f"there is no {PROGRAM}; script/test-programs installs it")
