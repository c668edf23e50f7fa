"""A turn may end while opencode is asked what was missed: the answer is never cut off, and never called the end."""

import asyncio

import pytest

from domain.run import events as e
from infrastructure.executor.providers.opencode.events import OpencodeEvents
from infrastructure.executor.providers.opencode.missed_events import missed_events
from tests.unit.providers.test_opencode_events import OWN, heard, message, part, status

WHOLE = "word0 word1 word2"


class Conversation:
    """opencode, whose turn ends after so many of its calls."""

    def __init__(self, calls_before_the_end: int) -> None:
        self._left = calls_before_the_end

    async def call(self, method: str, path: str):
        assert method == "GET"
        over, self._left = self._left <= 0, self._left - 1
        match path:
            case "/session/status":
                return {} if over else {OWN: {"type": "busy"}}
            case "/session/ses_own/message":
                info = {"id": "msg_1", "sessionID": OWN, "role": "assistant", "time": {"created": 2.0}}
                text = {"id": "prt_1", "messageID": "msg_1", "sessionID": OWN, "type": "text"}
                return [{"info": info, "parts": [{**text, "text": WHOLE if over else "word0 w"}]}]
        return []


@pytest.mark.parametrize("calls_before_the_end", range(7))
def test_a_turn_counts_as_ended_only_with_its_whole_text(calls_before_the_end: int) -> None:
    stream = OpencodeEvents("opencode", (), 1000, 2)
    stream.session_id = OWN
    texts = heard(stream, message(), part("text", text=""))

    missed = asyncio.run(missed_events(Conversation(calls_before_the_end).call, OWN, since_ms=1.0))
    texts += heard(stream, *missed)
    if not stream.turn_over:  # then its end comes on the stream
        texts += heard(stream, part("text", text=WHOLE), status("idle"))

    assert stream.turn_over
    assert "".join(event.text for event in texts if isinstance(event, e.MessageDelta)) == WHOLE
