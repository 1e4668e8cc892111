"""`hikkoshi lab`: the commands of the stand-in for a site."""

from typing import Annotated

import typer

from hikkoshi.cli import terminal
from hikkoshi.cli.terminal import AsJson

app = typer.Typer(help="The stand-in for a site: a real guest image on a Dom-0's disk, a real vSphere simulator.")
xen = typer.Typer(help="A real Xen with a real Dom-0 and two running guests, in QEMU: built once, as root, then up in seconds.")
app.add_typer(xen, name="xen")


@app.command("up")
def up(as_json: AsJson = False) -> None:
    """Build the demo guests and start vSphere's stand-in; what is there already stays."""
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi_lab import lab  # noqa: PLC0415 - late: --help and completion answer at once

    lab.up(Home.find(), _unsaid if as_json else terminal.say)
    if as_json:
        _status(as_json)


@app.command("down")
def down(as_json: AsJson = False) -> None:
    """End it and leave nothing behind but its keys, with which records are checked."""
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi_lab import lab  # noqa: PLC0415

    lab.down(Home.find(), _unsaid if as_json else terminal.say)
    if as_json:
        _status(as_json)


@app.command("status")
def status(as_json: AsJson = False) -> None:
    """Say what of it is up; ends with 1 where something is not."""
    raise typer.Exit(0 if _status(as_json) else 1)


@app.command("fault")
def fault(name: Annotated[str, typer.Argument(help="lro, swap, cut, or none to undo it")]) -> None:
    """Put a fault into the lab's network, or into its vSphere where that runs the gateway, for the runbooks to find."""
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi_lab import lab  # noqa: PLC0415

    terminal.say(lab.fault(Home.find(), name))


@xen.command("up")
def xen_up() -> None:
    """Start it; the first time it is made, which takes minutes."""
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi_lab import lab  # noqa: PLC0415
    from hikkoshi_lab.xen import machine  # noqa: PLC0415

    machine.up(lab.folder(Home.find()) / lab.XEN, terminal.say)


@xen.command("down")
def xen_down() -> None:
    """End it, with its disks; the next one begins anew."""
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi_lab import lab  # noqa: PLC0415
    from hikkoshi_lab.xen import machine  # noqa: PLC0415

    machine.down(lab.folder(Home.find()) / lab.XEN)
    terminal.say("Xen is down")


def _status(as_json: bool) -> bool:
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi_lab import lab  # noqa: PLC0415

    checks = lab.status(Home.find())
    if as_json:
        terminal.print_json([{"what": c.title, "up": c.ok, "found": c.found} for c in checks])
    else:
        terminal.table(
            [{"": "up" if c else "down", "what": c.title, "found": c.found, "what to do": "" if c else c.remedy} for c in checks]
        )
    return all(checks)


def _unsaid(words: str) -> None:
    """What is said on the way when only the end is wanted."""
