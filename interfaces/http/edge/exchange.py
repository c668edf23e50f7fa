"""State of one HTTP exchange (request and response), shared by the middleware and the handler."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Scope

SCOPE_KEY = "fleetlog.exchange"


@dataclass
class Exchange:
    """`incoming_trace_id`: empty if the caller sent none. `span_id`: of the request, where requests are traced.
    `actor`: from the API key or, without keys, X-Actor; None if the caller is not authenticated, and `refusal` says
    why. `token`: the bearer token. `of_worker`: it is a session worker's own, so the caller may be an agent. `route`:
    the path template, once a route has matched. `status`: of the response, 0 until it has begun. `key_name`: of the API
    key that the caller has sent. `count_stream`: counts a live stream among its caller's, until what it returns is
    called."""

    trace_id: str
    span_id: str = ""
    incoming_trace_id: str = ""
    actor: str | None = None
    token: str = ""
    of_worker: bool = False
    refusal: str = ""
    route: str = "unmatched"
    status: int = 0
    key_name: str = ""
    count_stream: Callable[[], Callable[[], None]] | None = None


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that TraceRequests put into the scope."""
    exchange = scope[SCOPE_KEY]
    assert isinstance(exchange, Exchange)
    return exchange
