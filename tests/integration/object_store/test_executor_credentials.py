"""An executor whose credentials expire, on a server that checks them: calls bring it others."""

import pytest

from application.store_credentials import CREDENTIALS_HEADER, StoreCredentials
from infrastructure.object_store.location import S3Location
from tests.integration.executor.worker import Worker
from tests.support.object_stores import expired


def header(credentials):
    given = StoreCredentials(
        access_key=credentials.access_key, secret_key=credentials.secret_key, session_token=credentials.session_token
    )
    return given.headers()


@pytest.fixture
def location(seaweedfs):
    return S3Location(endpoint=seaweedfs.endpoint, bucket=seaweedfs.create_bucket(), region=seaweedfs.region)


@pytest.fixture
def make_worker(tmp_path, location):
    made = []

    def make(credentials):
        keys = {"s3AccessKey": credentials.access_key, "s3SecretKey": credentials.secret_key}
        token = {"s3SessionToken": credentials.session_token, "s3CredentialsRenewed": True}
        made.append(Worker(tmp_path / "w", location, **keys, **token))
        return made[-1].start()

    yield make
    for worker in made:
        worker.end()


def test_it_uses_the_last_credentials_that_any_call_brought(seaweedfs, make_worker):
    good, old = seaweedfs.temporary_credentials(), expired(seaweedfs.temporary_credentials())
    worker = make_worker(old)
    assert worker.try_restore().json()["reason"] == "object_store_refused"

    assert worker.http.get("/health", headers=header(good)).status_code == 200
    worker.restore()
    (worker.workspace / "a").write_text("kept")
    assert worker.sync()["files"] == 1

    assert worker.http.get("/workspace/sync", headers=header(old)).status_code == 200
    (worker.workspace / "b").write_text("late")
    assert worker.try_sync().json()["reason"] == "object_store_refused"
    worker.http.headers.update(header(good))
    assert worker.sync()["files"] == 2
    for secret in (*good.secrets, *old.secrets):
        assert secret not in worker.log()


def test_only_a_caller_with_the_token_changes_them_and_what_is_no_credentials_changes_nothing(seaweedfs, make_worker):
    good, old = seaweedfs.temporary_credentials(), expired(seaweedfs.temporary_credentials())
    worker = make_worker(good)
    worker.http.get("/health", headers={**header(old), "authorization": "Bearer another"})
    worker.http.get("/health", headers={CREDENTIALS_HEADER: "no credentials"})
    worker.http.get("/health", headers={CREDENTIALS_HEADER: "e30=" * 5000})
    worker.restore()
    assert "no credentials" not in worker.log()
    assert "x-fleetlog-object-store are not understood" in worker.log()
