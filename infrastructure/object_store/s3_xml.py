"""XML of S3: parses responses, builds request bodies. Namespaces differ between servers and are ignored."""

from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

import msgspec

from application.ports.object_store import ObjectInfo


class ListedPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a listing; the last has an empty `next_token`."""

    objects: tuple[ObjectInfo, ...]
    next_token: str


class S3Error(msgspec.Struct, frozen=True, kw_only=True):
    """An S3 error: its code (such as `NoSuchKey`) and message, "" where the response has none."""

    code: str = ""
    message: str = ""


class MalformedResponse(ValueError):
    """A response that is not the XML that S3 specifies."""


def listed_page(body: bytes) -> ListedPage:
    """Raises MalformedResponse."""
    root = _parsed(body)
    encoded = root.findtext("{*}EncodingType") == "url"
    truncated = root.findtext("{*}IsTruncated") == "true"
    try:
        objects = tuple(
            ObjectInfo(
                key=_key(item.findtext("{*}Key") or "", encoded=encoded),
                size=int(item.findtext("{*}Size") or ""),
                modified_at=item.findtext("{*}LastModified") or "",
            )
            for item in root.iterfind("{*}Contents")
        )
    except ValueError as error:
        raise MalformedResponse(f"a listed object has no size: {error}") from error
    return ListedPage(
        objects=objects, next_token=(root.findtext("{*}NextContinuationToken") or "") if truncated else ""
    )


def upload_id(body: bytes) -> str:
    """The id of a multipart upload that was begun. Raises MalformedResponse."""
    found = _parsed(body).findtext("{*}UploadId")
    if not found:
        raise MalformedResponse("the response names no upload")
    return found


def s3_error_of(body: bytes) -> S3Error:
    """The error in a body, whatever the status; an empty one when there is none."""
    if not body.strip():
        return S3Error()
    try:
        root = _parsed(body)
    except MalformedResponse:
        return S3Error(message=body[:200].decode(errors="replace"))
    found = root if root.tag.rpartition("}")[2] == "Error" else root.find("{*}Error")
    if found is None:
        return S3Error()
    return S3Error(code=found.findtext("{*}Code") or "Error", message=found.findtext("{*}Message") or "")


def completed_parts(etags: list[str]) -> bytes:
    """The body that completes a multipart upload."""
    root = ET.Element("CompleteMultipartUpload")
    for number, etag in enumerate(etags, start=1):
        part = ET.SubElement(root, "Part")
        ET.SubElement(part, "PartNumber").text = str(number)
        ET.SubElement(part, "ETag").text = etag
    return ET.tostring(root)


def deleted_keys(keys: list[str]) -> bytes:
    """The body that deletes many objects; the response lists only errors (quiet mode)."""
    root = ET.Element("Delete")
    ET.SubElement(root, "Quiet").text = "true"
    for key in keys:
        ET.SubElement(ET.SubElement(root, "Object"), "Key").text = key
    return ET.tostring(root)


def _key(text: str, *, encoded: bool) -> str:
    return unquote_plus(text) if encoded else text


def _parsed(body: bytes) -> ET.Element:
    try:
        return ET.fromstring(body)  # noqa: S314  the store holds all our content anyway; expat bounds entities
    except ET.ParseError as error:
        raise MalformedResponse(f"the response is no XML: {body[:200]!r}") from error
