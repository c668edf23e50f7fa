"""What models refuse, in classes, with what to do."""

import pytest

from infrastructure.executor.providers.model_errors import model_error


@pytest.mark.parametrize(
    ("said", "status", "error_class"),
    [
        ("invalid x-api-key", 401, "auth_missing"),
        ("Invalid API key · Please run /login", None, "auth_missing"),
        ("slow down", 429, "rate_limited"),
        ("unexpected status 429 Too Many Requests", None, "rate_limited"),
        ("Internal server error", 500, "model_unavailable"),
        ("API Error: Overloaded", None, "model_unavailable"),
        ("prompt is too long: 250000 tokens > 200000 maximum", 400, "context_exceeded"),
        ("Your input exceeds the context window of this model", None, "context_exceeded"),
        ("There's an issue with the selected model (x). It may not exist", None, "model_refused"),
        ("The model `x` does not exist", 404, "model_refused"),
        ("max_tokens: must be positive", 400, "model_refused"),
        ("connect ECONNREFUSED 127.0.0.1:9", None, "network"),
        ("stream closed before response.completed", None, "network"),
        ("Failed to parse JSON", None, "protocol"),
    ],
)
def test_a_refusal_has_a_class_and_advice(said, status, error_class):
    error = model_error("claude-code", ("ANTHROPIC_API_KEY",), said, status)
    assert error.error_class == error_class
    assert error.message.startswith(said + " (")


def test_missing_credentials_are_named():
    error = model_error("claude-code", ("ONE_KEY", "OTHER_KEY"), "no", 401)
    assert "mend ONE_KEY or OTHER_KEY where the control plane runs" in error.message
