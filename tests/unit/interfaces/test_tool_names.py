"""The tools of a run as an object."""

import pytest

from interfaces.http.compatibility.tools import tool_names
from interfaces.http_conventions.problems import Problem


def test_the_names_that_are_turned_on_in_a_fixed_order() -> None:
    assert tool_names({"write": True, "bash": {"timeout": 5}, "web": False, "mail": None}) == ("bash", "write")
    assert tool_names({}) == ()
    assert tool_names(("write", "bash")) == ("write", "bash")


def test_only_turning_off_is_refused_since_all_others_would_be_on() -> None:
    with pytest.raises(Problem) as caught:
        tool_names({"web": False})
    assert caught.value.errors[0].field == "tools"
