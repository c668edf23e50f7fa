"""The readiness check of the object store: asked once at a time, in threads of its own."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from infrastructure.operations.readiness import ObjectStoreReadiness
from tests.support.async_run import run


class HangingStore:
    address = "http://store/bucket"

    def __init__(self):
        self.asked, self.answers = threading.Event(), threading.Event()
        self.threads = []

    def get(self, key, *, length):
        self.threads.append(threading.current_thread().name)
        self.asked.set()
        assert self.answers.wait(30)


def test_while_the_store_does_not_answer_no_further_check_asks_it():
    store: Any = HangingStore()

    async def scene(threads):
        readiness = ObjectStoreReadiness(store, threads)
        given_up = asyncio.create_task(readiness.check())
        await asyncio.to_thread(store.asked.wait, 30)
        given_up.cancel()
        waiting = [asyncio.create_task(readiness.check()) for _ in range(3)]
        await asyncio.wait([given_up])
        store.answers.set()
        assert await asyncio.gather(*waiting) == [store.address] * 3
        assert len(store.threads) == 1
        assert await readiness.check() == store.address

    with ThreadPoolExecutor(4, thread_name_prefix="object-store") as threads:
        run(scene(threads))
    assert len(store.threads) == 2
    assert all(name.startswith("object-store") for name in store.threads)
