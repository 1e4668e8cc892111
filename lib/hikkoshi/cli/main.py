"""The command line: thin. Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 refused; 128 + signal when stopped."""

import atexit
import contextlib
import gc
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hikkoshi import files
from hikkoshi.cli import (
    completion,
    fleet,
    handover,
    init,
    jupyter,
    machines,
    network,
    records,
    rollback,
    standing,
    support,
    terminal,
)
from hikkoshi.cli.completion import FirstStep, GuestName, LastStep, OnlyStep, selected
from hikkoshi.cli.terminal import AsJson
from hikkoshi.errors import HikkoshiError, Problem, StepFailed, printable
from hikkoshi.run.step import CUTOVER

app = typer.Typer(
    help="Moves Xen guests to VMware vSphere, proves the result and leaves a record.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
vmdk = typer.Typer(help="VMDK streams, as vSphere's import takes them.")
app.add_typer(vmdk, name="vmdk", no_args_is_help=True)
app.add_typer(fleet.fleet, name="fleet", no_args_is_help=True)
app.add_typer(network.netperf, name="netperf", no_args_is_help=True)
app.command()(network.diagnose)
app.command()(network.outage)
app.command()(network.undo_remedy)
app.command()(network.host_offloads)
app.command()(records.verify)
app.command()(records.acknowledge)
app.command()(machines.machines)
app.command()(handover.handover)
app.command()(rollback.confirm_off)
app.command()(init.init)
app.command()(standing.status)
app.command()(support.bundle)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(jupyter.jupyter)
for _more in metadata.entry_points(group="hikkoshi.commands"):  # the lab's: nothing here knows it
    app.add_typer(_more.load(), name=_more.name, no_args_is_help=True)


@app.command()
def run(
    guests: Annotated[
        list[str], typer.Argument(help="names of guests: params/guests/NAME.yml", autocompletion=completion.guests)
    ],
    *,
    first: FirstStep = None,
    last: LastStep = None,
    only: OnlyStep = None,
    apply: Annotated[bool, typer.Option("--apply", help="act; without it, look and change nothing")] = False,
    at: Annotated[
        str | None, typer.Option(metavar="22:30", help="with --only 70 --apply: look now, wait until then, look again, act")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="guests at once")] = 2,
    as_json: AsJson = False,
) -> None:
    """Take guests through the steps 10-survey to 60-deploy, or as far as asked; a step may be given by its number.

    The cut-over (70), measurement (80), its remedy (85) and the report (90) come only with --through or --only, the rollback
    only with --only 75. To resume, run the same command again.
    """
    with _loading():
        from hikkoshi.fleet import appointment, local, sequence  # noqa: PLC0415
        from hikkoshi.fleet.console import Console  # noqa: PLC0415
        from hikkoshi.fleet.fleet import Fleet, summary, worst  # noqa: PLC0415
        from hikkoshi.fleet.task import Document, Task, ended  # noqa: PLC0415
        from hikkoshi.params.home import Home  # noqa: PLC0415
        from hikkoshi.record.engine import forked  # noqa: PLC0415
        from hikkoshi.run import byhand  # noqa: PLC0415

        forked.load()

    home = Home.find()
    steps = selected(first, last, only)
    if at and (steps != [CUTOVER.id] or not apply or len(set(guests)) > 1):
        raise typer.BadParameter(f"it is for --only {CUTOVER.number} --apply of one guest", param_hint="--at")
    now = datetime.now().astimezone()
    until = appointment.at(at, now) if at else None
    guests = list(dict.fromkeys(guests))
    for guest in guests:
        with byhand.told(home, guest, steps[0]):
            home.guest(guest)
    out = sys.stderr if as_json else sys.stdout
    if len(guests) == 1:
        console = Console(out, redraw=out.isatty())
        outcomes = sequence.walk(home, guests[0], steps, "apply" if apply and not until else "plan", console)
        if until and not outcomes[-1].exit_code:
            appointment.wait(until, console, lambda: datetime.now(until.tzinfo))
            outcomes += sequence.walk(home, guests[0], steps, "apply", console)
        code, done = outcomes[-1].exit_code, [o.plain() for o in outcomes]
        documents: list[dict[str, Any]] = [{"guest": guests[0], "exit_code": code, "steps": done}]
        if outcomes[-1].error:
            terminal.say(f"\n{outcomes[-1].error}: {outcomes[-1].message}", sys.stderr)
    else:
        told: dict[str, Document] = {}
        many = Fleet(home, local.Local(home, jobs, lambda line: terminal.say(line, out)), lambda t, d: told.update({t.guest: d}))
        late = many.run([[Task(guest, tuple(steps), apply)] for guest in guests])
        told |= {task.guest: ended(task, 128 + many.signum, "not started") for task in late}
        documents = [told[guest] for guest in guests]
        terminal.table(summary(documents), out)
    code = worst([d["exit_code"] for d in documents])
    if as_json:
        terminal.print_json({"exit_code": code, "guests": documents})
    raise typer.Exit(code)


