"""The secrets of the installation itself are replaced for good, however many others are learnt and forgotten; and what
is issued to session workers as long as it may be of use to anybody."""

import base64
import secrets
import string
from urllib.parse import quote

import msgspec
import pytest

from infrastructure.installation_redaction import InstallationRedaction
from infrastructure.issued_secrets import IssuedSecrets
from infrastructure.object_store.location import S3Location
from infrastructure.redaction import LEARNT, REPLACEMENT, Redactor
from interfaces.bootstrap import runtime
from interfaces.bootstrap.backing import BackingServices
from interfaces.settings import Settings

OWN = ["secret-of-the-installation-itself", "password-of-the-database", "secret-key-of-the-object-store"]


def redaction(monkeypatch: pytest.MonkeyPatch, **settings: int) -> InstallationRedaction:
    monkeypatch.setattr(runtime, "keep_out_of_logs", lambda _redact: None)
    backing = BackingServices(
        settings=Settings(**settings),  # type: ignore[arg-type]
        dsn=f"postgresql://fleetlog:{OWN[1]}@localhost/fleetlog",
        object_store=S3Location(endpoint="http://s3", bucket="b", region="r", access_key="a", secret_key=OWN[2]),
        installation="i",
        secret=OWN[0].encode(),
    )
    return runtime.installation_redaction(backing)


def test_the_installation_s_own_secrets_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    known = redaction(monkeypatch)
    known.redactor.learn(f"credentials-of-worker-{number}" for number in range(2 * LEARNT))
    known.issued.learn(f"issued-credentials-of-worker-{number}" for number in range(1000))
    assert [known.text(secret) for secret in OWN] == [REPLACEMENT] * 3


def issued_to_one() -> list[str]:
    """A key and a token, which begins as all tokens of its service do."""
    letters = string.ascii_letters + string.digits + "+/"
    return [
        "".join(secrets.choice(letters) for _ in range(40)),
        "IQoJb3JpZ2luX2VjE" + "".join(secrets.choice(letters) for _ in range(400)),
    ]


def test_what_is_issued_to_as_many_workers_as_there_may_be_is_replaced_until_it_is_of_no_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = redaction(monkeypatch, max_workers=20)
    before = [issued_to_one() for _ in range(20)]
    renewed = [issued_to_one() for _ in range(20)]
    for each in (*before, *renewed):
        known.issued.learn(each)
    assert {known.text(secret) for each in (*before, *renewed) for secret in each} == {REPLACEMENT}
    known.issued.learn(issued_to_one())
    assert known.text(before[0][0]) == before[0][0]
    assert known.text(before[1][0]) == REPLACEMENT


class Said(msgspec.Struct):
    text: str


@pytest.mark.parametrize("before", range(9))
def test_issued_ones_are_found_in_part_and_encoded_wherever_they_are(before: int) -> None:
    issued = IssuedSecrets(100)
    known = InstallationRedaction(Redactor(OWN), issued)
    assert known(Said("nothing is issued yet")) == Said("nothing is issued yet")
    several = [issued_to_one() for _ in range(20)]
    for each in several:
        issued.learn(each)
    for secret in several[7]:
        for form in (
            secret,
            secret[:36],
            secret[-14:],
            base64.b64encode(secret.encode()).decode(),
            secret.encode().hex(),
            quote(secret, safe=""),
        ):
            cleaned = known(Said(f"{'.' * before}{form} of the caller's token"), ["the caller's token"]).text
            assert cleaned.removeprefix("." * before).startswith(REPLACEMENT)
            assert form[-8:] not in cleaned
            assert cleaned.endswith("of [secret]")
            assert known.json(msgspec.json.encode({form: [form]})).count(b"[secret]") >= 2
    plain = Said("what has no secret in it " * 100)
    assert known(plain) is plain
