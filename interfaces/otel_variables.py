"""OpenTelemetry's standard variables, as far as Fleetlog itself reads or checks them; its SDK reads the rest of them.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from interfaces.settings import SettingsError

SIGNALS: Final = ("traces", "metrics", "logs")
SAMPLERS: Final = ("always_on", "always_off", "traceidratio")
DEFAULT_INTERVAL_MS, DEFAULT_DELAY_MS, DAY_MS = 60_000, 5000, 86_400_000
DAY_S: Final = 86_400
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f]*")


@dataclass(frozen=True, kw_only=True)
class OtelVariables:
    """`signals`: of SIGNALS, those that are exported. `asked_by`: the variable that asks for one of them. `sampled`:
    the part of all traces that is exported. `interval_s`: between two exports of metrics, `delay_s`: of spans."""

    signals: frozenset[str] = frozenset()
    asked_by: str = ""
    sampled: float = 1.0
    interval_s: float = DEFAULT_INTERVAL_MS / 1000
    delay_s: float = DEFAULT_DELAY_MS / 1000


def read_otel_variables(environment: Mapping[str, str]) -> OtelVariables:
    """A signal is exported if there is an endpoint for it or OTEL_*_EXPORTER is otlp, unless that is none or
    OTEL_SDK_DISABLED is true. Raises SettingsError for what makes no sense, and for what is not possible here."""
    given = {name: value.strip() for name, value in environment.items() if name.startswith("OTEL_") and value.strip()}
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return OtelVariables()
    asked = {signal: variable for signal in SIGNALS if (variable := _asked_by(given, signal.upper()))}
    if asked:
        _check_exporters(given, asked)
        _seconds(given, "OTEL_BLRP_SCHEDULE_DELAY", DEFAULT_DELAY_MS)
    return OtelVariables(
        signals=frozenset(asked),
        asked_by=next(iter(asked.values()), ""),
        sampled=_sampled(given),
        interval_s=_seconds(given, "OTEL_METRIC_EXPORT_INTERVAL", DEFAULT_INTERVAL_MS),
        delay_s=_seconds(given, "OTEL_BSP_SCHEDULE_DELAY", DEFAULT_DELAY_MS),
    )


def _asked_by(given: Mapping[str, str], signal: str) -> str:
    """The variable that asks for the export of this signal; empty where none does."""
    variable = f"OTEL_{signal}_EXPORTER"
    exporter = given.get(variable, "").lower()
    if exporter not in {"", "otlp", "none"}:
        raise SettingsError(variable, f"{exporter!r} is not possible here; `otlp` and `none` are.")
    endpoints = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    asked_by = variable if exporter else next((name for name in endpoints if name in given), "")
    if exporter == "none" or not asked_by:
        return ""
    for protocol in ("OTEL_EXPORTER_OTLP_PROTOCOL", f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"):
        if given.get(protocol, "http/protobuf") != "http/protobuf":
            raise SettingsError(protocol, f"{given[protocol]!r} is not possible here; `http/protobuf` is.")
    return asked_by


def _sampled(given: Mapping[str, str]) -> float:
    """A trace is sampled, or not, by its id alone, in every process and after each restart. So a sampler with
    `parentbased_` before it is the same as without: the caller's own decision is not known any more by then."""
    name = given.get("OTEL_TRACES_SAMPLER", "always_on").lower().removeprefix("parentbased_")
    if name not in SAMPLERS:
        raise SettingsError(
            "OTEL_TRACES_SAMPLER", f"{name!r} is not one of {', '.join(SAMPLERS)}, with `parentbased_` before or not."
        )
    if name != "traceidratio":
        return float(name == "always_on")
    text = given.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if not 0 <= ratio <= 1:
        raise SettingsError("OTEL_TRACES_SAMPLER_ARG", f"{text!r} is not a number from 0 to 1.")
    return ratio


def _seconds(given: Mapping[str, str], variable: str, default_ms: int) -> float:
    text = given.get(variable, str(default_ms))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= DAY_MS):
        raise SettingsError(variable, f"{text!r} is not a number of milliseconds up to {DAY_MS}.")
    return int(text) / 1000


def _check_exporters(given: Mapping[str, str], signals: Iterable[str]) -> None:
    """What the SDK would only log once, and then never export anything, or without what was asked for. Headers hold
    credentials, so their text is not shown."""
    for prefix in ("OTEL_EXPORTER_OTLP_", *(f"OTEL_EXPORTER_OTLP_{signal.upper()}_" for signal in sorted(signals))):
        for name, is_possible, what in _POSSIBLE:
            text = given.get(f"{prefix}{name}")
            if text is not None and not is_possible(text):
                shown = "it" if name == "HEADERS" else repr(text)
                raise SettingsError(f"{prefix}{name}", f"{shown} is not {what}.")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_timeout(text: str) -> bool:
    try:
        return 0 < float(text) <= DAY_S
    except ValueError:
        return False


def _is_headers(text: str) -> bool:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    return all(
        equals and _HEADER_NAME.fullmatch(unquote(name).strip()) and _HEADER_VALUE.fullmatch(unquote(value).strip())
        for name, equals, value in pairs
    )


def _is_file(text: str) -> bool:
    return Path(text).is_file()


_POSSIBLE: Final[tuple[tuple[str, Callable[[str], bool], str], ...]] = (
    ("ENDPOINT", _is_url, "a URL such as http://collector:4318"),
    ("TIMEOUT", _is_timeout, f"a number of seconds up to {DAY_S}"),
    ("COMPRESSION", lambda text: text.lower() in {"none", "gzip", "deflate"}, "`gzip`, `deflate` or `none`"),
    ("HEADERS", _is_headers, "`name=value`, several with commas between them, values URL-encoded"),
    ("CERTIFICATE", _is_file, "a file"),
    ("CLIENT_CERTIFICATE", _is_file, "a file"),
    ("CLIENT_KEY", _is_file, "a file"),
)
