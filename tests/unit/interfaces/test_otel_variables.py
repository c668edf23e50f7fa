"""OpenTelemetry's variables: nothing is exported unless they ask for it."""

import pytest

from interfaces.bootstrap.telemetry import telemetry
from interfaces.otel_variables import read_otel_variables
from interfaces.settings import SettingsError

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environment", "signals"),
    [
        ({}, set()),
        ({"OTEL_SERVICE_NAME": "x"}, set()),
        (ENDPOINT, {"traces", "metrics", "logs"}),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, set()),
        (ENDPOINT | {"OTEL_METRICS_EXPORTER": "none"}, {"traces", "logs"}),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, {"traces"}),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://c/v1/logs"}, {"logs"}),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, set()),
    ],
)
def test_what_is_exported(environment: dict[str, str], signals: set[str]) -> None:
    assert read_otel_variables(environment).signals == signals


@pytest.mark.parametrize(
    ("environment", "sampled"),
    [
        ({}, 1),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, 0.25),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, 1),
    ],
)
def test_how_much_is_sampled(environment: dict[str, str], sampled: float) -> None:
    assert read_otel_variables(environment).sampled == sampled


@pytest.mark.parametrize(
    ("variable", "value", "others"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", {}),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", ENDPOINT),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json", ENDPOINT),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", {}),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", {"OTEL_TRACES_SAMPLER": "traceidratio"}),
        ("OTEL_TRACES_SAMPLER_ARG", "many", {"OTEL_TRACES_SAMPLER": "traceidratio"}),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", {}),
        ("OTEL_METRIC_EXPORT_INTERVAL", "a minute", {}),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1", {}),
        ("OTEL_BLRP_SCHEDULE_DELAY", "0", ENDPOINT),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", {}),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:99999", {}),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", ENDPOINT),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", ENDPOINT),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "0", ENDPOINT),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", ENDPOINT),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "api-key=a%0ab", ENDPOINT),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file", ENDPOINT),
    ],
)
def test_what_is_not_possible_is_named(variable: str, value: str, others: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as refused:
        read_otel_variables({variable: value, **others})

    assert refused.value.variable == variable


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"},
        {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://c:4318/v1/logs"},
        {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_the_variable_that_asks_for_an_export_is_known(environment: dict[str, str]) -> None:
    assert read_otel_variables(environment).asked_by == next(iter(environment))


def test_what_is_wrong_with_headers_is_said_without_them() -> None:
    with pytest.raises(SettingsError) as refused:
        read_otel_variables(ENDPOINT | {"OTEL_EXPORTER_OTLP_HEADERS": "api-key: dGhlLWtleQ"})

    assert refused.value.variable == "OTEL_EXPORTER_OTLP_HEADERS"
    assert "dGhlLWtleQ" not in str(refused.value)


@pytest.mark.parametrize("headers", ["api-key=a%3D%2C", "authorization=Basic YWJj==, x-scope = a b", "a=,"])
def test_headers_that_the_sdk_takes_are_taken(headers: str) -> None:
    read_otel_variables(ENDPOINT | {"OTEL_EXPORTER_OTLP_HEADERS": headers})


def test_what_the_sdk_itself_refuses_is_a_refused_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "99999")

    with pytest.raises(SettingsError, match="max_export_batch_size"), telemetry(ENDPOINT):
        pass
