"""Run by `script/test --full` where the wheel was installed, in another folder than the repository: everything is in
the wheel, and the `fleetlog` command that it brings runs a run."""

import importlib.resources
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import application
import domain
import infrastructure.embedded.object_store
import infrastructure.embedded.postgres
import interfaces.settings_reading
import projections
import sql

for package in (domain, application, projections, infrastructure, interfaces, sql):
    place = Path(package.__path__[0])
    assert "site-packages" in place.parts, f"{package.__name__} was loaded from {place}, not from the wheel"

interfaces.settings_reading.load_settings({})


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


def answer(url, body=None):
    request = urllib.request.Request(url, headers={"content-type": "application/json"})
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(request, data, timeout=120) as response:
        return json.load(response)


with tempfile.TemporaryDirectory() as folder:
    command = Path(sys.executable).with_name("fleetlog")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEETLOG_")}
    with subprocess.Popen(
        [command, "up", "--json"],
        cwd=folder,
        env=environment | {"FLEETLOG_PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            url = json.loads(server.stdout.readline())["url"]
            run = {"provider": "scripted", "model": "none", "messages": [{"role": "user", "content": "echo works"}]}
            snapshot = answer(f"{url}/api/runs/start", run)["snapshot"]
            assert snapshot["state"] == "succeeded", snapshot
            for file in ("", "/main.js", "/base.css", "/mark.svg"):
                with urllib.request.urlopen(f"{url}/console{file}", timeout=30) as page:
                    assert page.read(), f"/console{file} is empty"
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
sys.stdout.write("its fleetlog command served a run from an empty folder\n")
