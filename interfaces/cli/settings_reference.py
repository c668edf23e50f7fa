"""Renders docs/reference/configuration.md: `python -m interfaces.cli.settings_reference > FILE`."""

import sys
from collections.abc import Sequence

from interfaces.bootstrap.agents import declared_variables
from interfaces.settings import declarations

INTRODUCTION = """\
# Configuration

<!-- Rendered from interfaces/settings.py; do not edit. Render it again with
     `python -m interfaces.cli.settings_reference > docs/reference/configuration.md` -->

Fleetlog reads its settings from the environment, once, at the start. With none set it brings its own Postgres and S3
server. An empty value counts as not set. An unknown `FLEETLOG_*` variable or a malformed value stops the start with a
message that names it; the values of secrets are never shown.

| Variable | Default | Allowed | What it is |
|---|---|---|---|
"""
OTHERS = """
## Variables of other programs

These belong to other programs; Fleetlog passes them on unchanged. A provider without any of its credentials is
`environment_not_ready` in `GET /api/providers`, with the reason.

| Variable | For |
|---|---|
| `DOCKER_HOST`, `DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH` | the `docker` runtime: its daemon, if not a local one |
| `PATH`, `LANG`, `LC_ALL`, `TZ`, `SSL_CERT_FILE` and their like | executors of the `process` runtime |
"""


def render_reference() -> str:
    """The whole page, as Markdown."""
    return render_settings() + render_others()


def render_settings() -> str:
    """The part about Fleetlog's own settings."""
    rows = [
        f"| `{setting.variable}` | {_code(setting.shown_default)} | {setting.allowed} "
        f"| {_doc(setting.doc, setting.secret)} |"
        for setting in declarations().values()
    ]
    return INTRODUCTION + "\n".join(rows) + "\n"


def render_others() -> str:
    """The part about variables of Docker, executors and agents."""
    rows = []
    for provider, (credentials, variables) in declared_variables().items():
        if credentials:
            files = "; with `_FILE` appended to its name, the path of a file that holds the secret"
            rows.append(f"| {_names(credentials)} | agents of `{provider}`: any one suffices{files}. Secret. |")
        if variables:
            rows.append(f"| {_names(variables)} | agents of `{provider}` |")
    return OTHERS + "".join(f"{row}\n" for row in rows)


def _names(variables: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in variables)


def _code(default: str) -> str:
    return default if " " in default or default == "none" else f"`{default}`"


def _doc(doc: str, secret: bool) -> str:
    return f"{doc} Secret." if secret else doc


if __name__ == "__main__":
    sys.stdout.write(render_reference())
