"""Credentials that an executor's configuration needs: what their absence means for its start."""

from pathlib import PurePosixPath

import pytest

from application.ports.object_store import ObjectStoreRefused, ObjectStoreUnavailable
from application.ports.worker_runtime import ContainerSpec, RuntimeUnavailable, StartFailed
from infrastructure.object_store.location import S3Location
from infrastructure.runtimes.executor_setup import ExecutorSetup, WorkerFolders

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
    def credentials():
        raise said

    setup = ExecutorSetup(
        object_store=S3Location(endpoint="http://store", bucket="b", region="r"), credentials=credentials
    )
    with pytest.raises(meant, match=str(said)):
        setup.config(SPEC, "c", FOLDERS)
