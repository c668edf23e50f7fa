"""The OpenAPI document, judged by programs of others: it is valid, and a server does nothing that is not in it."""

import hashlib
import re
from pathlib import Path

import pytest

from interfaces.http.routes import ENDPOINTS
from tests.support.api_story import ApiStory
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import REPOSITORY, FleetlogServer
from tests.support.openapi_programs import required_openapi_programs, run_program
from tests.support.samples import samples

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("programs"), pytest.mark.timeout(900)]
KEY = "a-key-of-ann"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
"""Left out are `positive_data_acceptance`, as whether a valid request is accepted depends on what exists, too (a run
that is over, a position beyond the log's end), and `use_after_free`, `ensure_resource_availability` and
`object_level_authorization`, as there is no DELETE and there are no owners."""
CHECKS_OF_KEYS = ("negative_data_rejection", "missing_required_header", "ignored_auth")
"""Without keys the server takes what the document, which asks for one, does not allow."""


@pytest.fixture(scope="module")
def programs() -> None:
    required_openapi_programs()


def tried(server: FleetlogServer, *options: str, phases: str, **environment: str) -> int:
    """How many requests Schemathesis sent to all operations of this server; it found nothing wrong. `phases`: those of
    a sample."""
    hooks = {"SCHEMATHESIS_HOOKS": str(REPOSITORY / "tests/support/schemathesis_hooks.py")}
    bounds = ["--phases", phases, "--max-examples", "5"]
    if samples().whole:
        bounds = ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "25"]
    url = f"http://127.0.0.1:{server.port}"
    said = run_program(
        "schemathesis", "run", f"{url}/openapi.json", "--url", url, "--seed", "20260304", "--continue-on-failure",
        "--generation-database", "none", "--request-timeout", "60", *bounds, *options,
        cwd=server.home.parent, timeout_s=850, **hooks, **environment,
    )  # fmt: skip
    selected = re.search(r"Operations: +(\d+) selected / (\d+) total", said)
    assert selected is not None, said
    assert {int(number) for number in selected.groups()} == {len(ENDPOINTS)}
    assert f"Tested: {len(ENDPOINTS)}" in said
    generated = re.search(r"(\d+) generated, (\d+) passed", said)
    assert generated is not None, said
    return int(generated[2])


def settings(**more: str) -> dict[str, str]:
    """Few workers, as every session that is tried wants one, and no limit of rates."""
    return on_shared_postgres() | {"MAX_WORKERS": "4", "MAX_REQUESTS_PER_SECOND": "100000"} | more


def test_the_document_is_valid(shared_fleetlog: FleetlogServer, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_bytes(shared_fleetlog.client.get("/openapi.json").content)

    assert run_program("openapi-spec-validator", "openapi.json", cwd=tmp_path).strip() == "openapi.json: OK"


def test_a_server_without_keys_answers_as_the_document_says(tmp_path: Path) -> None:
    environment = settings()
    with FleetlogServer(tmp_path / "home", **environment) as server:
        for _endpoint, response in ApiStory(server, environment["DATABASE_URL"]).begun():
            assert response.is_success, response.text
        effect = server.client.get("/api/effects", params={"limit": 1}).json()["effects"][0]["id"]

        requests = tried(server, "--checks", ",".join(CHECKS), phases="examples,coverage", EFFECT_KEY=effect)

    assert requests > 50 * len(ENDPOINTS)


def test_a_server_with_keys_answers_as_the_document_says_and_to_nobody_else(tmp_path: Path) -> None:
    keys = f"ann:{hashlib.sha256(KEY.encode()).hexdigest()}"
    checks, header = ",".join((*CHECKS, *CHECKS_OF_KEYS)), f"Authorization: Bearer {KEY}"
    with FleetlogServer(tmp_path / "home", **settings(FLEETLOG_API_KEYS=keys)) as server:
        requests = tried(server, "--checks", checks, "--header", header, phases="examples,fuzzing")

    assert requests > 5 * len(ENDPOINTS)
