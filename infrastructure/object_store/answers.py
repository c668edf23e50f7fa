"""What an S3 server answers in XML. Namespaces differ between servers and are not looked at."""

from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

import msgspec


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One object of a listing; `size` in bytes, `modified_at` as the store tells it (ISO 8601, empty where unknown)."""

    key: str
    size: int
    modified_at: str = ""


class ListedPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a listing; an empty `next_token` says that it is the last."""

    objects: tuple[ObjectInfo, ...]
    next_token: str


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """An S3 error: its code (`NoSuchKey`, say) and message, empty where the answer has none."""

    code: str = ""
    message: str = ""


class NotS3(ValueError):
    """The answer is not what an S3 server says."""


def listed_page(body: bytes) -> ListedPage:
    """Raises NotS3."""
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
        raise NotS3(f"a listed object has no size: {error}") from error
    return ListedPage(
        objects=objects, next_token=(root.findtext("{*}NextContinuationToken") or "") if truncated else ""
    )


def upload_id(body: bytes) -> str:
    """The id of a multipart upload that was begun. Raises NotS3."""
    found = _parsed(body).findtext("{*}UploadId")
    if not found:
        raise NotS3("the answer names no upload")
    return found


def fault_of(body: bytes) -> Fault:
    """The error that a body tells, also below a 200; an empty one when it tells none."""
    if not body.strip():
        return Fault()
    try:
        root = _parsed(body)
    except NotS3:
        return Fault(message=body[:200].decode(errors="replace"))
    found = root if root.tag.rpartition("}")[2] == "Error" else root.find("{*}Error")
    if found is None:
        return Fault()
    return Fault(code=found.findtext("{*}Code") or "Error", message=found.findtext("{*}Message") or "")


def completed_parts(etags: list[str]) -> bytes:
    """The body that completes a multipart upload."""
    root = ET.Element("CompleteMultipartUpload")
    for number, etag in enumerate(etags, start=1):
        part = ET.SubElement(root, "Part")
        ET.SubElement(part, "PartNumber").text = str(number)
        ET.SubElement(part, "ETag").text = etag
    return ET.tostring(root)


def deleted_keys(keys: list[str]) -> bytes:
    """The body that deletes many objects; the answer tells faults alone."""
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
        raise NotS3(f"the answer is no XML: {body[:200]!r}") from error
