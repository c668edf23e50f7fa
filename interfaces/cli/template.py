"""`fleetlog template push FOLDER PREFIX`: put a folder into the object store as an app's runtime template."""

import argparse
from pathlib import Path
from typing import Any

from domain.errors import InvalidInput
from domain.workspace.paths import check_object_prefix
from interfaces.cli.console import out, print_json
from interfaces.errors import StartRefused
from interfaces.settings import Settings


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser("template", help="runtime templates in the object store")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    push = actions.add_parser("push", help="upload a folder as a template, replacing an earlier one")
    push.add_argument("folder", type=Path, help="the folder to upload")
    push.add_argument("prefix", help="the key prefix: a manifest's workspaceTemplatePrefix")
    push.add_argument("--json", action="store_true", help="print {files, bytes, prefix}")
    push.set_defaults(run=run_push)


async def run_push(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.bootstrap.direct_access import push_template

    prefix = _checked_prefix(arguments.prefix)
    if not arguments.folder.is_dir():
        raise StartRefused(f"{arguments.folder} is not a folder")
    files, size = await push_template(settings, arguments.folder, prefix)
    if arguments.json:
        print_json({"files": files, "bytes": size, "prefix": prefix})
        return 0
    out.print(f"[green]✓[/] {files} files, {size / 1e6:.1f} MB under [bold]{prefix}[/]")
    return 0


def _checked_prefix(text: str) -> str:
    try:
        return check_object_prefix("PREFIX", text)
    except InvalidInput as error:
        raise StartRefused(str(error)) from error
