"""StartRefused: a command can't start; its message says what is wrong and what to do."""


class StartRefused(Exception):
    """Shown to people as its message, without a traceback."""
