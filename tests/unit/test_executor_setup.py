"""An executor's configuration: what the absence of credentials means for its start, and when it ends by itself."""

from pathlib import PurePosixPath

import pytest

from application.ports.object_store import ObjectStoreRefused, ObjectStoreUnavailable
from application.ports.worker_runtime import ContainerSpec, RuntimeUnavailable, StartFailed
from infrastructure.object_store.location import S3Location
from infrastructure.runtimes.executor_setup import ExecutorSetup, WorkerFolders, serves_as
from interfaces.bootstrap.runtime import idle_exit_s
from interfaces.settings_reading import load_settings

FOLDERS = WorkerFolders(workspace=PurePosixPath("/w"), home=PurePosixPath("/h"), state=PurePosixPath("/s"))
SPEC = ContainerSpec(session_id="s", generation=1, token="t")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (ObjectStoreRefused("there are no AWS credentials"), StartFailed),
        (ObjectStoreUnavailable("not within 30 s"), RuntimeUnavailable),
    ],
)
def test_credentials_that_are_refused_fail_the_start_and_those_that_are_late_may_come_later(said, meant):
    def credentials(*_):
        raise said

    setup = ExecutorSetup(
        object_store=S3Location(endpoint="http://store", bucket="b", region="r"), credentials=credentials
    )
    with pytest.raises(meant, match=str(said)):
        setup.config(SPEC, "c", FOLDERS)


def served_at(address):
    setup = ExecutorSetup(object_store=S3Location(endpoint="", bucket="b", region="r"), endpoint=lambda: address)
    return setup.config(SPEC, "c", FOLDERS)


def test_a_store_that_this_process_does_not_serve_yet_may_be_there_later():
    with pytest.raises(RuntimeUnavailable, match="does not serve the object store to session workers yet"):
        served_at("")
    assert served_at("http://172.17.0.1:1").s3_endpoint == "http://172.17.0.1:1"


def test_another_address_of_the_served_store_restarts_only_an_executor_that_would_not_hear_of_it():
    before, now = served_at("http://172.17.0.1:1"), served_at("http://172.17.0.1:2")
    assert serves_as(before, now, protocol=2)
    assert not serves_as(before, now, protocol=1)
    direct = ExecutorSetup(object_store=S3Location(endpoint="http://store", bucket="b", region="r"))
    assert not serves_as(direct.config(SPEC, "c", FOLDERS), now, protocol=2)


def test_another_log_level_restarts_no_executor():
    store = S3Location(endpoint="http://store", bucket="b", region="r")
    quiet, loud = (
        ExecutorSetup(object_store=store, log_level=level).config(SPEC, "c", FOLDERS) for level in ("INFO", "DEBUG")
    )

    assert (quiet.log_level, loud.log_level) == ("INFO", "DEBUG")
    assert serves_as(quiet, loud, protocol=2)


@pytest.mark.parametrize("environment", [{}, {"IDLE_TIMEOUT_MS": "7200000"}, {"STALE_SYNC_AFTER_MS": "86400000"}])
def test_an_executor_ends_by_itself_only_when_it_should_have_been_stopped_or_synced_long_ago(environment):
    settings = load_settings(environment)
    looked_after_s = max(settings.idle_timeout_ms, settings.stale_sync_after_ms) / 1000
    assert idle_exit_s(settings) >= looked_after_s + 300
