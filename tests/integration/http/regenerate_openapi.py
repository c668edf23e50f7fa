"""`python -m tests.integration.http.regenerate_openapi` writes the API's contract to golden_openapi.json: the present
OpenAPI document without what is for people only (summaries, descriptions but for defaults, examples) and without the
package's version."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from interfaces.http.edge.openapi import openapi_document
from interfaces.http.routes import ENDPOINTS

GOLDEN = Path(__file__).with_name("golden_openapi.json")
_TEXTS = {"summary", "description", "version"}


def contract() -> bytes:
    return (
        msgspec.json.format(msgspec.json.encode(_without_texts(openapi_document(ENDPOINTS)), order="sorted"), indent=1)
        + b"\n"
    )


def _is_for_people(name: str, value: Any) -> bool:
    if name == "example":
        return True
    return name in _TEXTS and isinstance(value, str) and not value.startswith("Default: ")


def _without_texts(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: inner for name, inner in value.items() if not _is_for_people(name, inner)}
        return {name: _without_texts(inner) for name, inner in kept.items()}
    return [_without_texts(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    GOLDEN.write_bytes(contract())
    sys.stdout.write(f"wrote {GOLDEN}\n")
