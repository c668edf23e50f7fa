"""Answer types that several resources share."""

from typing import Literal

import msgspec


class AnswerBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of answers: camelCase, and every field is always present."""


class Pending(AnswerBody, frozen=True, kw_only=True):
    """202: the command is accepted, its outcome is still under way. A read with this `minPosition` sees the command's
    events."""

    position: int
    pending: Literal[True] = True
