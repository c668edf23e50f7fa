"""What several resources answer alike."""

from typing import Literal

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of answers: camelCase, every field always there."""


class Pending(View, frozen=True, kw_only=True):
    """202: the command is accepted, its effect is still under way. A read with `minPosition` sees what was accepted."""

    position: int
    pending: Literal[True] = True
