"""The commands for all guests of a site at once: thin, like the rest of the command line."""

import contextlib
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hikkoshi.cli import terminal
from hikkoshi.cli.completion import FirstStep, LastStep, OnlyStep, selected
from hikkoshi.cli.forecast import forecast
from hikkoshi.cli.terminal import AsJson

fleet = typer.Typer(help="All guests of the site, one wave after the other.")
fleet.command()(forecast)


def _budget(text: str) -> tuple[float, bool]:
    """'3' or '5%': the number, and whether it is per cent."""
    found = re.fullmatch(r"(\d+)(%?)", text)
    if not found or (found[2] and int(found[1]) > 100):
        raise typer.BadParameter("a number of guests, or per cent of the wave, at most 100%: 3, 5%", param_hint="--failures")
    return float(found[1]), bool(found[2])


def _without_wave(argv: Sequence[str]) -> str:
    """What was typed, but the wave."""
    named = [n for n, word in enumerate(argv) if word == "--wave" or word.startswith("--wave=")]
    values = [n + 1 for n in named if argv[n] == "--wave"]
    return shlex.join(word for n, word in enumerate(argv) if n not in (*named, *values))


@fleet.command()
def run(
    *,
    first: FirstStep = None,
    last: LastStep = None,
    only: OnlyStep = None,
    apply: Annotated[bool, typer.Option("--apply", help="act; without it, look and change nothing")] = False,
    wave: Annotated[
        int | None, typer.Option(min=1, help="this wave; default: the first, or with neither this nor --apply, all")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="guests at once \\[default: fleet.jobs in params/site.yml]")] = None,
    failures: Annotated[
        str | None, typer.Option(metavar="N|N%", help="guests that may fail \\[default: 0 with --apply, else all]")
    ] = None,
    scheduler: Annotated[str, typer.Option(metavar="tls://HOST:PORT", help="of a Dask cluster that carries the steps out")] = "",
    ca: Annotated[
        Path | None, typer.Option("--tls-ca", metavar="FILE", exists=True, dir_okay=False, help="its certificate authority (PEM)")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", exists=True, dir_okay=False, help="your certificate (PEM)")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="FILE", exists=True, dir_okay=False, help="the key of your certificate (PEM)"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take the guests of params/guests through the steps, by the waves that their files name; docs/fleet.md.

    With --apply it ends after a wave and says how to go on. To resume, run the same command again: what is finished is left
    out. When a guest fails, nothing more is begun, and what runs goes to its end; so it does after `hikkoshi fleet stop`.
    """
    from hikkoshi.fleet import loaded, local, station, waves  # noqa: PLC0415 - late: --help and completion answer at once
    from hikkoshi.fleet.fleet import Executor  # noqa: PLC0415
    from hikkoshi.fleet.night import Night  # noqa: PLC0415
    from hikkoshi.params.home import Home  # noqa: PLC0415

    home = Home.find()
    if not scheduler and (ca or certificate or key):
        raise typer.BadParameter(
            "they are for a cluster: name its --scheduler, too", param_hint="--tls-ca, --tls-cert, --tls-key"
        )
    steps = selected(first, last, only)
    number, per_cent = _budget(failures or ("0" if apply else "100%"))
    site, found = home.site(), waves.waves(home)
    if wave is not None and wave not in found:
        raise typer.BadParameter(f"no guest is in it; the waves are {', '.join(map(str, found))}", param_hint="--wave")
    chosen = [wave] if wave else list(found)[:1] if apply else list(found)
    guests = [guest for n in chosen for guest in found[n]]
    more = next((n for n in found if apply and n > max(chosen, default=0)), None)
    on = f"hikkoshi {_without_wave(sys.argv[1:])} --wave {more}" if more else ""
    with contextlib.ExitStack() as stack:
        stack.enter_context(station.taken(home))
        executor: Executor
        if scheduler:
            from hikkoshi.fleet.cluster import Cluster  # noqa: PLC0415

            executor = Cluster(home, scheduler, {guest.dom0 for guest in guests}, jobs, ca=ca, certificate=certificate, key=key)
        else:
            from hikkoshi.cli.main import main  # noqa: PLC0415
            from hikkoshi.fleet import appointment  # noqa: F401, PLC0415 - what `hikkoshi run` loads, once for all
            from hikkoshi.run import byhand  # noqa: F401, PLC0415

            begins = stack.enter_context(loaded.commands(main, steps if len(guests) >= loaded.MANY else ()))
            executor = local.Local(home, jobs or site.fleet.jobs, loaded=begins)
        out = sys.stderr if as_json else sys.stdout
        night = Night(home, site, lambda line: terminal.say(line, out))
        budget = number * len(guests) / 100 if per_cent else number
        code = night.through(executor, guests, steps, "apply" if apply else "plan", budget)
    if rows := night.rows():
        terminal.table(rows, out)
    night.end(code, on)
    if as_json:
        terminal.print_json({"exit_code": code, "guests": night.plain()})
    raise typer.Exit(code)


@fleet.command()
def stop() -> None:
    """Have the fleet that runs in this folder begin nothing more. What runs goes to its end; then it ends with 3."""
    from hikkoshi.fleet import station  # noqa: PLC0415
    from hikkoshi.params.home import Home  # noqa: PLC0415

    station.stop(Home.find())
    terminal.say("It begins nothing more, and ends when the steps that run have ended.")
