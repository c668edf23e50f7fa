"""Ends a process and all that it has started, when the process that started it dies."""

import os
import select
import signal


def end_group_with(supervisor: int, *, within_s: float) -> None:
    """Kill this process's group, which is its own from now on, once the other end of the socket `supervisor` (a
    descriptor) is closed and this process has ended; `within_s` seconds after the closing in any case.

    A process beside this one does it: a thread would wait for ever for the GIL while code in C holds it, and the parent
    death signal of Linux reaches no grandchildren. Call it while this process has one thread.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    leader = os.pidfd_open(os.getpid())
    between = os.fork()
    if between:
        os.close(leader)
        os.waitpid(between, 0)
        return
    try:
        if os.fork() == 0:  # no child of the leader, whose code may wait for all of its children
            _wait_for(supervisor, select.POLLHUP)
            _wait_for(leader, select.POLLIN, within_s)
            os.killpg(0, signal.SIGKILL)
    finally:
        os._exit(0)


def _wait_for(descriptor: int, event: int, timeout_s: float | None = None) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll(None if timeout_s is None else timeout_s * 1000)
