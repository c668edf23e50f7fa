"""Ids are the callers' own strings, within bounds; what is derived from them never changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.identifiers import (
    check_id,
    run_stream,
    session_stream,
    short_hash,
    unmatched_stream,
    worker_token,
    workspace_prefix,
)


@pytest.mark.parametrize("value", ["a", "0", "A.b_c:d@e-f", "x" * 120])
def test_a_good_id_is_kept(value):
    assert check_id("runId", value) == value


@pytest.mark.parametrize("value", ["", ".a", "-a", "_a", "a/b", "a b", "a\n", "ä", "a\0", "x" * 121, "..", "a%2f"])
def test_a_bad_id_is_refused_by_field(value):
    with pytest.raises(InvalidInput) as refused:
        check_id("runId", value)
    assert refused.value.field == "runId"


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,119}", fullmatch=True))
def test_whatever_the_rules_allow_is_allowed(value):
    assert check_id("x", value) == value


def test_streams_and_prefixes_are_stored_data():
    assert session_stream("s1") == "session:s1"
    assert run_stream("r1") == "run:r1"
    assert unmatched_stream("r1") == "unmatched:r1"
    assert workspace_prefix("a", "p", "u", "s") == "app/a/project/p/u/session/s/workspace"
    assert short_hash("s1") == "bff250aa1d28"


def test_a_token_is_of_one_session_generation_and_purpose():
    tokens = {
        worker_token(secret, session_id, generation, purpose)
        for secret in (b"x", b"y")
        for session_id in ("s1", "s2")
        for generation in (1, 2)
        for purpose in ("executor", "callback")
    }
    assert len(tokens) == 16
