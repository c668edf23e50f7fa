"""One HTTP request as all layers of the edge see it, from the outermost middleware to the handler."""

from dataclasses import dataclass

from starlette.types import Scope

SCOPE_KEY = "fleetlog.exchange"


@dataclass
class Exchange:
    """`incoming_trace_id` is empty when the caller sent none. `actor` is who the API key (or, without keys, X-Actor)
    says; None when the caller has not proven who it is. `route` is the path template, once a route has matched."""

    trace_id: str
    incoming_trace_id: str = ""
    actor: str | None = None
    token: str = ""
    refusal: str = ""
    route: str = "unmatched"
    status: int = 0


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that TraceRequests put into the scope."""
    exchange = scope[SCOPE_KEY]
    assert isinstance(exchange, Exchange)
    return exchange
