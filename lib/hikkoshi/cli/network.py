"""The commands that measure and diagnose a network, and take a remedy back: thin, like the rest of the command line."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hikkoshi.cli import terminal
from hikkoshi.cli.completion import GuestName
from hikkoshi.cli.terminal import AsJson
from hikkoshi.secret import temporary

if TYPE_CHECKING:
    from hikkoshi.steps.offloads import Offloads

netperf = typer.Typer(help="Throughput: run netperf, read what it printed, compare two paths.")
HOST = "here, ssh://\\[user@]host or netns:PATH"


@netperf.command("run")
def run(
    client: Annotated[str, typer.Argument(metavar="CLIENT", help=f"where netperf runs: {HOST}")],
    server: Annotated[str, typer.Argument(metavar="ADDRESS", help="address at which netserver listens")],
    *,
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="length of the run")] = 10,
    link: Annotated[
        float | None, typer.Option(min=1, help="rate of the slowest link, 10^6 bits/s: what it cannot carry is refused")
    ] = None,
    raw: Annotated[Path | None, typer.Option(help="file to keep what netperf printed in, as it was")] = None,
    as_json: AsJson = False,
) -> None:
    """Run netperf once. Runbook 80 measures a guest's two paths in turn, with a verdict."""
    from hikkoshi import files  # noqa: PLC0415 - all imports here are late: --help and completion answer at once
    from hikkoshi.network import host  # noqa: PLC0415
    from hikkoshi.network.throughput import netperf as tool  # noqa: PLC0415
    from hikkoshi.network.throughput.units import rows  # noqa: PLC0415

    made = tool.run(host.parse(client), server, seconds=seconds, link=link * 1e6 if link else None)
    if raw:
        files.write(raw, made.text)
    if as_json:
        terminal.print_json(made.plain())
    else:
        terminal.table(rows(made.measurement))
    if made.check is not None and not made.check:
        terminal.say(made.check.problem(), sys.stderr)
        raise typer.Exit(1)


