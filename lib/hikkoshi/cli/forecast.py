"""The command that foretells a night: thin, like the rest of the command line."""

import math
from typing import Annotated

import typer

from hikkoshi.cli import terminal
from hikkoshi.cli.completion import FirstStep, LastStep, OnlyStep, selected
from hikkoshi.cli.terminal import AsJson


def forecast(
    *,
    first: FirstStep = None,
    last: LastStep = None,
    only: OnlyStep = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="guests at once \\[default: fleet.jobs in params/site.yml]")] = None,
    night: Annotated[float | None, typer.Option(min=0, metavar="HOURS", help="how long a wave may take")] = None,
    as_json: AsJson = False,
) -> None:
    """Foretell how long each wave will take, and what it waits for; nothing is begun, and nobody is asked.

    It takes the steps that are left, the sizes of the surveys, and how long steps took at this site so far. With --night it names
    the guests that do not fit. The picture of each wave is in outputs/fleet. What room vSphere has: `hikkoshi doctor --site`.
    """
    from hikkoshi import files  # noqa: PLC0415 - late: --help and completion answer at once
    from hikkoshi.figures.gantt import gantt  # noqa: PLC0415
    from hikkoshi.figures.style import png  # noqa: PLC0415
    from hikkoshi.fleet import outlook, waves  # noqa: PLC0415
    from hikkoshi.fleet.rates import Rates  # noqa: PLC0415
    from hikkoshi.params.home import Home  # noqa: PLC0415

    if night is not None and not math.isfinite(night):
        raise typer.BadParameter("hours, such as 8 or 7.5; without it a wave may take as long as it needs", param_hint="--night")
    home = Home.find()
    steps = selected(first, last, only)
    site, found = home.site(), waves.waves(home)
    guests = [guest for wave in found.values() for guest in wave]
    rates = Rates.of(home, [guest.name for guest in guests])
    longest = night * 3600 if night is not None else float("inf")
    foretold = [
        outlook.WaveForecast.of(home, site, wave, members, steps, rates=rates, jobs=jobs or site.fleet.jobs, night=longest)
        for wave, members in found.items()
    ]
    if as_json:
        terminal.print_json({"waves": [one.plain() for one in foretold]})
        return
    terminal.table([one.row() for one in foretold])
    for words in outlook.basis(rates, guests, steps):
        terminal.say(words)
    if night is not None and not any(one.late for one in foretold):
        terminal.say(f"Each wave is likely through within {night:g} hours.")
    old = set(home.fleet.glob("forecast-*.png"))
    for one in foretold:
        for words in one.words():
            terminal.say(words)
        if one.tasks:
            path = home.fleet / f"forecast-{one.wave}.png"
            old.discard(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, png(gantt(one.stretches())))
            terminal.say(f"Wave {one.wave}, drawn: {path}")
    for path in old:  # of waves that are over, or whose guests are in another by now
        path.unlink(missing_ok=True)
