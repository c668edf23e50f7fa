"""Whatever is sent to whatever route: never a 5xx, errors are problem documents, and a refusal writes nothing."""

import os
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.routes import ENDPOINTS
from tests.support.api_server import ApiServer
from tests.support.samples import samples

# The server runs in a thread of this process, and its pools use `random` at any moment; Hypothesis takes that for ours.
pytestmark = [
    pytest.mark.proof,
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
]


EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or samples().size(whole=300, sample=100))
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "scripted", "user", "\0", "../..", "/workspace/a", "run-1", "9" * 40, "null", "𝄞" * 130]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63) - 1, 2**64, 10**40]),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
commands = [endpoint for endpoint in ENDPOINTS if endpoint.method == "POST"]
GOOD: dict[str, Any] = {
    "appId": "shop",
    "answer": "yes",
    "eventId": "e1",
    "manifest": {"appId": "shop", "runtimeVersion": "1", "workspaceTemplatePrefix": "t/shop"},
    "messages": [{"role": "user", "content": "echo"}],
    "model": "m",
    "payload": {"text": "hi", "questionId": "q", "outcome": "failed", "todo": {"todoId": "a", "content": "b"}},
    "projectName": "p",
    "provider": "scripted",
    "questionId": "q",
    "runId": "fuzz-1",
    "sessionId": "fuzz-1",
    "type": "todo.update",
    "userLoginName": "ann",
}
"""Right values of the fields that commands need, so that much of what is drawn is wrong in one place alone."""


def fields_of(kind: Any) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


@st.composite
def bodies(draw: st.DrawFn, endpoint: Endpoint) -> Any:
    """Near the right shape: known names, mostly wrong values, now and then a name too many or too few."""
    if endpoint.body is None:
        types = ["message.delta", "todo.update", "human_loop.requested", "run.finished", "message.stop", "moon"]
        one = st.fixed_dictionaries(
            {"eventId": st.one_of(texts, values), "type": st.one_of(st.sampled_from(types), values)},
            optional={"payload": st.one_of(st.just(GOOD["payload"]), values), "extra": values},
        )
        return draw(st.one_of(one, st.lists(one, max_size=4), values))
    known = {name: st.one_of(values, texts) for name in fields_of(endpoint.body)}
    extra = draw(st.dictionaries(texts, values, max_size=1)) if draw(st.integers(0, 5)) == 0 else {}
    good = {name: value for name, value in GOOD.items() if name in known and draw(st.integers(0, 9))}
    wrong = draw(st.lists(st.sampled_from(sorted(known)), max_size=2)) if known else []
    return {**good, **{name: draw(known[name]) for name in wrong}, **extra}


@st.composite
def paths(draw: st.DrawFn, endpoint: Endpoint) -> str:
    path = endpoint.path
    for name in endpoint.parameters:
        value = draw(st.one_of(st.sampled_from(["fuzz-1", "fuzz-2", "run:fuzz-1"]), texts))
        path = path.replace("{" + name + "}", _quoted(value) or "x")
    return path


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


@st.composite
def queries(draw: st.DrawFn, endpoint: Endpoint) -> Any:
    names = [*fields_of(endpoint.query), "unknown"]
    pairs = draw(st.lists(st.tuples(st.sampled_from(names), st.one_of(texts, st.integers().map(str))), max_size=3))
    kept = [(name, value) for name, value in pairs if name != "waitMs"]
    return [*kept, ("waitMs", "0")] if "waitMs" in names else kept


def check(api: ApiServer, response: httpx.Response, before: int) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json", response.text
        problem = response.json()
        assert problem["traceId"]
        if response.status_code == 400:
            assert problem["errors"][0]["field"]
        if response.status_code in {400, 404, 413, 415}:
            assert api.last_position() == before


@SETTINGS
@given(data=st.data())
def test_commands(api: ApiServer, client: httpx.Client, data: st.DataObject) -> None:
    endpoint = data.draw(st.sampled_from(commands), label="endpoint")
    path = data.draw(paths(endpoint), label="path")
    body = data.draw(bodies(endpoint), label="body")
    before = api.last_position()
    try:
        raw = msgspec.json.encode(body)
    except (UnicodeEncodeError, OverflowError):
        return
    headers = {"content-type": "application/json", "accept": "application/json"}
    response = client.post(path, content=raw, params=data.draw(queries(endpoint)), headers=headers)
    check(api, response, before)


@SETTINGS
@given(data=st.data())
def test_raw_bytes(api: ApiServer, client: httpx.Client, data: st.DataObject) -> None:
    endpoint = data.draw(st.sampled_from(commands), label="endpoint")
    raw = data.draw(
        st.one_of(
            st.binary(max_size=60),
            st.text('{}[]":,\\ue0d8 \n0-9eE.nultrfase', max_size=60).map(lambda text: text.encode()),
        )
    )
    kinds = ["application/json", "application/x-ndjson", "text/plain", "application/json;charset=x", "", ";"]
    before = api.last_position()
    headers = {"content-type": data.draw(st.sampled_from(kinds))}
    path = data.draw(paths(endpoint))
    at_once = {"waitMs": "0"} if "waitMs" in fields_of(endpoint.query) else {}
    check(api, client.post(path, content=raw, params=at_once, headers=headers), before)


@SETTINGS
@given(data=st.data())
def test_reads(api: ApiServer, client: httpx.Client, data: st.DataObject) -> None:
    endpoint = data.draw(st.sampled_from([e for e in ENDPOINTS if e.method == "GET"]), label="endpoint")
    path = data.draw(paths(endpoint), label="path")
    query = data.draw(queries(endpoint), label="query")
    if path.endswith("/stream"):
        query = [*query, ("cursor", "x")]
    before = api.last_position()
    check(api, client.get(path, params=query), before)
    assert api.last_position() == before


@SETTINGS
@given(data=st.data())
def test_headers(api: ApiServer, client: httpx.Client, data: st.DataObject) -> None:
    names = [
        "idempotency-key", "x-actor", "traceparent", "x-trace-id", "authorization", "content-type", "accept",
        "last-event-id", "content-encoding", "expect-nothing", "cookie",
    ]  # fmt: skip
    visible = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60)
    headers = data.draw(st.dictionaries(st.sampled_from(names), visible.map(lambda text: text.strip()), max_size=4))
    encoded: Any = [(name, value.encode("latin-1")) for name, value in headers.items()]
    before = api.last_position()
    check(api, client.post("/api/runs/nobody/stop", headers=encoded), before)
    encoded = [(name, value) for name, value in encoded if name != "accept"]
    check(api, client.get("/api/events", headers=encoded, params={"limit": 1}), before)
