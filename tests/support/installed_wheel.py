"""Run by `script/test --full` where the wheel was installed, in another folder than the repository."""

import importlib.resources
import sys
from pathlib import Path

import application
import domain
import infrastructure.embedded.object_store
import infrastructure.embedded.postgres
import interfaces.settings
import projections
import sql

for package in (domain, application, projections, infrastructure, interfaces, sql):
    place = Path(package.__path__[0])
    assert "site-packages" in place.parts, f"{package.__name__} was loaded from {place}, not from the wheel"

interfaces.settings.load_settings({})


def sql_files(folder):
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from sql_files(entry)
        elif entry.name.endswith(".sql"):
            yield entry


files = list(sql_files(importlib.resources.files(sql)))
for file in files:
    assert file.read_text(encoding="utf-8").strip(), f"{file.name} is empty"
sys.stdout.write(f"the wheel works elsewhere; {len(files)} SQL files\n")
