"""Memory that was freed goes back to the system.

glibc hands out a large block from the heap once it has seen one of that size freed. Between smaller ones that live on,
such a heap never shrinks: a server that has once read a hundred large bodies keeps their memory for good.
"""

import ctypes

LARGE_BLOCK_BYTES = 256 * 1024
_M_MMAP_THRESHOLD = -3
_M_TRIM_THRESHOLD = -1


def return_freed_memory() -> None:
    """From now on every large block is mapped by itself, and unmapped when it is freed. Does nothing with another C
    library."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, LARGE_BLOCK_BYTES)
