"""The command that tells where guests stand, once or as long as somebody looks: thin, like the rest of the command line."""

import contextlib
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hikkoshi.cli import completion, terminal
from hikkoshi.cli.terminal import AsJson
from hikkoshi.errors import Interrupted

if TYPE_CHECKING:
    from hikkoshi.fleet.watch import Watch

EVERY = 2.0  # seconds between two looks


def status(
    guests: Annotated[list[str] | None, typer.Argument(help="names; default: all", autocompletion=completion.guests)] = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="look again every 2 seconds, until Ctrl-C; in a log, a line for what changes")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Where every guest stands, and what to do next."""
    import hikkoshi.run.status  # noqa: PLC0415 - all imports here are late: --help and completion answer at once
    from hikkoshi.fleet.watch import Watch  # noqa: PLC0415
    from hikkoshi.params.home import Home  # noqa: PLC0415

    home = Home.find()
    for guest in guests or []:
        home.guest(guest)
    if watch and as_json:
        raise typer.BadParameter("it prints one document, --watch never ends", param_hint="--json")
    if watch:
        try:
            _watch(Watch(home, guests or ()))
        except Interrupted as e:  # this is how it ends
            raise typer.Exit(e.exit_code) from None
    found = hikkoshi.run.status.status(home, guests or ())
    if as_json:
        terminal.print_json([s.plain() for s in found])
    else:
        now = datetime.now(UTC)
        terminal.table([s.row(now) for s in found])


def _watch(guests: "Watch") -> NoReturn:
    """On a terminal the table, drawn again; elsewhere a line for each guest that is not as it was."""
    told: dict[str, str] = {}
    with terminal.redrawn() if sys.stdout.isatty() else contextlib.nullcontext(None) as redraw:
        while True:
            now = datetime.now(UTC)
            rows = [s.row(now) for s in guests.look()]
            if redraw:
                redraw(rows)
            else:
                lines = {row["guest"]: f"{row['guest']:<12}│ {row['last step']}: {row['state']}" for row in rows}
                for guest, line in lines.items():
                    if told.get(guest) != line:
                        terminal.say(f"{now.astimezone():%H:%M:%S} {line}")
                told = lines
            time.sleep(EVERY)
