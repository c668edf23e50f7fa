"""The agents' CLIs, each driven by as little code as possible: start it, prompt it once, wait for its first delta.

The baseline of script/bench providers; it uses nothing of Fleetlog's adapters but the settings that both share."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infrastructure.executor.providers.claude_code.provider import _ARGUMENTS, _ENVIRONMENT
from infrastructure.executor.providers.codex.requests import arguments
from infrastructure.executor.providers.opencode.setup import _FLAGS, _INSTALLED

PROMPT = "say something"
_HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def claude(clis: Path, folder: Path, model_url: str, model: str, key: str, seen: Callable[[int], None]) -> float:
    """Seconds from the start of the program to its first delta."""
    environment = {**_home(folder, clis), **_ENVIRONMENT, "ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": key}
    began = time.perf_counter()
    cli = _start([str(clis / "claude"), *_ARGUMENTS, f"--model={model}"], folder, environment)
    _say(cli, {"type": "control_request", "request_id": "1", "request": {"subtype": "initialize"}})
    _say(cli, {"type": "user", "message": {"role": "user", "content": PROMPT}, "session_id": ""})
    took = 0.0
    for line in _stdout(cli):
        event = line.get("event", {})
        if not took and event.get("type") == "content_block_delta":
            took = time.perf_counter() - began
            seen(cli.pid)
        if line.get("type") == "result":
            break
    return _ended(cli, took)


def codex(clis: Path, folder: Path, model_url: str, model: str, key: str, seen: Callable[[int], None]) -> float:
    """Seconds from the start of the program to its first delta."""
    provider = {
        "name": "bench",
        "base_url": f"{model_url}/v1",
        "experimental_bearer_token": key,
        "wire_api": "responses",
    }
    environment = _home(folder, clis) | {"CODEX_HOME": str(folder)}
    began = time.perf_counter()
    cli = _start([str(clis / "codex"), *arguments()], folder, environment)
    client = {"name": "bench", "title": "bench", "version": "1"}
    _say(cli, {"id": 1, "method": "initialize", "params": {"clientInfo": client}})
    took = 0.0
    for line in _stdout(cli):
        if line.get("id") == 1:
            thread: dict[str, Any] = {
                "cwd": str(folder),
                "model": model,
                "modelProvider": "bench",
                "approvalPolicy": "never",
            }
            thread |= {"sandbox": "danger-full-access", "config": {"model_providers.bench": provider}}
            _say(cli, {"method": "initialized"})
            _say(cli, {"id": 2, "method": "thread/start", "params": thread})
        elif line.get("id") == 2:
            turn = {"threadId": line["result"]["thread"]["id"], "input": [{"type": "text", "text": PROMPT}]}
            _say(cli, {"id": 3, "method": "turn/start", "params": turn})
        elif not took and line.get("method") == "item/agentMessage/delta":
            took = time.perf_counter() - began
            seen(cli.pid)
        elif line.get("method") == "turn/completed":
            break
    return _ended(cli, took)


def opencode(clis: Path, folder: Path, model_url: str, model: str, key: str, seen: Callable[[int], None]) -> float:
    """Seconds from the start of the program to its first delta."""
    options = {"apiKey": key, "baseURL": f"{model_url}/v1"}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "bench", "options": options, "models": {model: {}}}
    config: dict[str, Any] = {
        "provider": {"bench": provider},
        "model": f"bench/{model}",
        "small_model": f"bench/{model}",
    }
    config |= {"autoupdate": False, "share": "disabled", "snapshot": False, "enabled_providers": ["bench"]}
    environment = _home(folder, clis) | _FLAGS | {"OPENCODE_CONFIG_CONTENT": json.dumps(config)}
    for settings in (".config/opencode", ".opencode"):
        _spare_installation(folder / settings)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.perf_counter()
    cli = _start(
        [str(clis / "opencode"), "serve", "--pure", "--hostname=127.0.0.1", f"--port={port}"], folder, environment
    )
    assert cli.stdout is not None
    url = next(found.group(1) for line in cli.stdout if (found := re.search(rb"listening on (\S+)", line))).decode()
    took, session = 0.0, ""
    with _HTTP.open(f"{url}/event", timeout=60) as events:
        for line in events:
            event = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if not session:
                session = _post(f"{url}/session", {"title": "bench"})["id"]
                prompt = {"agent": "build", "parts": [{"type": "text", "text": PROMPT}]}
                _post(f"{url}/session/{session}/prompt_async", prompt)
            elif not took and event.get("type") == "message.part.delta":
                took = time.perf_counter() - began
                seen(cli.pid)
            elif event.get("type") == "session.idle":
                break
    return _ended(cli, took)


DRIVERS = {"claude-code": claude, "codex-cli": codex, "opencode": opencode}


def _post(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with _HTTP.open(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def _spare_installation(settings: Path) -> None:
    """Make the files with which opencode does not fetch packages for plugins; the executor does the same."""
    (settings / "node_modules").mkdir(parents=True, exist_ok=True)
    (settings / "package-lock.json").write_bytes(_INSTALLED)


def _home(folder: Path, clis: Path) -> dict[str, str]:
    path = f"{clis}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(folder), "CLAUDE_CONFIG_DIR": str(folder / ".claude"), "LANG": "C.UTF-8"}


def _start(command: list[str], folder: Path, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _say(cli: "subprocess.Popen[bytes]", message: Any) -> None:
    assert cli.stdin is not None
    cli.stdin.write(json.dumps(message).encode() + b"\n")
    cli.stdin.flush()


def _stdout(cli: "subprocess.Popen[bytes]") -> Any:
    assert cli.stdout is not None
    return (json.loads(line) for line in cli.stdout)


def _ended(cli: "subprocess.Popen[bytes]", took: float) -> float:
    cli.kill()
    cli.communicate()
    assert took, "the CLI ended without a delta"
    return took
