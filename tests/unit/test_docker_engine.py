"""What a call to Docker that fails says of the daemon."""

import pytest
import requests.exceptions
from docker.errors import APIError, DockerException

from application.ports.worker_runtime import RuntimeDown, RuntimeUnavailable
from infrastructure.runtimes.docker_engine import DockerEngine


@pytest.mark.parametrize(
    ("error", "is_down"),
    [
        (requests.exceptions.ConnectionError("refused"), True),
        (DockerException("no socket"), True),
        (requests.exceptions.ReadTimeout("one container took too long"), False),
        (APIError("driver failed"), False),
    ],
)
def test_a_daemon_is_down_if_it_can_t_be_reached_not_if_one_call_takes_long(
    error: Exception, is_down: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = DockerEngine({}, installation="i", connections=1)

    class Client:
        def info(self) -> None:
            raise error

    monkeypatch.setattr(engine, "_client", Client)
    with pytest.raises(RuntimeUnavailable) as raised:
        engine.daemon_id()
    assert isinstance(raised.value, RuntimeDown) is is_down
