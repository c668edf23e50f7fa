"""What all exports of this process say of its origin."""

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from application.observation.conventions import SCHEMA_URL

SERVICE = "fleetlog"


def resource_of(version: str, instance: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come before these."""
    own = {"service.name": SERVICE, "service.version": version, "service.instance.id": instance}
    asked = {name: value for name, value in Resource.create().attributes.items() if not _is_unknown(name, value)}
    return Resource({**own, **asked}, SCHEMA_URL)


def scope_of(version: str) -> InstrumentationScope:
    return InstrumentationScope(SERVICE, version, SCHEMA_URL)


def _is_unknown(name: str, value: object) -> bool:
    return name == "service.name" and str(value).startswith("unknown_service")
