"""From msgspec's errors to the field that they are about."""

from typing import Any

import msgspec
import pytest

from interfaces.http.resources.run_requests import StartBody
from interfaces.http_conventions.field_paths import field_and_message


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "provider", "is required"),
        ({"provider": 1}, "provider", "Expected `str`, got `int`"),
        ({"provider": "x", "messages": [{"role": "user"}]}, "messages[0].content", "is required"),
        ({"provider": "x", "messages": [{"role": "x", "content": ""}]}, "messages[0].role", "Invalid enum value 'x'"),
        ({"provider": "x", "mood": 1}, "mood", "is not a known field"),
        ([], "body", "Expected `object`, got `array`"),
    ],
)
def test_the_field_is_named(body: Any, field: str, message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(body, StartBody)
    assert field_and_message(caught.value) == (field, message)
    below = "[3]" if field == "body" else f"[3].{field}"
    assert field_and_message(caught.value, "[3]")[0] == below
