"""Guests and steps as commands are told them, and as a shell completes them. What cannot be read is silent, and offers nothing.

Of what is offered here, the command line itself takes what begins like the word.
"""

from typing import Annotated

import typer

from hikkoshi.errors import HikkoshiError
from hikkoshi.run.step import DEPLOY, STEPS, SURVEY


def guests() -> list[str]:
    """Names of the guests that have a parameter file."""
    from hikkoshi.params.home import Home  # noqa: PLC0415 - late, as all imports of commands: --help answers at once

    try:
        return Home.find().guest_names()
    except (HikkoshiError, OSError):  # no parameters; a folder that is gone, or that we may not read
        return []


def steps() -> list[str]:
    """Ids of the steps: so a number completes, too."""
    return list(STEPS)


GuestName = Annotated[str, typer.Argument(help="name of the guest: params/guests/NAME.yml", autocompletion=guests)]
FirstStep = Annotated[str | None, typer.Option("--from", help=f"first step \\[default: {SURVEY}]", autocompletion=steps)]
LastStep = Annotated[str | None, typer.Option("--through", help=f"last step \\[default: {DEPLOY}]", autocompletion=steps)]
OnlyStep = Annotated[str | None, typer.Option("--only", help="this step alone", autocompletion=steps)]


def selected(first: str | None, last: str | None, only: str | None) -> list[str]:
    """The steps in their order; a usage error where `only` is not alone."""
    from hikkoshi.fleet import sequence  # noqa: PLC0415 - late, as all imports of commands: --help answers at once

    if only and (first or last):
        raise typer.BadParameter("it names one step: leave --from and --through out", param_hint="--only")
    return sequence.selection(only or first, only or last)
