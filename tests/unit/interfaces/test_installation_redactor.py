"""The secrets of the installation itself are replaced for good, however many others are learnt and forgotten."""

import pytest

from infrastructure.object_store.location import S3Location
from infrastructure.redaction import LEARNT, REPLACEMENT
from interfaces.bootstrap import runtime
from interfaces.bootstrap.backing import BackingServices
from interfaces.settings import Settings


def test_the_installation_s_own_secrets_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "keep_out_of_logs", lambda _redact: None)
    own = ["secret-of-the-installation-itself", "password-of-the-database", "secret-key-of-the-object-store"]
    backing = BackingServices(
        settings=Settings(),
        dsn=f"postgresql://fleetlog:{own[1]}@localhost/fleetlog",
        object_store=S3Location(endpoint="http://s3", bucket="b", region="r", access_key="a", secret_key=own[2]),
        installation="i",
        secret=own[0].encode(),
    )
    redactor = runtime.installation_redactor(backing)
    redactor.learn(f"credentials-of-worker-{number}" for number in range(2 * LEARNT))
    assert [redactor.text(secret) for secret in own] == [REPLACEMENT] * 3
