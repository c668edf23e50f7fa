"""Settings: defaults, parsing, refusals, and the reference page that is rendered from the declarations."""

import dataclasses
from hashlib import sha256
from pathlib import Path

import pytest

from interfaces.cli.settings_reference import render_settings
from interfaces.setting_values import ApiKey
from interfaces.settings import Settings, SettingsError, declarations
from interfaces.settings_reading import load_settings

KEY_HASH = sha256(b"key").hexdigest()
OWN_DATABASE = {"DATABASE_URL": "postgresql://me:hunter2@db/fleetlog", "FLEETLOG_SECRET": "x" * 32}
OWN_STORE = {
    "S3_ENDPOINT": "https://s3.example.org/",
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "top-secret",
}


def refusal(environ):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    assert str(caught.value).startswith(f"{caught.value.variable}: ")
    return str(caught.value)


def test_an_empty_environment_gives_the_embedded_defaults():
    settings = load_settings({})

    assert settings == Settings()
    assert settings.host == "127.0.0.1"
    assert settings.port == 8080
    assert settings.home == Path(".fleetlog")
    assert settings.embedded_postgres
    assert settings.embedded_object_store
    assert settings.worker_runtime == "process"
    assert settings.idle_timeout_ms == 15 * 60 * 1000
    assert settings.remove_after_ms == 24 * 3600 * 1000
    assert settings.human_loop_timeout_ms == 3600 * 1000
    assert settings.max_workers == 100
    assert settings.max_starting == 8


def test_values_are_parsed_into_their_types():
    settings = load_settings(
        OWN_DATABASE
        | OWN_STORE
        | {
            "FLEETLOG_HOST": "0.0.0.0",
            "FLEETLOG_API_KEYS": f"ci:{KEY_HASH}, mia:{KEY_HASH.upper()}",
            "EXECUTOR_RETRY_STATUS_CODES": "502, 503",
            "WORKER_RUNTIME": "docker",
            "MAX_WORKERS": " 7 ",
        }
    )

    assert settings.api_keys == (ApiKey("ci", KEY_HASH), ApiKey("mia", KEY_HASH))
    assert settings.executor_retry_status_codes == {502, 503}
    assert settings.worker_runtime == "docker"
    assert settings.max_workers == 7
    assert settings.s3_endpoint == "https://s3.example.org"
    assert not settings.embedded_postgres
    assert not settings.embedded_object_store


def test_an_empty_value_counts_as_not_set():
    assert load_settings({"DATABASE_URL": "", "MAX_WORKERS": " "}) == Settings()


def test_settings_cannot_be_changed_and_do_not_show_secrets():
    settings = load_settings(OWN_DATABASE | OWN_STORE)

    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]
    for hidden in ("hunter2", "x" * 32, "top-secret"):
        assert hidden not in repr(settings)


def test_variables_of_other_programs_are_ignored():
    assert load_settings({"PATH": "/bin", "AWS_PROFILE": "x", "S3_SOMETHING": "y"}) == Settings()


def test_the_whole_output_of_sha256sum_is_refused_with_the_command_that_gives_the_hash_alone():
    assert "sha256sum | cut -d' ' -f1" in refusal({"FLEETLOG_API_KEYS": f"ada:{KEY_HASH}  -"})


def test_the_tenant_of_library_applications_is_left_alone():
    assert load_settings({"FLEETLOG_TENANT": "acme"}) == Settings()


