"""Keeps the secrets that the control plane knows out of its log, its texts and what is recorded."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import msgspec

from infrastructure.issued_secrets import IssuedSecrets
from infrastructure.redaction import SHORTEST_SECRET, Redactor

Value = TypeVar("Value", bound=msgspec.Struct)
_CALLERS = 256
"""Of so many callers the redactor that also knows their token is kept."""


class InstallationRedaction:
    """Implements Redact (application/ports/redaction.py) with a redactor that may go on learning, and what is `issued`
    to session workers."""

    def __init__(self, redactor: Redactor, issued: IssuedSecrets) -> None:
        self.redactor, self.issued = redactor, issued
        self._with = lru_cache(maxsize=_CALLERS)(redactor.with_secrets)

    def __call__(self, value: Value, also: Sequence[str] = ()) -> Value:
        issued = self.issued.in_text(msgspec.json.encode(value)) if self.issued else ()
        return self._knowing((*also, *issued)).value(value)

    def text(self, text: str) -> str:
        return self._knowing(self.issued.in_text(text.encode("utf-8", "replace"))).text(text)

    def json(self, document: bytes) -> bytes:
        """The document, redacted as plain text if it is not JSON."""
        return self._knowing(self.issued.in_text(document)).json(document)

    def _knowing(self, also: Sequence[str]) -> Redactor:
        return self._with(tuple(each for each in also if len(each) >= SHORTEST_SECRET))
