"""What all exports of this process say of its origin, and the sampler of its traces: from OpenTelemetry's variables."""

from collections.abc import Mapping

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from application.observation.conventions import SCHEMA_URL

SAMPLERS = ("always_on", "always_off", "traceidratio")


def resource_of(service: str, version: str, instance: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come before these."""
    own = {"service.name": service, "service.version": version, "service.instance.id": instance}
    asked = {name: value for name, value in Resource.create().attributes.items() if not _is_unknown(name, value)}
    return Resource({**own, **asked}, SCHEMA_URL)


def scope_of(version: str) -> InstrumentationScope:
    return InstrumentationScope("fleetlog", version, SCHEMA_URL)


def sampler_of(environment: Mapping[str, str]) -> Sampler:
    """OTEL_TRACES_SAMPLER and _ARG. A trace is sampled, or not, by its id alone, everywhere and after each restart: so
    a `parentbased_` sampler is what it is for a root. Raises ValueError for a sampler that is not known."""
    name = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "always_on"
    match name.removeprefix("parentbased_"):
        case "always_on":
            return ALWAYS_ON
        case "always_off":
            return ALWAYS_OFF
        case "traceidratio":
            return TraceIdRatioBased(float(environment.get("OTEL_TRACES_SAMPLER_ARG", "") or 1.0))
        case _:
            raise ValueError(f"{name!r} is not one of {', '.join(SAMPLERS)}, with `parentbased_` before them or not")


def _is_unknown(name: str, value: object) -> bool:
    return name == "service.name" and str(value).startswith("unknown_service")
