"""Text of agents and other people on a terminal, which would obey the control characters in it."""

import re

# C0 except line feed and tab, DEL, C1, bidirectional controls, line separators, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def harmless(text: str) -> str:
    """The text, with all characters that could control a terminal replaced by Python escapes."""
    return _UNSAFE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)
