"""`fleetlog verify|checkpoint|export`: has the log been tampered with? They read the database directly: the embedded
one while its server runs, or that of DATABASE_URL."""

import argparse
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
from rich.table import Table

from application.ports.log_audit import BrokenLog, Checkpoint, Verification
from domain.errors import DomainError
from interfaces.cli.console import err, marked, out, print_error, print_json, whole
from interfaces.cli.parser import WRONG_CALL
from interfaces.cli.progress import Report, bar_of
from interfaces.cli.replaced_file import replaced_file
from interfaces.errors import StartRefused
from interfaces.settings import Settings

if TYPE_CHECKING:
    from interfaces.python.read_only_log import ReadOnlyLog


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    verify = commands.add_parser(
        "verify", help="verify the log's hash chain, and that read models equal a rebuild from it"
    )
    verify.add_argument("--checkpoint", type=Path, metavar="FILE", help="an earlier checkpoint that the log must match")
    verify.add_argument("--chain-only", action="store_true", help="leave the read models out")
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.set_defaults(run=run_verify)
    checkpoint = commands.add_parser("checkpoint", help="a signed checkpoint of the log; keep it elsewhere")
    checkpoint.add_argument("file", type=Path, nargs="?", help="where to write it; standard output by default")
    checkpoint.add_argument("--json", action="store_true", help="a checkpoint is JSON; with FILE, print {file} too")
    checkpoint.set_defaults(run=run_checkpoint)
    export = commands.add_parser("export", help="the log as JSON Lines, for script/verify-log")
    export.add_argument("file", type=Path, nargs="?", help="where to write it; standard output by default")
    export.add_argument(
        "--after", type=_position, default=0, metavar="POSITION", help="export only what follows this position"
    )
    export.add_argument("--json", action="store_true", help="with FILE, print {file, events, bytes}")
    export.set_defaults(run=run_export)


async def run_verify(arguments: argparse.Namespace, settings: Settings) -> int:
    """Exit code 1 if anything does not match."""
    from interfaces.bootstrap.direct_access import log_audit

    checkpoint = _read_checkpoint(arguments.checkpoint) if arguments.checkpoint else None
    began = time.perf_counter()
    try:
        async with log_audit(settings) as audit:
            with bar_of("events") as report:
                found = await audit.verify(checkpoint=checkpoint, read_models=not arguments.chain_only, progress=report)
    except DomainError as error:
        print_error(str(error))
        return 2
    if arguments.json:
        print_json(found)
    else:
        _show(found, time.perf_counter() - began)
    return 0 if found.ok else 1


async def run_checkpoint(arguments: argparse.Namespace, settings: Settings) -> int:
    from interfaces.bootstrap.direct_access import log_audit

    try:
        async with log_audit(settings) as audit:
            with bar_of("events") as report:
                checkpoint = await audit.checkpoint(progress=report)
    except BrokenLog as error:
        print_error(f"{error}; there is nothing that a checkpoint could attest")
        return 1
    try:
        with replaced_file(arguments.file) as target:
            target.write(msgspec.json.encode(checkpoint) + b"\n")
    except BrokenPipeError:
        raise
    except OSError as error:
        return _not_written(arguments.file, error)
    if arguments.file is not None:
        if arguments.json:
            print_json({"file": str(arguments.file)})
        err.print(
            f"[green]✓[/] {whole(str(arguments.file))}: keep it where those who can change the log can't change it"
        )
    return 0


async def run_export(arguments: argparse.Namespace, settings: Settings) -> int:
    from eventsourcing.persistence import PersistenceError

    from interfaces.bootstrap.direct_access import reachable_database
    from interfaces.python import FleetlogApplication

    dsn = await reachable_database(settings)
    try:
        with FleetlogApplication(env={"FLEETLOG_DATABASE_URL": dsn}) as log, bar_of("events") as report:
            end = log.last_position
            if arguments.after > end:
                print_error(f"--after {arguments.after}: the log ends at position {end}, so nothing was written")
                return WRONG_CALL
            with replaced_file(arguments.file) as target:
                events, size = _write_lines(log, target, arguments.after, end, report)
    except PersistenceError as error:
        raise StartRefused(f"the log can't be read: {error}") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        return _not_written(arguments.file, error)
    if arguments.file is not None:
        if arguments.json:
            print_json({"file": str(arguments.file), "events": events, "bytes": size})
        else:
            err.print(f"[green]✓[/] {events} events, {size / 1e6:.1f} MB in {whole(str(arguments.file))}")
    return 0


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no position; they begin at 1, and 0 is before all events")
    return int(text)


def _not_written(file: Path | None, error: OSError) -> int:
    print_error(f"{file or 'standard output'} can't be written: {error.strerror or error}")
    return 1


def _write_lines(log: "ReadOnlyLog", target: IO[bytes], after: int, end: int, report: Report) -> tuple[int, int]:
    """The numbers of events and of bytes."""
    events = size = 0
    for lines in log.exported_lines(after=after, up_to=end):
        target.write(lines)
        events, size = events + lines.count(b"\n"), size + len(lines)
        report(after + events, end)
    return events, size


def _read_checkpoint(file: Path) -> Checkpoint:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Checkpoint)
    except (OSError, msgspec.MsgspecError) as error:
        print_error(f"{file} is no checkpoint: {error}")
        raise SystemExit(2) from error


def _show(found: Verification, seconds: float) -> None:
    if found.broken is None:
        out.print(f"[green]✓[/] the chain holds: {found.position} events in {found.streams} streams, {seconds:.1f} s")
        out.print(f"  [dim]root {found.root}[/]")
    else:
        broken = found.broken
        where = f"{marked(broken.stream)} seq {broken.seq}, " if broken.stream else ""
        out.print(f"[red]✗[/] [bold]{where}position {broken.position}[/]: {whole(broken.detail)}")
        out.print(f"  the {found.position} events before it hold")
    if found.checkpoint is not None:
        out.print(f"{'[green]✓[/]' if found.checkpoint.ok else '[red]✗[/]'} checkpoint: {found.checkpoint.detail}")
    if found.projections:
        table = Table("read model", "as of", "rows", "content", "", box=None)
        for each in found.projections:
            verdict = "[green]equal to a rebuild[/]" if each.equal else f"[red]{each.detail}[/]"
            table.add_row(each.projection, str(each.position), str(each.rows), each.content_hash[:16], verdict)
        out.print(table)
