"""How many files, sockets among them, this process may have open."""

import resource

_MANY_FILES = 65536


def allow_many_files() -> int:
    """Raise the number of files that may be open, as far as the hard limit allows; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = min(hard, _MANY_FILES) if hard != resource.RLIM_INFINITY else _MANY_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
