"""The names of attributes are those of the pinned version of the semantic conventions."""

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, process_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from opentelemetry.semconv.schemas import Schemas

from application.observation import conventions

PUBLISHED = {
    value
    for module in (gen_ai_attributes, process_attributes, error_attributes, http_attributes, server_attributes)
    for value in vars(module).values()
    if isinstance(value, str)
} | {"http.request.resend_count"}
OPERATIONS = {each.value for each in gen_ai_attributes.GenAiOperationNameValues}


def test_every_name_that_is_not_our_own_is_published() -> None:
    names = {
        value
        for name, value in vars(conventions).items()
        if name.isupper() and isinstance(value, str) and "." in value and "://" not in value
    } - {conventions.VERSION}

    assert {name for name in names if not name.startswith("fleetlog.")} <= PUBLISHED
    assert {conventions.INVOKE_AGENT, conventions.CHAT, conventions.EXECUTE_TOOL} <= OPERATIONS


def test_the_pinned_version_is_that_of_the_published_schema() -> None:
    assert conventions.SCHEMA_URL in {each.value for each in Schemas}
