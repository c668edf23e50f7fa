"""What boto3's errors mean for a call to the object store."""

import http.client

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as NotConnected
from botocore.parsers import ResponseParserError

from application.ports.object_store import ObjectStoreError, ObjectStoreRefused
from infrastructure.object_store.attempts import refusal

_PASSING = (
    NotConnected,
    HTTPClientError,  # not reachable, no answer in time, cut
    IncompleteReadError,
    ResponseStreamingError,
    ResponseParserError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    OSError,
    RuntimeError,
    http.client.HTTPException,
)


def judged(error: Exception, doing: str, key: str) -> ObjectStoreError | None:
    """A Judge (infrastructure/object_store/attempts.py)."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return refusal(error, doing, key, status=status, code=error.response.get("Error", {}).get("Code", ""))
    if isinstance(error, ObjectStoreError):  # credentials that could not be had when the request was to be signed
        return error
    if isinstance(error, _PASSING):
        return None
    if isinstance(
        error, BotoCoreError | ValueError
    ):  # no credentials, an unknown profile, a request that can't be made
        return ObjectStoreRefused(f"the object store refused {doing}: {error}")
    raise error
