"""`fleetlog template push FOLDER PREFIX`: put a folder into the object store as an app's runtime template."""

import argparse
from pathlib import Path
from typing import Any

from interfaces.cli.console import out, print_json
from interfaces.settings import Settings


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("template", help="runtime templates in the object store")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    push = actions.add_parser("push", help="upload a folder; its files become the template's")
    push.add_argument("folder", type=Path, help="the folder to upload")
    push.add_argument("prefix", help="the key prefix: a manifest's workspaceTemplatePrefix")
    push.add_argument("--json", action="store_true", help="print {files, bytes, prefix}")
    push.set_defaults(run=run_push)


async def run_push(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.bootstrap.templates import push_template

    files, size = await push_template(settings, arguments.folder, arguments.prefix)
    if arguments.json:
        print_json({"files": files, "bytes": size, "prefix": arguments.prefix.rstrip("/") + "/"})
        return 0
    out.print(f"[green]✓[/] {files} files, {size / 1e6:.1f} MB under [bold]{arguments.prefix.rstrip('/')}/[/]")
    return 0
