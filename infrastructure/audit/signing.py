"""Ed25519 signatures of checkpoints. The key is derived from the installation's secret, the same in all processes."""

import base64
import hashlib
import hmac

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

_PURPOSE = b"fleetlog checkpoint signing key, Ed25519"


class CheckpointKey:
    def __init__(self, secret: bytes) -> None:
        seed = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> str:
        """PEM."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, statement: str) -> str:
        """The signature of the text's UTF-8 bytes, in base64."""
        return base64.b64encode(self._key.sign(statement.encode())).decode()


def signed_by(public_key: str, statement: str, signature: str) -> bool:
    """Whether the key (PEM) signed this text; False also for what is no key and no signature."""
    try:
        key = load_pem_public_key(public_key.encode())
        if not isinstance(key, Ed25519PublicKey):
            return False
        key.verify(base64.b64decode(signature, validate=True), statement.encode())
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