def test_an_unknown_variable_of_ours_is_refused_with_a_suggestion():
    assert "did you mean FLEETLOG_PORT?" in refusal({"FLEETLOG_PROT": "80"})
    assert "FLEETLOG_API_KEYS" in refusal({"FLEETLOG_ZZZ_UNHEARD_OF": "1"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FLEETLOG_PORT", "80a"),
        ("FLEETLOG_PORT", "65536"),
        ("FLEETLOG_PORT", "-1"),
        ("MAX_WORKERS", "0"),
        ("MAX_WORKERS", "1_000"),
        ("MAX_WORKERS", "٣"),
        ("IDLE_TIMEOUT_MS", "1.5"),
        ("S3_ENDPOINT", "s3.example.org"),
        ("S3_ENDPOINT", "https://"),
        ("S3_BUCKET", "No_Capitals"),
        ("WORKER_RUNTIME", "kubernetes"),
        ("WORKER_PULL", "sometimes"),
        ("WORKER_CPUS", "0"),
        ("WORKER_CPUS", "half"),
        ("WORKER_MEMORY_MB", "2g"),
        ("EXECUTOR_RETRY_STATUS_CODES", "404"),
        ("EXECUTOR_RETRY_STATUS_CODES", "500,,502"),
        ("EXECUTOR_BASE_URL", "ftp://x"),
        ("FLEETLOG_ALLOWED_ORIGINS", "*"),
        ("FLEETLOG_ALLOWED_ORIGINS", "null"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://*.example"),
        ("FLEETLOG_ALLOWED_ORIGINS", "portal.example"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://portal.example/"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://Portal.example"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://me@portal.example"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://portal.example:443"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://portal.example:x"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://portal.example,"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://portal.example;"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://portal.example:"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://portal.example:99999"),
        ("FLEETLOG_ALLOWED_ORIGINS", "https://pörtal.example"),
        ("FLEETLOG_ALLOWED_ORIGINS", "http://[::1"),
    ],
)
def test_a_malformed_value_is_refused_with_the_value_and_what_is_allowed(variable, value):
    message = refusal({variable: value})

    assert message.startswith(f"{variable}: `{value}` is not allowed")
    assert declarations_by_variable()[variable].allowed in message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FLEETLOG_SECRET", "too-short-to-be-safe"),
        ("DATABASE_URL", "mysql://me:hunter2@db/x"),
        ("DATABASE_URL", "postgresql://me:hunter2@db:port/x"),
        ("FLEETLOG_API_KEYS", "the-key-itself"),
        ("FLEETLOG_API_KEYS", "ci:the-key-itself"),
        ("FLEETLOG_API_KEYS", f"ci:{KEY_HASH},ci:{KEY_HASH}"),
    ],
)
def test_a_malformed_secret_is_refused_without_showing_it(variable, value):
    message = refusal({variable: value})

    assert message.startswith(f"{variable}: ")
    assert declarations_by_variable()[variable].allowed in message
    for hidden in (value, "hunter2", "the-key-itself", KEY_HASH):
        assert hidden not in message


def test_origins_of_other_pages_are_exact_and_need_api_keys():
    origins = {"FLEETLOG_ALLOWED_ORIGINS": "https://portal.example, http://localhost:3000"}

    settings = load_settings({**origins, "FLEETLOG_API_KEYS": f"portal:{KEY_HASH}"})

    assert settings.allowed_origins == {"https://portal.example", "http://localhost:3000"}
    assert refusal(origins).startswith("FLEETLOG_ALLOWED_ORIGINS: pages of other origins need an API key")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "fleetlog.example.org"])
