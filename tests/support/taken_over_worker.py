"""What root in a session worker's container can find, and tries with it on another session's prefix of the object
store. Runs there, with the executor's own modules: `python3 - OTHER_PREFIX NEEDLE…`, and prints JSON."""

import json
import os
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from infrastructure.object_store.location import S3Location
from infrastructure.object_store.s3 import S3ObjectStore

PLACES = ("/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var", "/workspace", "/proc")
SKIPPED = {"kcore", "kmsg", "kpagecount", "kpageflags", "pagemap", "mem", "clear_refs", "trace_pipe"}
PART = b"x" * 5 * 1024 * 1024


def files() -> Iterator[Path]:
    for place in PLACES:
        for folder, below, names in os.walk(place):
            below[:] = [name for name in below if name not in {"task", "fd", "fdinfo", "map_files", "cwd", "root"}]
            yield from (Path(folder, name) for name in names if name not in SKIPPED)


def content_of(file: Path) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return b"".join(iter(lambda: os.read(descriptor, 1 << 20), b""))
        finally:
            os.close(descriptor)
    except OSError:
        return b""


def found(needles: list[str]) -> list[str]:
    """Where the needles are, this process's own arguments aside."""
    own = f"/proc/{os.getpid()}/", "/proc/self/", "/proc/thread-self/"
    places = (file for file in files() if not str(file).startswith(own))
    return [f"{needle} in {file}" for file in places for needle in needles if needle.encode() in content_of(file)]


def outcome(attempt: Callable[[], Any]) -> str:
    try:
        result = attempt()
    except Exception as error:  # noqa: BLE001  whatever it is, it is told
        return f"{type(error).__name__}: {error}"
    return f"done: {result!r}"[:200]


def attempts_of(store: S3ObjectStore, own: str, other: str) -> dict[str, Callable[[], Any]]:
    return {
        "list": lambda: [item.key for item in store.list_objects(f"{other}/")],
        "list all": lambda: [item.key for item in store.list_objects("")],
        "list plain": lambda: [item.key for item in store.list_objects(other.rpartition("/session/")[0])],
        "read": lambda: store.get(f"{other}/secret.txt"),
        "read by a detour": lambda: store.get(f"{own}/../../{other.split('/')[-2]}/workspace/secret.txt"),
        "ask for": lambda: store.head(f"{other}/secret.txt"),
        "copy to its own": lambda: store.copy(f"{other}/secret.txt", f"{own}/stolen"),
        "write": lambda: store.put(f"{other}/planted.txt", b"planted"),
        "overwrite": lambda: store.put(f"{other}/secret.txt", b"planted"),
        "write in parts": lambda: store.put_parts(f"{other}/planted.txt", [PART, b"."]),
        "delete": lambda: store.delete([f"{other}/secret.txt"]),
    }


def _has_some(store: S3ObjectStore, prefix: str) -> bool:
    return len(list(store.list_objects(prefix))) > 0


def main() -> None:
    other, *needles = sys.argv[1:]
    config = json.loads(Path("/etc/fleetlog/executor.json").read_bytes())
    own = json.loads(Path("/var/lib/fleetlog/restored.json").read_bytes()).get("workspaceS3Prefix", "")
    session = other.split("/")[-2]
    guessed = "FLW" + urlsafe_b64encode(f"1:{session}".encode()).decode().rstrip("=")
    keys = {
        "": (config["s3AccessKey"], config["s3SecretKey"]),
        "as the other, ": (guessed, config["s3SecretKey"]),
        "as the other with the token, ": (guessed, config["token"]),
        "with the token, ": (config["s3AccessKey"], config["token"]),
    }
    results = {}
    for who, (access_key, secret_key) in keys.items():
        location = S3Location(
            endpoint=config["s3Endpoint"], bucket=config["s3Bucket"], region=config["s3Region"],
            access_key=access_key, secret_key=secret_key,
        )  # fmt: skip
        store = S3ObjectStore(location, retry_delay_s=0.01)
        results |= {f"{who}{name}": outcome(each) for name, each in attempts_of(store, own, other).items()}
        if not who:
            results["own"] = outcome(partial(_has_some, store, f"{own}/"))
    sys.stdout.write(json.dumps({"found": found(needles), "results": results, "own": own}))


if __name__ == "__main__":
    main()
