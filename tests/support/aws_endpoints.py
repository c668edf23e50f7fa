"""What AWS runs beside a program to give it credentials, on loopback: an instance's metadata service (IMDSv2), a
container's credentials endpoint, and STS for web identities. Each gives the credentials that a test has set."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from infrastructure.object_store.location import S3Credentials

ROLE = "the-role"
METADATA_TOKEN = "token-of-the-metadata-service"
CONTAINER_TOKEN = "token-of-the-container"
WEB_IDENTITY_TOKEN = "token-of-the-web-identity"


class AwsEndpoints:
    """`give` makes the credentials of each answer; they say that they expire `lifetime` after it. `given` holds them.
    `broken`: nothing but 500 from now on."""

    def __init__(self, url: str, give: Callable[[], S3Credentials]) -> None:
        self.url, self.give = url, give
        self.lifetime = timedelta(hours=6)
        self.given: list[S3Credentials] = []
        self.broken = False

    def fields(self) -> dict[str, str]:
        credentials = self.give()
        self.given.append(credentials)
        return {
            "AccessKeyId": credentials.access_key,
            "SecretAccessKey": credentials.secret_key,
            "Token": credentials.session_token,
            "Expiration": (datetime.now(UTC) + self.lifetime).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def answer(self, method: str, path: str, headers: Any, body: str) -> tuple[int, str]:
        if self.broken:
            return 500, ""
        match method, path.rstrip("/"):
            case "PUT", "/latest/api/token":
                return 200, METADATA_TOKEN
            case "GET", "/latest/meta-data/iam/security-credentials" if _is_ours(headers):
                return 200, ROLE
            case "GET", found if found == f"/latest/meta-data/iam/security-credentials/{ROLE}" and _is_ours(headers):
                return 200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", **self.fields()})
            case "GET", "/container" if headers.get("authorization") == CONTAINER_TOKEN:
                return 200, json.dumps({"RoleArn": "arn:aws:iam::1:role/x", **self.fields()})
            case "POST", "" if parse_qs(body).get("WebIdentityToken") == [WEB_IDENTITY_TOKEN]:
                return 200, _sts_answer(self.fields())
            case "POST", "":
                return 403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
        return 401, ""


def _is_ours(headers: Any) -> bool:
    return headers.get("x-aws-ec2-metadata-token") == METADATA_TOKEN


def _sts_answer(fields: dict[str, str]) -> str:
    fields = {"SessionToken" if name == "Token" else name: value for name, value in fields.items()}
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return (
        '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<AssumeRoleWithWebIdentityResult><Credentials>{inner}</Credentials></AssumeRoleWithWebIdentityResult>"
        "</AssumeRoleWithWebIdentityResponse>"
    )


@contextmanager
def aws_endpoints(give: Callable[[], S3Credentials]) -> Iterator[AwsEndpoints]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            status, text = found.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.send_header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_POST = do_GET  # noqa: N815  the names that http.server calls

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = AwsEndpoints(f"http://127.0.0.1:{server.server_port}", give)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