def test_an_address_that_others_can_reach_needs_api_keys(host):
    assert "FLEETLOG_API_KEYS" in refusal({"FLEETLOG_HOST": host})
    assert load_settings({"FLEETLOG_HOST": host, "FLEETLOG_API_KEYS": f"ci:{KEY_HASH}"}).host == host


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"FLEETLOG_HOST": "::1"}, "http://[::1]:8080"),
        ({"FLEETLOG_HOST": "0.0.0.0", "FLEETLOG_API_KEYS": f"ci:{KEY_HASH}"}, "http://127.0.0.1:8080"),
        ({"FLEETLOG_PORT": "0"}, None),
        ({"WORKER_RUNTIME": "docker"}, None),
        (
            {"WORKER_RUNTIME": "docker", "FLEETLOG_HOST": "0.0.0.0", "FLEETLOG_API_KEYS": f"ci:{KEY_HASH}"},
            "http://host.docker.internal:8080",
        ),
        ({"FLEETLOG_PUBLIC_URL": "https://fleetlog.example/base/"}, "https://fleetlog.example/base"),
    ],
)
def test_where_agents_reach_the_api_as_far_as_it_is_known(environ, url):
    assert load_settings(environ).callbacks_at(serves_api=True) == url
    if "FLEETLOG_PUBLIC_URL" not in environ:
        assert load_settings(environ).callbacks_at(serves_api=False) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_api_keys(host):
    assert load_settings({"FLEETLOG_HOST": host}).host == host


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        (OWN_DATABASE, "FLEETLOG_SECRET"),
        (OWN_STORE, "AWS_ACCESS_KEY_ID"),
        (OWN_STORE, "AWS_SECRET_ACCESS_KEY"),
        ({"EXECUTOR_BASE_URL": "http://x", "EXECUTOR_AUTH_TOKEN": "t"}, "EXECUTOR_AUTH_TOKEN"),
    ],
)
def test_settings_that_need_each_other(environ, missing):
    load_settings(environ)

    assert refusal({name: value for name, value in environ.items() if name != missing}).startswith(f"{missing}: ")


def test_without_keys_the_object_store_s_credentials_come_from_elsewhere():
    settings = load_settings({"S3_ENDPOINT": "https://s3.example.org"})

    assert not settings.embedded_object_store
    assert (settings.aws_access_key_id, settings.bucket) == (None, "fleetlog")


def test_a_bucket_alone_is_at_aws():
    settings = load_settings({"S3_BUCKET": "my-bucket"})

    assert not settings.embedded_object_store
    assert (settings.s3_endpoint, settings.bucket, settings.s3_region) == (None, "my-bucket", None)


def test_a_session_token_belongs_to_keys():
    keys = {"AWS_ACCESS_KEY_ID": "ASIA", "AWS_SECRET_ACCESS_KEY": "top-secret", "AWS_SESSION_TOKEN": "t0p-secret-too"}
    settings = load_settings({**OWN_STORE, **keys})

    assert settings.aws_session_token == "t0p-secret-too"
    assert "t0p-secret-too" not in repr(settings)
    assert refusal({"S3_BUCKET": "b-b", "AWS_SESSION_TOKEN": "t"}).startswith("AWS_SECRET_ACCESS_KEY: ")


def test_containers_can_not_reach_an_object_store_on_our_loopback():
    local = {**OWN_STORE, "S3_ENDPOINT": "http://127.0.0.1:9000", "WORKER_RUNTIME": "docker"}
    load_settings(local)

    with_role = {**local, "S3_WORKER_ROLE_ARN": "arn:aws:iam::1:role/worker"}
    assert refusal(with_role).startswith("S3_ENDPOINT: `http://127.0.0.1:9000` means")
    load_settings({**with_role, "WORKER_RUNTIME": "process"})


def test_a_role_of_session_workers_needs_a_store_that_has_a_token_service():
    assert refusal({"S3_WORKER_ROLE_ARN": "arn:aws:iam::1:role/worker"}).startswith("S3_WORKER_ROLE_ARN: the embedded")
    assert refusal({**OWN_STORE, "S3_STS_ENDPOINT": "http://sts"}).startswith("S3_WORKER_ROLE_ARN: it is required")


def test_the_reference_page_is_up_to_date():
    page = Path(__file__).resolve().parents[2] / "docs/reference/configuration.md"

    assert page.read_text(encoding="utf-8").startswith(render_settings()), (
        f"render it again: python -m interfaces.cli.settings_reference > {page.relative_to(page.parents[2])}"
    )


def declarations_by_variable():
    return {declaration.variable: declaration for declaration in declarations().values()}
