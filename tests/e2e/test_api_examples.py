"""The examples of the OpenAPI document, sent to a real server."""

from pathlib import Path

import pytest

from interfaces.http.edge.examples import recorded_answer
from interfaces.http.routes import ENDPOINTS
from tests.support.api_story import ApiStory
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer
from tests.support.openapi_schemas import misfits, schema_of_answer

pytestmark = pytest.mark.proof


def test_every_example_is_answered_as_the_document_says(tmp_path: Path) -> None:
    environment = on_shared_postgres()
    told: list[str] = []

    with FleetlogServer(tmp_path / "home", **environment) as server:
        for endpoint, response in ApiStory(server, environment["DATABASE_URL"]).told():
            told.append(endpoint.name)
            recorded = recorded_answer(endpoint.name)
            assert recorded is not None, endpoint.name
            media_type = response.headers.get("content-type", "").partition(";")[0]
            assert (response.status_code, media_type) == (recorded.status, recorded.media_type), response.text
            schema = schema_of_answer(endpoint.name, response.status_code, media_type)
            assert schema is not None, f"{endpoint.name}: {response.status_code} {media_type} is not in the document"
            body = response.json() if media_type == "application/json" else response.text
            assert misfits(body, schema) == [], endpoint.name

    assert sorted(told) == sorted(endpoint.name for endpoint in ENDPOINTS)