@app.command()
def approve(
    guest: GuestName,
    *,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the approver's key \\[default: signing.key in params/site.yml]")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="the page was read: sign without asking for the name")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a guest's plan would do, and sign it. Without that nothing is done that its users notice (70, 85).

    Ends with 3 where what was signed counts for nothing here, such as the operator's own word where two persons are asked for.
    """
    from hikkoshi.approval import approval, approver, proposal  # noqa: PLC0415
    from hikkoshi.approval.plan import Plan  # noqa: PLC0415
    from hikkoshi.errors import Problem, Refused  # noqa: PLC0415
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.report.language import spoken  # noqa: PLC0415
    from hikkoshi.run import duration  # noqa: PLC0415
    from hikkoshi.run.journal import Journal  # noqa: PLC0415

    home = Home.find()
    folder = home.folder(home.guest(guest).name)
    plan = Plan.load(folder)
    by = approver.of(home, guest, key.expanduser().absolute() if key else home.path(home.site().signing.key))
    subject = approval.to_approve(home, guest, plan)
    _, of_check = spoken(home.site().lang)
    page = proposal.page(home, guest, plan, duration.seconds(Journal(folder.journal).entries()), _, of_check)
    out = sys.stderr if as_json else sys.stdout
    terminal.say(page, out)
    terminal.say(_("You approve as {who} ({key}).").format(who=by.principal, key=by.fingerprint), out)
    if by.doubt:
        terminal.say(_("As things are here it will count for nothing: {why}.").format(why=by.doubt), out)
    asked = sys.stdin.isatty()
    if not yes:
        remedy = f"run it in a terminal, or, where somebody has read the page: hikkoshi approve {guest} --yes"
        if not asked:
            raise Refused(
                Problem(code="no-terminal", what="nobody can be asked: this is no terminal", where=guest, remedy=remedy)
            )
        terminal.say(_("Type the guest's name to approve this page, anything else not to: "), out, end="")
        if (typed := sys.stdin.readline().strip()) != guest:
            raise Refused(
                Problem(
                    code="nothing-approved",
                    what="nothing was approved",
                    where=guest,
                    found=repr(typed),
                    expected=repr(guest),
                    remedy="approve it when it is right",
                )
            )
    given = approval.give(home, guest, plan, page, by, of=subject, ask=asked)
    worth = next(a for a in approval.judged(home, guest, plan) if a.path == given.path)
    if as_json:
        terminal.print_json({**worth.plain(), "counts": not worth.flaw})
    else:
        terminal.say(_("It was signed, and does not count here: {why}").format(why=worth.flaw) if worth.flaw else worth)
        terminal.say(given.path)
    raise typer.Exit(Refused.exit_code if worth.flaw else 0)


@app.command()
def doctor(
    *,
    site: Annotated[
        bool, typer.Option("--site", help="ask vSphere instead: room before and after all planned guests, and each segment")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What this machine and the site's parameters lack, and what to do about it; ends with 1 where a row says MISSING.

    It ends with 2 where nothing is MISSING and a line of the parameters still says FILL IN. What says `missing` in small
    letters is needed for some things only, which its row names. With --site, it ends with 1 where a port group is not the VLAN
    that params/site.yml has.
    """
    from hikkoshi.cli import doctor  # noqa: PLC0415
    from hikkoshi.errors import BadInput  # noqa: PLC0415
    from hikkoshi.params.home import Home  # noqa: PLC0415

    try:
        home: Home | BadInput = Home.find()
    except BadInput as e:
        home = e
    if site:
        tables = doctor.site(home if isinstance(home, Home) else Home.find())
        if as_json:
            terminal.print_json(tables)
        else:
            for rows in tables.values():
                terminal.table(rows)
        raise typer.Exit(1 if any(row[""] == "red" for row in tables["segments"]) else 0)
    found = list(doctor.findings(home))
    if as_json:
        terminal.print_json([f.plain() for f in found])
    else:
        terminal.table([f.row() for f in found])
    lacking = [f for f in found if not f.ok]
    unfilled = BadInput.exit_code if any(f.asked for f in lacking) else 0
    raise typer.Exit(1 if any(f.required for f in lacking) else unfilled)


@app.command()
def convert(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SRC", help="raw image, block device, ssh://\\[user@]host\\[:port]/path of either, or NAME.xva"),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="DST.vmdk", help="file to make, DST-2.vmdk for a second disk; - for none, with --import")
    ],
    *,
    small: Annotated[bool, typer.Option("--small", help="some 7 % smaller, at half the speed")] = False,
    format: Annotated[
        Literal["raw", "qcow2", "vhd", "xva"] | None,
        typer.Option(help="what SRC is; never guessed, for a guest can write any header. Default: raw, and xva for NAME.xva"),
    ] = None,
    vdev: Annotated[str, typer.Option("--disk", metavar="xvda", help="only this disk of an XVA; default: all")] = "",
    partitions: Annotated[
        bool, typer.Option("--partitions", help="SRC … are the partitions xvda1, xvda2, … of one disk")
    ] = False,
    machine: Annotated[
        str | None, typer.Option("--import", metavar="NAME", help="send it to the site's vSphere, too, as a machine without NICs")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a VMDK of a disk, send it to vSphere, or both in one pass. The disk is only read."""
    from hikkoshi.disk import transfer  # noqa: PLC0415

    file = None if str(target) == "-" else target
    if file is None and machine is None:
        raise typer.BadParameter("- keeps no file, which only makes sense with --import", param_hint="DST.vmdk")
    with contextlib.ExitStack() as stack:
        disks = stack.enter_context(transfer.opened(sources, format, partitions=partitions, vdev=vdev))
        level: Literal["fast", "small"] = "small" if small else "fast"
        done: list[transfer.Done] = []
        if machine is None:
            for disk, name in zip(disks, transfer.targets(target, disks), strict=True):
                with terminal.bar(f"converting {disk.name}") as progress:
                    done.append(transfer.convert(disk, name, level=level, progress=progress))
                if not as_json:
                    terminal.table(done[-1].rows())
        else:
            from hikkoshi.cli import delivery  # noqa: PLC0415
            from hikkoshi.params.home import Home  # noqa: PLC0415
            from hikkoshi.vsphere import session  # noqa: PLC0415

            disk = transfer.only(disks)
            home = Home.find()
            v = stack.enter_context(session.connect(home, home.site().vsphere))
            with terminal.bar(f"sending {disk.name}") as progress:
                done.append(delivery.send(v, home, disk, machine, file, level=level, progress=progress))
            if not as_json:
                terminal.table(done[-1].rows())
    if as_json:
        terminal.print_json(done[0].plain() if len(done) == 1 else {"disks": [one.plain() for one in done]})


@vmdk.command("check")
def vmdk_check(file: Annotated[Path, typer.Argument(metavar="FILE", help="a sparse VMDK")], as_json: AsJson = False) -> None:
    """Decode every grain, follow every marker and table, and list what is wrong by offset; ends with 1 where anything is."""
    from hikkoshi.disk import grains  # noqa: PLC0415

    with terminal.bar(f"checking {file}") as progress:
        found = grains.examine(file, sha256=True, progress=progress)
    if as_json:
        terminal.print_json({"file": str(file), **found.plain()})
    else:
        terminal.table(found.rows())
    raise typer.Exit(1 if found.flaws else 0)


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Nothing that is loaded is rubbish: to look for some among it takes a sixth of the time, and to look again more."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def _unexpected(e: BaseException) -> str:
    """Keep the whole story of an error that nobody foresaw; the line that tells of it."""
    story = printable(_without_secrets("".join([" ".join(sys.argv), "\n", *traceback.format_exception(e)])))
    told = f"an error that nobody foresaw: {type(e).__name__}: {e} · the whole story is in {_kept(story)}"
    return _without_secrets(told)


def _kept(story: str) -> str:
    """Write it where only this user reads it; in the folder for temporary files under a name that nobody can foresee."""
    from hikkoshi import files  # noqa: PLC0415
    from hikkoshi.params.home import Home  # noqa: PLC0415

    with contextlib.suppress(HikkoshiError, OSError):  # no home; a full disk, or a folder of others
        log = Home.find().outputs / "logs" / f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}-{os.getpid()}.log"
        files.write(log, story)
        return str(log)
    try:
        handle, name = tempfile.mkstemp(prefix="hikkoshi-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as f:
            f.write(story)
    except OSError as e:
        return f"no file: {e.strerror}"
    return name


def _without_secrets(text: str) -> str:
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.secret import masking  # noqa: PLC0415

    try:
        return masking.Mask(Home.find().secrets()).text(text)
    except HikkoshiError:
        return text  # no site, no secrets


def _stop(signum: int, frame: object) -> None:
    from hikkoshi.record.engine.interruption import Stopped  # noqa: PLC0415

    raise Stopped(signum)


def _told(e: HikkoshiError) -> int:
    """The exit code of what has been told."""
    message = _without_secrets(str(e))
    terminal.say(message, sys.stderr)
    if "--json" in sys.argv:
        terminal.print_json({"exit_code": e.exit_code, "error": type(e).__name__, "message": message})
    return e.exit_code


def _shut(e: OSError) -> StepFailed:
    return StepFailed(
        Problem(
            code="file-shut",
            what="the system does not let this file or folder be used",
            where=str(e.filename),
            found=str(e.strerror),
            expected="a file system with room, and the right to read and write there",
            remedy="make room, or give yourself the right; then run the same command again",
        )
    )


def main() -> None:
    """Entry point."""
    gc.set_threshold(50_000)  # objects: a command loads much and throws little away; to look for rubbish takes a quarter of
    atexit.register(gc.freeze)  # its start and of its end
    os.umask(0o077)  # what we make is for whoever made it
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, _stop)
    try:
        app()
    except HikkoshiError as e:
        sys.exit(_told(e))
    except BrokenPipeError:
        os._exit(128 + signal.SIGPIPE)  # whoever read us has gone: `hikkoshi status | head -1`
    except Exception as e:
        if isinstance(e, OSError) and e.errno in files.SHUT and e.filename:
            sys.exit(_told(_shut(e)))
        terminal.say(_unexpected(e), sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
