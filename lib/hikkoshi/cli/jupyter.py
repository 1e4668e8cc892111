"""The command that opens the runbooks in JupyterLab: thin, like the rest of the command line."""

import typer

from hikkoshi.errors import Interrupted


def jupyter(context: typer.Context) -> None:
    """Open JupyterLab on this folder and the runbooks, on this machine only, with a token; it asks nobody outside for anything.

    What you run is on record, and not saved into the runbooks: these stay as they are, but for cells that you edit. Options
    that follow are JupyterLab's own, such as --no-browser or --port=9000. Ctrl-C ends it, with all its kernels.
    """
    from hikkoshi.jupyter import server  # noqa: PLC0415 - all imports here are late: --help answers at once
    from hikkoshi.params.home import Home  # noqa: PLC0415

    try:
        server.serve(Home.find(), context.args)
    except Interrupted as e:  # this is how it ends
        raise typer.Exit(e.exit_code) from None
