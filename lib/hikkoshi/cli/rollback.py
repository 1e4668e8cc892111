"""The command by which a person says that the new machine is off: thin, like the rest of the command line."""

import sys
from datetime import UTC, datetime

from hikkoshi.cli import terminal
from hikkoshi.cli.completion import GuestName
from hikkoshi.cli.terminal import AsJson
from hikkoshi.errors import Problem, Refused, StepFailed


def confirm_off(guest: GuestName, as_json: AsJson = False) -> None:
    """Say that you have seen that a guest's new machine is off. A rollback that cannot ask vSphere needs this word.

    It asks you to type the machine's name. It counts for 30 minutes, and not beyond the next cut-over. A machine that answers no
    ping may well be on: look at it.
    """
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.record.engine import environment  # noqa: PLC0415
    from hikkoshi.run import byhand, confirmation  # noqa: PLC0415 - all imports here are late, as everywhere
    from hikkoshi.run.journal import Journal  # noqa: PLC0415

    home = Home.find()
    folder = home.folder(home.guest(guest).name)
    name = byhand.machine(home, guest)
    if not sys.stdin.isatty():
        raise Refused(
            Problem(
                code="no-terminal", what="nobody can be asked: this is no terminal", where=guest, remedy="run it in a terminal"
            )
        )
    out = sys.stderr if as_json else sys.stdout
    who = byhand.contractor(home, guest)
    seen = f"if {who} says that they see" if who else "if you have seen, in vCenter or on the ESXi host,"
    terminal.say(f"Only {seen} that {name} is off:", out)
    terminal.say(f"type its name, {name}, anything else not to: ", out, end="")
    if (typed := sys.stdin.readline().strip()) != name:
        raise Refused(
            Problem(
                code="nothing-confirmed",
                what="nothing was confirmed",
                where=guest,
                found=repr(typed),
                expected=repr(name),
                remedy=f"look that {name} is off, then run this again",
            )
        )
    word = confirmation.Confirmation(guest=guest, machine=name, by=environment.operator(), time=datetime.now(UTC))
    try:
        word.save(folder)
    except OSError as e:
        by_hand = byhand.order(home, guest, "your word cannot be kept", confirm=False)
        raise StepFailed(
            Problem(
                code="word-not-kept",
                what="your word cannot be kept",
                where=str(folder),
                found=e.strerror or str(e),
                remedy=f"make room there and say it again; or go on {by_hand.remedy}",
            )
        ) from None
    Journal(folder.journal, rescue=True).append("confirmed-off", **word.model_dump(mode="json"))
    if as_json:
        terminal.print_json(word.model_dump(mode="json"))
    else:
        terminal.say(f"{word}. Now: {byhand.AGAIN.format(guest)}")
