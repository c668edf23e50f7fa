"""AWS Signature Version 4 for requests to S3, header form: made, and verified."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote

import msgspec

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    _ALGORITHM + r" Credential=([^/,\s]+)/([0-9]{8}/[^/,\s]+/s3/aws4_request), ?SignedHeaders=([a-z0-9;-]+), ?"
    r"Signature=([0-9a-f]{64})"
)
_ALWAYS_SIGNED = frozenset({"host", "x-amz-date", "x-amz-content-sha256"})
_SKEW = timedelta(minutes=15)


def encoded_path(path: str) -> str:
    """A path as it goes into the request line: S3 wants everything but unreserved characters and slashes escaped."""
    return quote(path, safe="/")


def encoded_query(query: Mapping[str, str]) -> str:
    """A query string in canonical order; the request must carry these very bytes."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))


def signed_headers(
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload_hash: str,
    region: str,
    access_key: str,
    secret_key: str,
    session_token: str = "",
    now: datetime,
) -> dict[str, str]:
    """`headers` (their names in lower case, `host` among them) with the signature added. `path` and `query` come from
    the functions above; `payload_hash` is the body's SHA-256 in hex; `now` is in UTC. Temporary credentials have a
    `session_token`, which is sent and signed."""
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    signed = {**headers, "x-amz-date": moment, "x-amz-content-sha256": payload_hash}
    if session_token:
        signed["x-amz-security-token"] = session_token
    listed = ";".join(sorted(signed))
    scope = f"{day}/{region}/s3/aws4_request"
    signature = _signature(method, path, query, signed, listed, scope, secret_key)
    authorization = f"{_ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
    return {**signed, "authorization": authorization}


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """The header Authorization of a signed request. `scope`: day, region, service and the word aws4_request."""

    access_key: str
    scope: str
    signed: str
    signature: str

    @classmethod
    def of(cls, header: str) -> "Authorization | None":
        """None for what is none, or signs less than whoever verifies it relies on."""
        found = _AUTHORIZATION.fullmatch(header)
        if found is None or not set(found[3].split(";")) >= _ALWAYS_SIGNED:
            return None
        return cls(access_key=found[1], scope=found[2], signed=found[3], signature=found[4])

    def is_of(
        self, secret_key: str, *, method: str, path: str, query: str, headers: Mapping[str, str], now: datetime
    ) -> bool:
        """Whether this very request was signed with that key within the last 15 minutes, or the next. `path` and
        `query` as they came; `headers` by their names in lower case."""
        try:
            moment = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except (KeyError, ValueError):
            return False
        names = self.signed.split(";")
        if (
            abs(now - moment) > _SKEW
            or not self.scope.startswith(f"{moment:%Y%m%d}/")
            or not headers.keys() >= {*names}
        ):
            return False
        signed = {name: headers[name] for name in names}
        expected = _signature(method, path, query, signed, self.signed, self.scope, secret_key)
        return hmac.compare_digest(expected, self.signature)


def _signature(
    method: str, path: str, query: str, signed: Mapping[str, str], listed: str, scope: str, secret_key: str
) -> str:
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in listed.split(";"))
    canonical = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{signed['x-amz-content-sha256']}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{_ALGORITHM}\n{signed['x-amz-date']}\n{scope}\n{digest}"
    day, region = scope.split("/")[:2]
    return hmac.digest(_signing_key(secret_key, day, region), to_sign.encode(), "sha256").hex()


@lru_cache(maxsize=256)
def _signing_key(secret_key: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
