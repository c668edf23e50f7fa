"""Keeps credentials out of whatever an agent reports, the pieces of a streamed text included."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from domain.event import Event, encode
from domain.run.events import MessageDelta, ReasoningDelta, RunWarning

SHORTEST_SECRET = 8
"""What is shorter is no credential, and would mangle ordinary text."""
REPLACEMENT = "[secret]"

Kind = TypeVar("Kind", bound=Event)


def secrets_in(variables: Mapping[str, str], credentials: Iterable[str]) -> tuple[str, ...]:
    """The values of the credentials among `variables`, and the passwords in the URLs among the others."""
    names = set(credentials)
    found = {value for name, value in variables.items() if name in names}
    for value in variables.values():
        if "://" in value and "@" in value:
            found.add(urlsplit(value).password or "")
    return tuple(sorted(secret for secret in found if len(secret) >= SHORTEST_SECRET))


class Redactor:
    """Longer secrets first, so that one within another leaves no rest."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._texts = sorted(set(secrets), key=len, reverse=True)
        self._in_json = [msgspec.json.encode(text)[1:-1] for text in self._texts]

    def also(self, secret: str) -> "Redactor":
        """One that keeps this out, too; an empty one is none."""
        return Redactor([*self._texts, secret]) if secret else self

    def text(self, text: str) -> str:
        for secret in self._texts:
            text = text.replace(secret, REPLACEMENT)
        return text

    def event(self, event: Kind) -> Kind:
        """The event with every secret in its texts replaced."""
        if not self._texts:
            return event
        payload = clean = encode(event)
        for secret in self._in_json:
            clean = clean.replace(secret, REPLACEMENT.encode())
        return event if clean is payload or clean == payload else msgspec.json.decode(clean, type=type(event))

    def possible_start(self, text: str) -> int:
        """How many characters at the end of `text` may begin a secret that goes on in the next piece."""
        longest = 0
        for secret in self._texts:
            for size in range(min(len(secret) - 1, len(text)), longest, -1):
                if text.endswith(secret[:size]):
                    longest = size
                    break
        return longest


class RedactedEvents:
    """Use for the events of one agent, in order. The end of a streamed text that may begin a secret is held back until
    its next piece, or whatever else happens but a warning, shows that it does not."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held: MessageDelta | ReasoningDelta | None = None

    def take(self, event: Event) -> Iterator[Event]:
        if isinstance(event, RunWarning):
            # It may come in the middle of a text, and of a secret in it.
            yield self._redactor.event(event)
            return
        if not isinstance(event, MessageDelta | ReasoningDelta):
            yield from self.rest()
            yield self._redactor.event(event)
            return
        held = self._held
        if held is not None and _same_stream(held, event):
            event = msgspec.structs.replace(event, text=held.text + event.text)
            self._held = None
        else:
            yield from self.rest()
        text = self._redactor.text(event.text)
        keep = self._redactor.possible_start(text)
        if keep:
            self._held = msgspec.structs.replace(event, text=text[len(text) - keep :])
            text = text[: len(text) - keep]
        if text:
            yield msgspec.structs.replace(event, text=text)

    def rest(self) -> Iterator[Event]:
        """What is held back."""
        held, self._held = self._held, None
        if held is not None:
            yield held


def _same_stream(one: MessageDelta | ReasoningDelta, other: MessageDelta | ReasoningDelta) -> bool:
    if isinstance(one, MessageDelta) and isinstance(other, MessageDelta):
        return one.channel == other.channel
    return type(one) is type(other)
