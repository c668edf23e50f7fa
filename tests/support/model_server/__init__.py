"""A model server for tests: Anthropic Messages, OpenAI Responses and OpenAI chat completions, all streaming.

    with ModelServer() as models:
        model = models.script(Text("hello"), Turn(ToolCall("Bash", {"command": "ls"})), Text("done"))
        ... run an agent with that model name and `models.url` ...
        models.requests(model)[-1].text

Each model name has a script of its own: the replies to its requests, in order. So one server serves many tests at once.
A request without tools (a title, a summary) gets a short answer and takes nothing of the script; a scripted `Text` by
itself is a turn.
"""

from tests.support.model_server.replies import (
    CutOff,
    Garbage,
    Gate,
    HttpError,
    Reasoning,
    Reply,
    Text,
    ToolCall,
    Turn,
    context_exceeded,
    rate_limited,
    refused_key,
    server_error,
    slow_text,
)
from tests.support.model_server.server import ModelRequest, ModelServer

__all__ = [
    "CutOff",
    "Garbage",
    "Gate",
    "HttpError",
    "ModelRequest",
    "ModelServer",
    "Reasoning",
    "Reply",
    "Text",
    "ToolCall",
    "Turn",
    "context_exceeded",
    "rate_limited",
    "refused_key",
    "server_error",
    "slow_text",
]
