"""The limits of the executor's own process."""

import resource

_MANY_FILES = 65536


def allow_many_files() -> None:
    """Raise the number of files that may be open, as far as the hard limit allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (min(hard, _MANY_FILES) if hard != resource.RLIM_INFINITY else _MANY_FILES, hard)
    )
