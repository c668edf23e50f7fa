"""Secrets in the options of runs, in a table beside the log, sealed with a key that derives from the installation's
secret: a copy of the database alone opens none. A run's rows go with its end (sql/functions/settle_runs.sql)."""

import hmac
import os
from collections.abc import Mapping, Sequence

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.retrying import rows_of

_NONCE_BYTES = 12


class PostgresRunSecrets:
    """Implements RunSecrets. `secret`: the installation's."""

    def __init__(self, pool: Pool, secret: bytes) -> None:
        self._pool = pool
        self._naming = hmac.digest(secret, b"fleetlog placeholders of run secrets", "sha256")
        self._sealing = hmac.digest(secret, b"fleetlog sealed run secrets, AES-256-GCM", "sha256")

    def placeholder(self, value: str) -> str:
        return f"[secret {hmac.digest(self._naming, value.encode(), 'sha256').hex()[:24]}]"

    async def keep(self, run_id: str, values: Sequence[str]) -> None:
        names = [self.placeholder(value) for value in values]
        sealed = [self._sealed(run_id, name, value) for name, value in zip(names, values, strict=True)]
        await rows_of(self._pool, "keep_run_secrets", {"run_id": run_id, "placeholders": names, "sealed": sealed})

    async def forget(self, run_id: str) -> None:
        await rows_of(self._pool, "forget_run_secrets", {"run_id": run_id})

    async def of(self, run_id: str) -> Mapping[str, str]:
        rows = await rows_of(self._pool, "run_secrets", {"run_id": run_id})
        opened = {name: self._opened(run_id, name, bytes(sealed)) for name, sealed in rows}
        return {name: value for name, value in opened.items() if value is not None}

    def _sealed(self, run_id: str, name: str, value: str) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._sealing).encrypt(nonce, value.encode(), f"{run_id}\0{name}".encode())

    def _opened(self, run_id: str, name: str, sealed: bytes) -> str | None:
        """None for what was sealed with another secret of the installation."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self._sealing).decrypt(nonce, content, f"{run_id}\0{name}".encode()).decode()
        except InvalidTag:
            return None
