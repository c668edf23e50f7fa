"""AWS's chain of credentials: each source for real, and its credentials used on a server that checks session tokens."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import timedelta

import msgspec
import pytest

from application.ports.object_store import ObjectStoreRefused, ObjectStoreUnavailable
from application.store_credentials import CREDENTIALS_HEADER, StoreCredentials
from infrastructure.boto3_store.passed_on import PassedOnCredentials
from infrastructure.boto3_store.session import AwsSession, NoCredentials, region_of_chain
from infrastructure.boto3_store.store import Boto3ObjectStore
from infrastructure.object_store.location import S3Location
from infrastructure.object_store.s3 import S3ObjectStore
from tests.support.async_run import run
from tests.support.aws_endpoints import CONTAINER_TOKEN, WEB_IDENTITY_TOKEN, aws_endpoints
from tests.support.object_stores import expired

SOON = timedelta(minutes=5)
"""Credentials that expire that soon are renewed by the next call: boto3 keeps ten minutes in reserve. Only those of an
instance it asks for again by chance then, so as not to ask a metadata service in trouble all at once."""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    """No source has credentials."""
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


@pytest.fixture
def endpoints(seaweedfs):
    with aws_endpoints(seaweedfs.temporary_credentials) as endpoints:
        yield endpoints


@pytest.fixture
def location(seaweedfs):
    """Of an empty bucket, without credentials."""
    return S3Location(endpoint=seaweedfs.endpoint, bucket=seaweedfs.create_bucket(), region=seaweedfs.region)


def from_the_environment(monkeypatch, folder, endpoints):
    given = endpoints.fields()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", given["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", given["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", given["Token"])


def from_a_profile(monkeypatch, folder, endpoints):
    given = endpoints.fields()
    (folder / "credentials").write_text(
        f"[other]\naws_access_key_id={given['AccessKeyId']}\naws_secret_access_key={given['SecretAccessKey']}\n"
        f"aws_session_token={given['Token']}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "other")


def from_a_process(monkeypatch, folder, endpoints):
    given = endpoints.fields()
    fields = {**given, "SessionToken": given["Token"], "Version": 1}
    (folder / "answer.json").write_text(json.dumps(fields))
    program = "import sys; print(open(sys.argv[1]).read())"
    (folder / "config").write_text(
        f"[default]\ncredential_process = {sys.executable} -c '{program}' {folder}/answer.json\n"
    )


def from_an_instance(monkeypatch, folder, endpoints):
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoints.url)


def from_a_container(monkeypatch, folder, endpoints):
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{endpoints.url}/container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN)


def from_a_web_identity(monkeypatch, folder, endpoints):
    (folder / "token").write_text(WEB_IDENTITY_TOKEN)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/fleetlog")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoints.url)


LASTING = [(from_the_environment, "env"), (from_a_profile, "shared-credentials-file")]
RENEWED = [
    (from_a_process, "custom-process"),
    (from_an_instance, "iam-role"),
    (from_a_container, "container-role"),
    (from_a_web_identity, "assume-role-with-web-identity"),
]


@pytest.mark.parametrize(("source", "method"), [*LASTING, *RENEWED])
def test_each_source_of_the_chain_gives_credentials_that_both_clients_work_with(
    source, method, monkeypatch, bare_environment, endpoints, location
):
    source(monkeypatch, bare_environment, endpoints)
    session = AwsSession(location)
    credentials = session.current()

    assert credentials == msgspec.structs.replace(endpoints.given[0], renewed=(source, method) in RENEWED)
    assert session.source == f"AWS's chain ({method})"
    with closing(Boto3ObjectStore(session)) as store:
        store.put("a", b"by the control plane")
    with closing(S3ObjectStore(location)) as store:
        store.renew(credentials)
        assert store.get("a") == b"by the control plane"


@pytest.mark.parametrize("source", [from_a_container, from_a_web_identity])
def test_credentials_are_renewed_before_they_expire(source, monkeypatch, bare_environment, endpoints, location):
    endpoints.lifetime = SOON
    source(monkeypatch, bare_environment, endpoints)
    session = AwsSession(location)
    first = session.current()
    second = session.current()

    assert (first, second) == tuple(endpoints.given[-2:])
    assert first.session_token != second.session_token


def test_the_settings_keys_go_before_the_chain(monkeypatch, bare_environment, endpoints, location, seaweedfs):
    from_a_profile(monkeypatch, bare_environment, endpoints)
    own = msgspec.structs.replace(location, access_key=seaweedfs.access_key, secret_key=seaweedfs.secret_key)
    session = AwsSession(own)

    assert session.current() == own.credentials
    assert session.source == "the settings"
    with closing(Boto3ObjectStore(session)) as store:
        store.put("a", b"")


def test_nothing_anywhere_is_said_with_what_may_be_set(location):
    with pytest.raises(NoCredentials, match=r"AWS_ACCESS_KEY_ID.*AWS_PROFILE"):
        AwsSession(location).current()


def test_an_unknown_profile_is_refused_by_name(monkeypatch, location):
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(ObjectStoreRefused, match="no-such-profile"):
        AwsSession(location).current()


def test_a_source_that_fails_is_told_as_passing_and_one_that_refuses_as_final(
    monkeypatch, bare_environment, endpoints, location
):
    from_a_container(monkeypatch, bare_environment, endpoints)
    endpoints.broken = True
    with pytest.raises(ObjectStoreUnavailable):
        AwsSession(location).current()
    endpoints.broken = False
    from_a_web_identity(monkeypatch, bare_environment, endpoints)
    (bare_environment / "token").write_text("another token")
    with pytest.raises(ObjectStoreRefused, match="AccessDenied"):
        AwsSession(location).current()


PROCESS = "[default]\ncredential_process = {} -c '{}'\n"


@pytest.fixture
def hanging_process(bare_environment):
    """A source that hangs until the test ends; it writes an x into the file that is returned each time it is asked."""
    asked, end = bare_environment / "asked", bare_environment / "end"
    os.mkfifo(asked)
    os.mkfifo(end)
    program = f'open("{asked}", "w").write("x"); open("{end}").read()'
    (bare_environment / "config").write_text(PROCESS.format(sys.executable, program))
    reading = os.open(asked, os.O_RDWR)
    yield reading
    os.close(reading)
    with suppress(OSError):  # nobody hangs
        os.close(os.open(end, os.O_WRONLY | os.O_NONBLOCK))


def test_a_source_that_hangs_is_asked_once_and_told_in_bounded_time_to_all_who_wait(hanging_process, location):
    session = AwsSession(location, timeout_s=3.0)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(session.current) for _ in range(3)]
        for each in waiting:
            with pytest.raises(ObjectStoreUnavailable, match="within 3 s; a credential_process must end by itself"):
                each.result()
    assert os.read(hanging_process, 10) == b"x"


@contextmanager
def start_of_a_process(timeout_s):
    """A program that SIGINT interrupts, also where the tests themselves run in the background."""
    program = (
        "import asyncio, signal, infrastructure.boto3_store.session as session\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from infrastructure.object_store.location import S3Location\n"
        "from interfaces.bootstrap.object_store import object_store_session\n"
        f"session.AwsSession.__init__.__kwdefaults__['timeout_s'] = {timeout_s}\n"
        "asyncio.run(object_store_session(S3Location(endpoint='', bucket='b', region='us-east-1')))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_process_whose_source_of_credentials_hangs_refuses_to_start_and_ends(hanging_process):
    with start_of_a_process(timeout_s=1.0) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.strip().endswith(
        "StartRefused: AWS credentials did not come within 1 s; a credential_process must end by itself"
    )


def test_a_start_that_waits_for_credentials_can_be_interrupted(hanging_process):
    with start_of_a_process(timeout_s=3600.0) as process:
        assert os.read(hanging_process, 10) == b"x"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert said.strip().endswith("KeyboardInterrupt")


def test_a_store_whose_credentials_do_not_come_in_time_is_told_as_passing(hanging_process, location):
    with (
        closing(Boto3ObjectStore(AwsSession(location, timeout_s=0.5))) as store,
        pytest.raises(ObjectStoreUnavailable, match="must end by itself"),
    ):
        store.get("a")


def test_what_a_source_raises_itself_is_judged_too(monkeypatch, bare_environment, endpoints, location):
    (bare_environment / "config").write_text(PROCESS.format(sys.executable, "print(1, 2)"))
    with pytest.raises(ObjectStoreRefused, match=r"AWS's chain: JSONDecodeError"):
        AwsSession(location).current()
    endpoints.lifetime = -SOON
    from_a_container(monkeypatch, bare_environment, endpoints)
    (bare_environment / "config").unlink()
    with pytest.raises(ObjectStoreUnavailable, match=r"AWS's chain: RuntimeError: .*still expired"):
        AwsSession(location).current()
    from_a_web_identity(monkeypatch, bare_environment, endpoints)
    (bare_environment / "token").unlink()
    with pytest.raises(ObjectStoreUnavailable, match=r"AWS's chain: FileNotFoundError.*token"):
        AwsSession(location).current()


def test_own_keys_need_no_profile_and_no_file_of_aws(monkeypatch, bare_environment, location, seaweedfs):
    monkeypatch.setenv("AWS_PROFILE", "missing")
    (bare_environment / "config").write_text("[this is no configuration")
    own = msgspec.structs.replace(location, access_key=seaweedfs.access_key, secret_key=seaweedfs.secret_key)
    with closing(Boto3ObjectStore(AwsSession(own))) as store:
        store.put("a", b"")


def test_a_region_that_makes_no_sense_is_refused(location, seaweedfs):
    own = msgspec.structs.replace(location, access_key="a", secret_key="b", region="not a region")
    with pytest.raises(ObjectStoreRefused, match="not a region"):
        Boto3ObjectStore(AwsSession(own))


def test_the_region_is_that_of_the_environment_then_that_of_the_profile(monkeypatch, bare_environment):
    assert region_of_chain() == "us-east-1"
    (bare_environment / "config").write_text("[default]\nregion = eu-west-1\n")
    assert region_of_chain() == "eu-west-1"
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert region_of_chain() == "eu-north-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-south-1")
    assert region_of_chain() == "eu-south-1"


def test_credentials_are_kept_out_of_logs_whenever_they_are_renewed(monkeypatch, bare_environment, endpoints, location):
    endpoints.lifetime = SOON
    from_a_container(monkeypatch, bare_environment, endpoints)
    learnt: list[str] = []
    session = AwsSession(location)
    first = session.current()
    session.tell(learnt.extend)
    assert set(learnt) == set(first.secrets)
    renewed = session.current()
    assert set(learnt) == {*first.secrets, *renewed.secrets}
    assert len(renewed.secrets) == len(set(renewed.secrets) - set(first.secrets))


def test_executors_are_passed_renewed_credentials_which_are_kept_out_of_logs(
    monkeypatch, bare_environment, endpoints, location
):
    endpoints.lifetime = SOON
    from_a_container(monkeypatch, bare_environment, endpoints)
    learnt: list[str] = []
    passed_on = PassedOnCredentials(AwsSession(location), learn=learnt.extend)
    headers = [run(passed_on.headers())[CREDENTIALS_HEADER] for _ in range(2)]

    given = [StoreCredentials.of_header(header) for header in headers]
    assert [each.session_token for each in given] == [each.session_token for each in endpoints.given[-2:]]
    assert {secret for each in endpoints.given[-2:] for secret in each.secrets} <= set(learnt)
    assert repr(given[0]) == "StoreCredentials(not shown)"


def test_the_last_credentials_are_passed_on_while_renewed_ones_can_not_be_had(
    monkeypatch, bare_environment, endpoints, location, caplog
):
    endpoints.lifetime = SOON
    from_a_container(monkeypatch, bare_environment, endpoints)
    passed_on = PassedOnCredentials(AwsSession(location), learn=lambda _: None)
    last = run(passed_on.headers())
    endpoints.broken = True
    assert last
    assert run(passed_on.headers()) == last
    assert "no renewed credentials for executors" in caplog.text


def test_credentials_that_last_are_not_passed_on_with_calls(monkeypatch, bare_environment, endpoints, location):
    from_a_profile(monkeypatch, bare_environment, endpoints)
    passed_on = PassedOnCredentials(AwsSession(location), learn=lambda _: None)
    assert passed_on.current().session_token == endpoints.given[0].session_token
    assert asyncio.run(passed_on.headers()) == {}


def test_a_token_is_checked_with_each_call_and_renewed_ones_are_used_at_once(seaweedfs, location):
    good = seaweedfs.temporary_credentials()
    with closing(S3ObjectStore(location)) as store:
        for bad in (expired(good), msgspec.structs.replace(good, session_token="")):
            store.renew(bad)
            with pytest.raises(ObjectStoreRefused):
                store.put("a", b"1")
        store.renew(good)
        store.put("a", b"1")
        assert store.put_parts("parts", [b"x" * 5 * 1024 * 1024, b"end"])
        store.copy("a", "b")
        assert [item.key for item in store.list_objects("")] == ["a", "b", "parts"]
        store.delete(["a", "b", "parts"])
        assert list(store.list_objects("")) == []


def test_a_token_that_has_expired_is_refused_to_the_control_plane_too(seaweedfs, location):
    over = expired(seaweedfs.temporary_credentials())
    given = msgspec.structs.replace(
        location, access_key=over.access_key, secret_key=over.secret_key, session_token=over.session_token
    )
    with closing(Boto3ObjectStore(AwsSession(given))) as store, pytest.raises(ObjectStoreRefused):
        store.put("a", b"")
