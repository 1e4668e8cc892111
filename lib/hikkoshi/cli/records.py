"""The command that verifies records: thin, like the rest of the command line."""

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hikkoshi.cli import terminal
from hikkoshi.cli.terminal import AsJson
from hikkoshi.errors import BadInput, Problem


def verify(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", help="a record, a guest's records, or all \\[default: outputs/records]")
    ] = None,
    *,
    allowed_signers: Annotated[
        Path | None, typer.Option(help="who may sign what; from somebody you trust \\[default: the site's]")
    ] = None,
    revoked: Annotated[Path | None, typer.Option(help="keys that are good no more")] = None,
    time_stamp_ca: Annotated[Path | None, typer.Option(help="certificate authority of the time stamp service")] = None,
    as_json: AsJson = False,
) -> None:
    """Verify sealed records: every byte, signature, chain and the register. All that is wrong is told; writes nothing.

    Ends with 1 where anything is wrong. With PATH and --allowed-signers it needs no parameters, only the records.
    """
    from hikkoshi.approval import approver  # noqa: PLC0415
    from hikkoshi.approval.signature import Trust  # noqa: PLC0415
    from hikkoshi.params.forms import can_be_guest  # noqa: PLC0415
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.record import missing, seal, verification  # noqa: PLC0415

    trust, waiting = Trust(allowed_signers, revoked) if allowed_signers else None, list[str]()
    gone: list[Problem] = []
    if path is None or trust is None:
        home = Home.find()
        if path is None:
            path = home.records()
            folders = [folder.name for folder in home.folders()]  # also without parameters
            names = sorted(filter(can_be_guest, folders))
            for guest in names:
                with contextlib.suppress(BadInput):  # of a journal that cannot be read: told below
                    waiting += [f"{guest}/{run}" for run in seal.waiting(home, guest)]
            gone = list(missing.check(home))
        if trust is None:
            signing, trust = home.site().signing, approver.trust(home, home.site())
            trust = Trust(trust.allowed, revoked or trust.revoked)
            time_stamp_ca = time_stamp_ca or (home.path(signing.time_stamp_ca) if signing.time_stamp_ca else None)
    with terminal.bar(f"verifying {path}") as progress:
        found = verification.verify(path, trust, time_stamp_ca, progress=progress)
    found = replace(found, register=(*found.register, *gone))
    if as_json:
        terminal.print_json({**found.plain(), "not_sealed": waiting})
    else:
        terminal.table([r.row() for r in found.records])
        unsealed = [f"{run} has ended and is not sealed: the guest's next run does it" for run in waiting]
        for note in (*found.notes, *unsealed):
            terminal.say(f"note: {note}")
        for n, problem in enumerate(found.problems, 1):
            terminal.say(f"{n}. {problem}".replace("\n", "\n   "), sys.stderr)
    raise typer.Exit(1 if found.problems else 0)


def acknowledge(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="a record that was sealed unsigned")],
    *,
    because: Annotated[str, typer.Option(metavar="WORDS", help="why it is, on one line")],
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="your key \\[default: signing.key in params/site.yml]")] = None,
    as_json: AsJson = False,
) -> None:
    """Sign that you know of a record that nobody signed, since there was no key yet; `hikkoshi verify` tells it apart then.

    For records that are as they were sealed, and only unsigned: ends with 3 for every other. Any later change voids it.
    """
    from hikkoshi.approval import approver  # noqa: PLC0415
    from hikkoshi.errors import Refused  # noqa: PLC0415
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.record import acknowledgement, attestation, verification  # noqa: PLC0415
    from hikkoshi.run.journal import Journal  # noqa: PLC0415

    home = Home.find()
    found = verification.verify(record, approver.trust(home, home.site())).records[0]
    flaws = "; ".join(p.what for p in found.problems) or found.acknowledged or "it is signed and good"
    unsigned = found.info.get("Sealed-By", "").startswith("nobody: ")
    if found.path != record.resolve() or [p.code for p in found.problems] != [attestation.UNSIGNED] or not unsigned:
        raise Refused(
            Problem(
                code="not-to-be-acknowledged",
                what="this is not to be acknowledged",
                where=str(record),
                found=flaws,
                expected="unsigned, and nothing else",
                remedy="see what hikkoshi verify tells of it: this is for records that were sealed without a key, and for "
                "nothing else",
            )
        )
    own = key.expanduser().absolute() if key else home.path(home.site().signing.key)
    given = acknowledgement.give(home, found.path, found.identifier, own, because, ask=sys.stdin.isatty())
    guest, _, name = found.identifier.partition("/")
    if found.path == home.outputs.resolve() / "records" / guest / name:
        said = {"by": given.by, "because": given.because, "sha256": given.sha256}
        Journal(home.folder(guest).journal).append("acknowledged", of=name, **said)
    if as_json:
        terminal.print_json({"record": found.identifier, "by": given.by, "because": given.because, "sha256": given.sha256})
    else:
        terminal.say(f"{found.identifier}: {given}")
