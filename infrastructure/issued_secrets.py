"""Credentials that are issued to session workers: too many, and renewed too often, for a search for each in each text.
Here it is found which of them a text may hold; a redactor then looks for these alone."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from infrastructure.redaction import SHORTEST_PART, forms_of

_WINDOW, _STEP = 8, 4
"""Of a text each fourth run of eight bytes is looked up: a part of SHORTEST_PART holds one that begins at any four
places in a row."""
_PLACES = range(0, 64, 16)
"""Where in a secret such rows begin. Not at its start alone: tokens of one service begin with the same letters."""
_SHARED = ""
"""Instead of the secret, where several have the same: it tells nothing of any of them."""


class IssuedSecrets:
    """Remembers the last `most`. Shorter ones than SHORTEST_PART are ignored. Safe to use from many threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()
        self._index: dict[bytes, str] = {}

    def learn(self, secrets: Iterable[str]) -> None:
        for secret in secrets:
            if len(secret) < SHORTEST_PART:
                continue
            windows = tuple({window for form in forms_of(secret) for window in _windows(form.encode())})
            with self._lock:
                self._known[secret] = windows
                self._known.move_to_end(secret)
                for window in windows:
                    self._index[window] = secret if self._index.get(window, secret) == secret else _SHARED
                while len(self._known) > self._most:
                    self._forget_oldest()

    def __bool__(self) -> bool:
        return bool(self._index)

    def in_text(self, text: bytes) -> Sequence[str]:
        """Those that may be in it, whole, in part, or encoded."""
        index = self._index
        if not index:
            return ()
        places = range(0, len(text) - _WINDOW + 1, _STEP)
        found = {index.get(text[at : at + _WINDOW], _SHARED) for at in places}
        return sorted(found - {_SHARED})

    def _forget_oldest(self) -> None:
        oldest, windows = self._known.popitem(last=False)
        for window in windows:
            if self._index.get(window) == oldest:
                del self._index[window]


def _windows(form: bytes) -> Iterator[bytes]:
    last = len(form) - _WINDOW
    for begin in (*_PLACES, last - _STEP + 1):
        yield from (form[at : at + _WINDOW] for at in range(begin, begin + _STEP) if at <= last)
