"""The command that makes what a contractor imports in our place: thin, like the rest of the command line."""

from pathlib import Path
from typing import Annotated

import typer

from hikkoshi.cli import terminal
from hikkoshi.cli.completion import GuestName
from hikkoshi.cli.terminal import AsJson


def handover(
    guest: GuestName,
    *,
    ova: Annotated[bool, typer.Option("--ova/--ovf", help="one OVA, or OVF, manifest and VMDKs each as a file")] = True,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="where the new folder goes \\[default: outputs/handover]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write what a contractor needs who imports the machine in your place: the machine's files, and a sheet of one page.

    For a guest that was rehearsed as planned. vSphere is not asked. A new folder GUEST-TIME is made, and nothing is overwritten.
    """
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.report import handover, pdf  # noqa: PLC0415 - all imports here are late, as everywhere

    with terminal.bar(f"handing over {guest}") as progress:
        done = handover.write(Home.find(), guest, "ova" if ova else "ovf", to, progress)
    if as_json:
        terminal.print_json(done.model_dump(mode="json"))
        return
    terminal.table([{"file": f.name, "bytes": f"{f.bytes:,}", "SHA-256": f.sha256} for f in done.files])
    if done.no_pdf:
        terminal.say(f"The sheet is not there as PDF: {done.no_pdf}. Print the HTML, or {pdf.BROWSER}.")
    terminal.say("What the source writes after its survey is not in it.")
    terminal.say(done.folder)
