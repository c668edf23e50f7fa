"""The executor's server has the API's limits, and answers what is no proper HTTP as the API does."""

import pytest

from tests.support.raw_http import NO_HTTP, exchange, refused


@pytest.fixture(scope="module")
def worker(shared_worker):
    return shared_worker


@pytest.mark.parametrize("sent", NO_HTTP, ids=lambda sent: repr(sent[:24]))
def test_what_is_no_http_is_a_400(worker, sent):
    assert refused(exchange(worker.endpoint["url"], sent), 400)["type"] == "urn:fleetlog:problem:no-http"


def test_a_head_without_end_is_refused(worker):
    answer = exchange(worker.endpoint["url"], b"GET / HTTP/1.1\r\nx: " + b"a" * 200_000)
    if answer:  # the rest that was still under way may reset the connection first
        refused(answer, 431)
    assert worker.http.get("/health").status_code == 200


def test_a_body_that_waits_for_a_continue_is_refused_unread(worker):
    head = (
        b"POST /workspace/validate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer " + worker.config["token"].encode() + b"\r\n"
        b"expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"
    )
    answer = exchange(worker.endpoint["url"], head)
    refused(answer, 413)
    assert b"100 Continue" not in answer


def test_a_compressed_body_and_one_of_another_type_are_refused(worker):
    for headers in ({"content-encoding": "gzip"}, {"content-type": "text/plain"}):
        assert worker.http.post("/workspace/validate", content=b"{}", headers=headers).status_code == 415


def test_every_answer_carries_its_trace(worker):
    answer = worker.http.get("/health", headers={"x-trace-id": "my-trace.1"})
    assert answer.headers["x-trace-id"] == "my-trace.1"
    assert answer.headers["traceparent"].startswith("00-")
    assert len(worker.http.get("/health").headers["x-trace-id"]) == 32
