"""AWS Signature Version 4 for requests to S3, header form."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


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
    names = sorted(signed)
    listed = ";".join(names)
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in names)
    canonical = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{payload_hash}"
    scope = f"{day}/{region}/s3/aws4_request"
    to_sign = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.digest(_signing_key(secret_key, day, region), to_sign.encode(), "sha256").hex()
    authorization = f"{_ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
    return {**signed, "authorization": authorization}


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
