"""Query parameters of all endpoints: what is given is never dropped in silence."""

import contextlib

import pytest

from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.edge.queries import decode_query
from interfaces.http.routes import ENDPOINTS
from interfaces.http_conventions.problems import Problem
from tests.support.problems import shown


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=shown)
@pytest.mark.parametrize("word", ["null", "None", ""])
def test_no_word_means_that_a_parameter_was_not_given(endpoint: Endpoint, word: str) -> None:
    struct = endpoint.query
    for field, parameter in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
        with contextlib.suppress(Problem):  # it names the parameter: tests/integration/http/test_bad_input.py
            taken = getattr(decode_query(struct, [(parameter, word)]), field)
            assert taken in (word, (word,)), parameter
