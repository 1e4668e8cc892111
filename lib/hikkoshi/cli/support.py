"""The command that packs what a helper needs: thin, like the rest of the command line."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hikkoshi.cli import terminal
from hikkoshi.cli.completion import GuestName
from hikkoshi.cli.terminal import AsJson


def bundle(
    guest: GuestName,
    *,
    to: Annotated[
        Path | None, typer.Option("-o", metavar="FILE", help="the file to make \\[default: a new one in outputs/bundles]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pack what somebody needs who helps you with a guest: parameters, journal, what failed, versions. Without secrets.

    It lists what is in it. It holds no disk, no key and no picture, but names and addresses of your site. Where a secret of
    the site is found in it, nothing is packed, and the place is told. It looks at this machine as `hikkoshi doctor` does.
    """
    from hikkoshi.cli import bundle  # noqa: PLC0415 - all imports here are late, as everywhere
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.sitefolder import folder  # noqa: PLC0415

    home = Home.find()
    file = home.outputs / "bundles" / f"hikkoshi-{guest}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    if to:
        file = to.expanduser().absolute()
        if not file.is_relative_to(home.outputs):
            folder.check(file.parent)  # in a checkout of the project git would show it, and soon hold it
    done = bundle.write(home, guest, file)
    if as_json:
        terminal.print_json({"file": str(done.file), "members": done.members, "not_searched_for": done.unread})
        return
    for member in done.members:
        terminal.say(member)
    for name in done.unread:
        terminal.say(f"note: what {name} points to cannot be read here, so nobody searched for it")
    terminal.say(f"Written to {done.file}")