@netperf.command("parse")
def parse(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="what netperf or iperf3 -J printed, a run each")],
    *,
    command: Annotated[
        str, typer.Option(help="the command line, or the letter of its -f, for output that does not say its unit")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Read outputs of netperf 2.4 to 2.7 and iperf3, in any of their forms; the unit stays with the value."""
    from hikkoshi.errors import BadInput, HikkoshiError, Problem  # noqa: PLC0415
    from hikkoshi.network.throughput import netperf_output  # noqa: PLC0415
    from hikkoshi.network.throughput.units import rows  # noqa: PLC0415

    found, problems = {}, []
    for file in files:
        try:
            found[str(file)] = netperf_output.parse(file.read_text(encoding="utf-8", errors="replace"), command, str(file))
        except OSError as e:
            problems.append(
                Problem(
                    code="output-unreadable",
                    what="an output cannot be read",
                    where=str(file),
                    found=e.strerror or str(e),
                    remedy="correct the path",
                )
            )
        except HikkoshiError as e:
            problems += e.problems
    if as_json and not problems:
        terminal.print_json({name: m.plain() for name, m in found.items()})
    elif not as_json:
        for name, m in found.items():
            terminal.say(name)
            terminal.table(rows(m))
    if problems:
        raise BadInput(*problems)


@netperf.command("compare")
def compare(
    table: Annotated[Path, typer.Argument(metavar="TABLE.csv", help="columns run, path, throughput")],
    *,
    through: Annotated[str, typer.Option(help="name of the path in question")],
    direct: Annotated[str, typer.Option(help="name of the path to compare it with")],
    as_json: AsJson = False,
) -> None:
    """Say how much slower one path is than another, how surely, and the verdict: regressed, recovered, inconclusive."""
    from hikkoshi.network.compare import measurements, statistics  # noqa: PLC0415

    runs = measurements.read(table)
    found = statistics.compare(measurements.runs(runs, through), measurements.runs(runs, direct))
    if as_json:
        terminal.print_json(asdict(found))
    else:
        terminal.table([{str(k): str(v) for k, v in row.items()} for row in found.table().to_dict("records")])


def diagnose(
    address: Annotated[str, typer.Argument(metavar="HOST", help=f"the guest's shell: {HOST}")],
    *,
    client: Annotated[str | None, typer.Option(help="where netperf runs, for a load through the guest")] = None,
    server: Annotated[str | None, typer.Option(help="address of netserver behind it")] = None,
    seconds: Annotated[int, typer.Option(min=1, max=600, help="of load, or of waiting where users are the load")] = 5,
    as_json: AsJson = False,
) -> None:
    """Name why a guest slows its network down, from its counters before and after some seconds of load. Changes nothing.

    Without --client and --server the traffic that there is is the load.
    """
    import time  # noqa: PLC0415

    from hikkoshi.network import host  # noqa: PLC0415
    from hikkoshi.network.diagnosis import collection, diagnosis  # noqa: PLC0415
    from hikkoshi.network.throughput import netperf as tool  # noqa: PLC0415

    if (client is None) != (server is None):
        raise typer.BadParameter("a load needs both --client and --server")
    source = host.parse(client) if client else None

    def load() -> None:
        if source and server:
            tool.run(source, server, seconds=seconds)
        else:
            time.sleep(seconds)

    seen = collection.around(host.parse(address), load, client=source)
    found = diagnosis.diagnose(*seen.guest, client=seen.client)
    if as_json:
        terminal.print_json(json.loads(found.model_dump_json()))
    else:
        terminal.say(found.plain())
    if seen.failure:
        terminal.say(f"\nthe load could not be put on: {seen.failure}", sys.stderr)
        raise typer.Exit(1)


def outage(
    targets: Annotated[list[str], typer.Argument(metavar="NAME=ADDRESS", help="a segment and an address to ping there")],
    *,
    seconds: Annotated[int, typer.Option(min=1, max=14400, help="how long, unless stopped by Ctrl-C")] = 60,
    as_json: AsJson = False,
) -> None:
    """Ping every segment 20 times a second, and tell which was out, from when and for how long."""
    import time  # noqa: PLC0415

    from hikkoshi.errors import Interrupted  # noqa: PLC0415
    from hikkoshi.network.outage import meter, metering  # noqa: PLC0415

    named = meter.targets(targets)
    with temporary.folder("outage") as folder:
        with metering.measuring(named, folder / "outage.jsonl") as running, contextlib.suppress(Interrupted):
            time.sleep(seconds)
        found = running.stop()
    if as_json:
        terminal.print_json(json.loads(found.model_dump_json()))
    else:
        terminal.table([{k: str(v) for k, v in row.items()} for row in found.rows()])


def undo_remedy(
    guest: GuestName,
    *,
    apply: Annotated[bool, typer.Option("--apply", help="undo it; else it is only looked at")] = False,
    as_json: AsJson = False,
) -> None:
    """Take back what 85-offloads changed in a guest: every flag, and every file that nobody has changed since.

    Needs an approval that counts, as the remedy did, and the guest in service in vSphere. It is a run of 85, and is recorded.
    """
    with _run_of_85(guest, apply=apply, as_json=as_json) as offloads:
        run = offloads.run
        run.preflight(offloads.checks_of_change())
        run.ensure("undo the remedy", offloads.undone, offloads.take_back)
        run.verify([offloads.undone()])
        run.evidence(offloads.evidence_of_undo())


def host_offloads(
    guest: GuestName,
    *,
    host: Annotated[str, typer.Option(help="name of the ESXi host, typed by a person who has read what is on it")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="put back what there was before, instead of switching off")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="do it; else it is only looked at")] = False,
    as_json: AsJson = False,
) -> None:
    """Show LRO of the ESXi host on which a guest's machine is; with --apply and --host switch it off, for every VM on it.

    It is the last resort, where the guest itself cannot switch it off, and works once the host is restarted. Needs an approval
    that counts, and the guest in service in vSphere. With --apply it is a run of 85, and is recorded.
    """
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.vsphere import lro, session  # noqa: PLC0415

    home = Home.find()
    site = home.site(guest).vsphere
    with session.connect(home, site) as v:
        options = lro.HostOffloads(v, site, home.folder(home.guest(guest).name), host)
        if not apply:
            terminal.print_json(options.rows()) if as_json else terminal.table(options.rows())
            return
        with _run_of_85(guest, apply=True, as_json=as_json) as offloads:
            run, holds, act = offloads.run, options.off, options.switch_off
            if undo:
                holds, act = options.as_before, options.put_back
            run.preflight(offloads.checks_of_change())
            run.ensure("the host's LRO", holds=holds, act=lambda _: act(run.permit()))
            run.verify([holds()])
            run.evidence([run.folder.host_offloads, *run.approvals()])


@contextlib.contextmanager
def _run_of_85(guest: str, *, apply: bool, as_json: bool) -> Iterator["Offloads"]:
    """A run of 85 that is no notebook: opened, released whatever happens, sealed, and its rows told."""
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.record import seal  # noqa: PLC0415
    from hikkoshi.run.journal import Journal  # noqa: PLC0415
    from hikkoshi.run.run import named  # noqa: PLC0415
    from hikkoshi.run.step import OFFLOADS  # noqa: PLC0415
    from hikkoshi.steps.offloads import Offloads  # noqa: PLC0415

    home = Home.find()
    journal = Journal(home.folder(home.guest(guest).name).journal)
    while any(e.run == named(OFFLOADS.id) for e in journal.entries()):
        time.sleep(0.1)  # an earlier run began in this same second, and a record is of one run
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        run = Offloads.open({"guest": guest, "mode": "apply" if apply else "plan", "home": str(home.root)})
        outcome = "failed"
        terminal.say(run)
        try:
            yield Offloads(run)
            outcome = "completed"
        finally:
            run.close(outcome)
            record, why = seal.attempt(home, run.guest.name, run.id)
        terminal.say(f"sealed: {record}" if record else f"not sealed yet, the guest's next run tries again: {why}")
    if as_json:
        terminal.print_json([asdict(row) for row in run.rows])
