"""StartRefused: the system can't start as it is; the message says what is wrong and what to do."""


class StartRefused(Exception):
    """For people: no traceback is shown."""
