"""A process that has started never looks through what its start has made again: that would hold up everybody."""

import gc

from infrastructure.object_store.location import S3Location
from interfaces.bootstrap.backing import BackingServices
from interfaces.cli.processes import started
from interfaces.settings import Settings


def test_the_garbage_collector_leaves_out_what_the_start_has_made() -> None:
    backing = BackingServices(
        settings=Settings(),
        dsn="postgresql://localhost/fleetlog",
        object_store=S3Location(endpoint="http://s3", bucket="b", region="r", access_key="a", secret_key="s"),
        installation="i",
        secret=b"secret",
    )
    made, told = [backing], list[str]()
    try:
        started(lambda url, _notes: told.append(url), "http://here", backing)
        assert told == ["http://here"]
        assert all(each is not made for each in gc.get_objects())
    finally:
        gc.unfreeze()
    assert any(each is made for each in gc.get_objects())
