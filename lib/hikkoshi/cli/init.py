"""The command that makes a site folder: thin, like the rest of the command line."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hikkoshi.cli import terminal
from hikkoshi.cli.terminal import AsJson
from hikkoshi.errors import BadInput, HikkoshiError, Problem
from hikkoshi.run.step import PLAN

if TYPE_CHECKING:
    from hikkoshi.cli.answers import VSphereOptions
    from hikkoshi.cli.questions import Questions
    from hikkoshi.params.home import Home
    from hikkoshi.sitefolder.signers import PublicKey
    from hikkoshi.sitefolder.sources import SourceGuest

_SITE, _SCHEMAS = Path("params/site.yml"), Path("params/schema")
_REMEDIES = {  # {code of an error of vSphere's: what to do about it where there is no params/site.yml yet}
    "vsphere-login-rejected": "give another --user, or correct the secret that --password-from points to",
    "vsphere-certificate-differs": "make sure that this is the right server, then correct --ca, --sha256 or --vcenter",
    "vsphere-name-unknown": "correct --vcenter",
    "vsphere-unreachable": "correct --vcenter, or see whether it can be reached from here; one that answers 503 may be starting: "
    "try again in some minutes",
    "vsphere-version-unknown": "correct --vcenter",
    "ca-file-unusable": "correct --ca",
}


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="a folder of your own, new or not, outside any checkout")],
    *,
    dom0: Annotated[
        list[str] | None, typer.Option(metavar="NAME=WHERE", help="a Dom-0: here, FOLDER or ssh:\\[user@]host\\[:port]")
    ] = None,
    vcenter: Annotated[str, typer.Option(metavar="HOST", help="vCenter or ESXi host, with :PORT where it is not 443")] = "",
    user: Annotated[str, typer.Option(help="its user")] = "",
    password_from: Annotated[str, typer.Option(metavar="WHERE", help="env:NAME, file:PATH or keyring:SERVICE/USER")] = "",
    ca: Annotated[str, typer.Option(metavar="FILE", help="the authority (PEM) that signed its certificate")] = "",
    sha256: Annotated[str, typer.Option(metavar="FP", help="its certificate's own fingerprint, in the place of --ca")] = "",
    datacenter: Annotated[str, typer.Option(help="where it has several")] = "",
    cluster: Annotated[str, typer.Option(help="where it has several")] = "",
    datastore: Annotated[str, typer.Option(help="where it has several")] = "",
    contractor: Annotated[
        str, typer.Option(metavar="WHO", help="who runs the vSphere, where you have no account on it: name and telephone")
    ] = "",
    key: Annotated[str, typer.Option(metavar="PUB", help="your public key, in the place of a new one")] = "",
    guest: Annotated[list[str] | None, typer.Option(metavar="NAME", help="this guest only; may be given again")] = None,
    as_json: AsJson = False,
) -> None:
    """Look at the Dom-0s and the vSphere, and write a folder for the migration: the site, its guests, who may sign.

    It asks for what is not given. It changes no file that is there, and writes no secret. A NIC is matched to a port group by
    its VLAN; what is not known stands there as a line with FILL IN. Run again, it adds the files of new guests.
    """
    from hikkoshi.cli.answers import VSphereOptions  # noqa: PLC0415 - all imports here are late: --help answers at once
    from hikkoshi.cli.questions import Questions  # noqa: PLC0415
    from hikkoshi.params.home import Home  # noqa: PLC0415
    from hikkoshi.sitefolder import folder as site_folder  # noqa: PLC0415

    home = Home(Path(os.path.normpath(site_folder.named(folder))))
    site_folder.check(home.root)
    questions = Questions(sys.stdin.isatty() and not as_json)
    given = VSphereOptions(vcenter, user, password_from, ca, sha256, datacenter, cluster, datastore, contractor)
    try:
        if home.site_file.exists():
            told = _more_guests(home, questions, dom0 or [], guest or [])
        else:
            told = _new(home, questions, given, dom0 or [], key, guest or [])
    except HikkoshiError:
        if questions.typed:
            terminal.say(f"What you typed, as options: {shlex.join(questions.typed)}\n", sys.stderr)
        raise
    if as_json:
        terminal.print_json(told)
        return
    headings = {"made": "Written", "kept": "Was there, and stays", "unread": "Not looked at", "open": "To fill in"}
    for name, heading in headings.items():
        if told[name]:
            terminal.say("\n  ".join([f"{heading}:", *told[name]]))
    terminal.say("\n  ".join(["Next:", *told["next"]]))


def _new(
    home: "Home", questions: "Questions", given: "VSphereOptions", dom0: Sequence[str], key: str, wanted: Sequence[str]
) -> dict[str, Any]:
    """A folder without params/site.yml gets all that it needs."""
    from hikkoshi.cli import answers  # noqa: PLC0415
    from hikkoshi.params import schema  # noqa: PLC0415
    from hikkoshi.sitefolder import folder, mapping, pages, signers, sources  # noqa: PLC0415
    from hikkoshi.vsphere import inventory, session  # noqa: PLC0415
    from hikkoshi.vsphere.inventory import PortGroup  # noqa: PLC0415

    dom0s = answers.dom0s(questions, dom0)
    server = answers.vsphere(home, questions, given)
    public = answers.public_key(home, questions, key)
    questions.settled()
    assert server is not None
    every, unread = sources.every(home, dom0s)
    guests = sources.chosen(every, wanted, unread)
    site, groups = server, tuple[PortGroup, ...]()
    try:
        if not server.handover:
            with session.connect(home, server) as v:
                site, datacenter = answers.place(v, questions, given, server)
                questions.settled()
                groups = inventory.port_groups(v, datacenter)
    except HikkoshiError as e:
        if not any(p.code in _REMEDIES for p in e.problems):
            raise
        raise type(e)(*(replace(p, remedy=_REMEDIES.get(p.code, p.remedy)) for p in e.problems)) from None
    segments = mapping.of([nic.vlan for g in every for nic in g.nics], groups)
    if not segments and server.handover:
        raise BadInput(
            Problem(
                code="no-vlan-known",
                what="of no NIC the VLAN is known, and nobody here can ask the contractor's vSphere",
                where=", ".join(dom0s),
                found="no bridge on a VLAN",
                expected="one bridge at least whose VLAN its Dom-0 tells",
                remedy="reach the Dom-0 itself (here, or over ssh), or write params/site.yml by hand, as the project's own is",
            )
        )
    if not segments:
        raise BadInput(
            Problem(
                code="no-port-group",
                what="vSphere has no port group that is one VLAN",
                where=f"{site.server}, {site.datacenter}",
                found=", ".join(map(str, groups)) or "no port group",
                expected="one for each VLAN that a guest's NIC is on",
                remedy="make them in vSphere, then run this again",
            )
        )
    with folder.draft(home.root) as drafted:
        own: PublicKey = public or signers.make(drafted)
        schema.write(drafted / _SCHEMAS)
        texts = {_file(g): pages.guest(g, {c.vlan: [c.name] for c in segments}) for g in guests}
        texts |= {
            _SITE: pages.site(home.root.name, own, site, dom0s, segments),
            Path("params/allowed_signers"): pages.signers(own),
        }
        folder.fill(drafted, texts, [g.name for g in guests])
        done = folder.publish(drafted, home.root)
    return _told(home, texts, done.made, done.kept, guests, unread)


def _more_guests(home: "Home", questions: "Questions", dom0: Sequence[str], wanted: Sequence[str]) -> dict[str, Any]:
    """A folder with params/site.yml gets the files of further guests; that one counts, and stays."""
    from hikkoshi.cli import answers  # noqa: PLC0415
    from hikkoshi.params import schema  # noqa: PLC0415
    from hikkoshi.sitefolder import folder, mapping, pages, sources  # noqa: PLC0415
    from hikkoshi.vsphere import inventory, session  # noqa: PLC0415
    from hikkoshi.vsphere.inventory import PortGroup  # noqa: PLC0415

    site, named = home.site(), answers.dom0s(questions, dom0) if dom0 else {}
    questions.settled()
    if foreign := [f"{name}: {place}" for name, place in named.items() if site.dom0s.get(name) != place]:
        raise BadInput(
            Problem(
                code="dom0-not-in-site",
                what="params/site.yml does not have this Dom-0, and it is never changed from here",
                where=str(home.site_file),
                found=", ".join(foreign),
                expected=", ".join(f"{name}: {place}" for name, place in site.dom0s.items()),
                remedy="write it there, below dom0s, then run this again; or leave --dom0 out",
            )
        )
    every, unread = sources.every(home, named or site.dom0s)
    wished = sources.chosen(every, wanted, unread)
    guests = [g for g in wished if not home.guest_file(g.name).exists()]
    names = mapping.names(site.segments)
    lines: list[str] = []
    if lacking := {n.vlan for g in guests for n in g.nics if n.vlan is not None} - set(names):
        groups: tuple[PortGroup, ...] = ()
        if not site.vsphere.handover:
            with session.connect(home, site.vsphere) as v:
                groups = inventory.port_groups(v, inventory.place(v, site.vsphere).datacenter)
        found = [pages.segment(choice, theirs=site.vsphere.handover) for choice in mapping.choices(lacking, groups)]
        more = [line.strip() for lines in found for line in lines]
        lines = [f"{_SITE}, below segments: {line}" for line in more]
    texts = {_file(g): pages.guest(g, names) for g in guests}
    with folder.draft(home.root) as drafted:
        if not (home.root / _SCHEMAS).is_dir():
            schema.write(drafted / _SCHEMAS)
        folder.fill(drafted, texts | {_SITE: home.site_file.read_text(encoding="utf-8")}, [g.name for g in guests])
        done = folder.publish(drafted, home.root)
    kept = [*done.kept, *(_file(g) for g in wished if g not in guests)]
    told = _told(home, texts, done.made, kept, wished, unread)
    return {**told, "open": [*lines, *told["open"]]}


def _told(
    home: "Home",
    texts: Mapping[Path, str],
    made: Sequence[Path],
    kept: Sequence[Path],
    guests: "Sequence[SourceGuest]",
    unread: Sequence[str],
) -> dict[str, Any]:
    """What was done, what is left to a person, and what to do next."""
    from hikkoshi.sitefolder import pages, signers  # noqa: PLC0415

    left = {path: pages.open_lines(path, texts[path]) for path in made if path in texts}
    first = min(guests, key=lambda g: (_file(g) not in made, len(left.get(_file(g), ()))))
    change = f"cd {shlex.quote(str(home.root))}"
    if os.environ.get("HIKKOSHI_HOME"):
        change += "; unset HIKKOSHI_HOME"
    look = "hikkoshi doctor"
    if signers.OWN in made:  # it has a passphrase, as a rule
        agent = "" if os.environ.get("SSH_AUTH_SOCK") else "eval $(ssh-agent); "
        look = f"{agent}ssh-add {signers.OWN}; {look}"
    return {
        "folder": str(home.root),
        "made": sorted(str(home.root / path) for path in made),
        "kept": sorted(str(home.root / path) for path in kept),
        "unread": list(unread),
        "open": [line for lines in left.values() for line in lines],
        "next": [change, look, f"hikkoshi run {first.name} --through {PLAN}"],
    }


def _file(guest: "SourceGuest") -> Path:
    return Path("params/guests", f"{guest.name}.yml")
