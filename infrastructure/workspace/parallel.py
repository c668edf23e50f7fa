"""Run many blocking tasks in a bounded pool; the first failure stops the rest."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from typing import TypeVar

Answer = TypeVar("Answer")


def run_all(pool: Executor, tasks: Iterable[Callable[[], Answer]]) -> list[Answer]:
    """The answers in the order of the tasks. Raises the first error, after every task that had begun has ended."""
    futures = [pool.submit(task) for task in tasks]
    done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
    for future in waiting:
        future.cancel()
    if waiting:
        wait(waiting)
    for future in futures:
        if future in done and future.exception() is not None:
            raise future.exception()  # type: ignore[misc]
    return [future.result() for future in futures]
