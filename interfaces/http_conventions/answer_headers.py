"""The headers of every response of either program: its trace id, and `X-Content-Type-Options: nosniff`."""

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from application.trace_context import TRACE_ID_HEADER, TRACEPARENT_HEADER, traceparent


def send_with_trace(send: Send, trace_id: str, span_id: str = "") -> Send:
    """`send`, with these headers added to the start of the response. `span_id`: of the request, if it has one."""

    async def send_traced(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers[TRACE_ID_HEADER] = trace_id
            headers[TRACEPARENT_HEADER] = traceparent(trace_id, span_id)
            headers["x-content-type-options"] = "nosniff"
        await send(message)

    return send_traced
