"""Turns a run's messages into a system prompt and one user prompt."""

from collections.abc import Sequence

import msgspec

from domain.errors import InvalidInput
from domain.run.values import Message, RunSpec


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    system: str
    text: str


def prompt_of(spec: RunSpec) -> Prompt:
    """All system messages as one, and the user messages since the last answer. In a new conversation earlier messages
    are put before them; a resumed conversation has them already. Raises InvalidInput if the last message is not the
    user's, or is empty."""
    system = "\n\n".join(message.content for message in spec.messages if message.role == "system")
    spoken = [message for message in spec.messages if message.role != "system"]
    if not spoken or spoken[-1].role != "user":
        raise InvalidInput("messages", "the last message must be the user's: it is what the agent is to do")
    latest = _since_last_answer(spoken)
    earlier = spoken[: len(spoken) - len(latest)]
    text = "\n\n".join(message.content for message in latest)
    if not text.strip():
        raise InvalidInput("messages", "the user's message is empty")
    if earlier and not spec.resume_session_id:
        transcript = "\n\n".join(f"{message.role}: {message.content}" for message in earlier)
        text = f"The conversation so far:\n\n{transcript}\n\nThe user now says:\n\n{text}"
    return Prompt(system=system, text=text)


def _since_last_answer(spoken: Sequence[Message]) -> list[Message]:
    latest: list[Message] = []
    for message in reversed(spoken):
        if message.role != "user":
            break
        latest.insert(0, message)
    return latest
