"""Runs many blocking tasks in a bounded pool; the first failure cancels those that have not begun."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from typing import TypeVar

Result = TypeVar("Result")


def run_in_parallel(pool: Executor, tasks: Iterable[Callable[[], Result]]) -> list[Result]:
    """The results in the order of the tasks. Raises the first failed task's error once all tasks that had begun have
    ended."""
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
