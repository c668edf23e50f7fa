"""Renders docs/reference/configuration.md from the declarations: `python -m interfaces.settings_reference > FILE`."""

import sys

from interfaces.settings import declarations

INTRODUCTION = """\
# Configuration

<!-- Rendered from interfaces/settings.py; do not edit. Render it again with
     `python -m interfaces.settings_reference > docs/reference/configuration.md` -->

Fleetlog reads its settings from the environment, once, at the start. With none set it brings its own Postgres and S3
server. An empty value counts as not set. An unknown `FLEETLOG_*` variable or a malformed value stops the start with a
message that names it; the values of secrets are never shown.

| Variable | Default | Allowed | What it is |
|---|---|---|---|
"""


def render_reference() -> str:
    """The whole page, as Markdown."""
    rows = [
        f"| `{setting.variable}` | {_code(setting.shown_default)} | {setting.allowed} "
        f"| {_doc(setting.doc, setting.secret)} |"
        for setting in declarations().values()
    ]
    return INTRODUCTION + "\n".join(rows) + "\n"


def _code(default: str) -> str:
    return default if " " in default or default == "none" else f"`{default}`"


def _doc(doc: str, secret: bool) -> str:
    return f"{doc} Secret." if secret else doc


if __name__ == "__main__":
    sys.stdout.write(render_reference())
