"""What this machine has of what is needed, with versions; each finding says what to do."""

import contextlib
import os
import platform
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hikkoshi import files, tool
from hikkoshi.approval import signatory
from hikkoshi.errors import BadInput, HikkoshiError
from hikkoshi.params.home import Home
from hikkoshi.record.engine.runbook import PACKAGED
from hikkoshi.rehearsal import unprivileged
from hikkoshi.run import privacy, status
from hikkoshi.run.step import DEPLOY, PLAN
from hikkoshi.secret import temporary
from hikkoshi.sitefolder import pages
from hikkoshi.xen.live import machines
from hikkoshi.xen.live.version import xen_version
from hikkoshi.xen.reach.kinds import asked

if TYPE_CHECKING:
    from hikkoshi.params.site import Segment

ROOM = 10 << 30  # bytes: copy, VMDK and rehearsal of the two guests of the lab need a third of it
DEBIAN = {  # {what: the package that has it, as Debian and Ubuntu call that, where it is another word}
    **{"qemu-img": "qemu-utils", "qemu-nbd": "qemu-utils", "qemu-system-x86_64": "qemu-system-x86 seabios ovmf"},
    **{"setpriv": "util-linux", "nsenter": "util-linux", "ssh": "openssh-client", "ssh-keygen": "openssh-client"},
    **{"mke2fs": "e2fsprogs", "arping": "iputils-arping", "ip": "iproute2", "nft": "nftables"},
    "libguestfs with its Python binding (Red Hat: python3-libguestfs)": "python3-guestfs supermin",
    "a kernel with its modules": "linux-image-amd64 (Ubuntu: linux-image-generic)",
    "Noto Sans CJK": "fontconfig fonts-noto-cjk",
}
PROGRAMS = (  # (program, arguments that print its version, what it is for, whether the main way needs it)
    ("qemu-img", ("--version",), "disk formats", True),
    ("qemu-system-x86_64", ("--version",), "the rehearsal", True),
    ("setpriv", ("--version",), "starts and ends every program", True),
    ("qemu-nbd", ("--version",), "disks in qcow2 and VHD", False),
    ("ssh", ("-V",), "a Dom-0 over ssh", False),
    ("ssh-keygen", (), "signatures of records and approvals", True),
    ("zstd", ("--version",), "initrds of Debian 12 and newer guests", False),
    ("lz4", ("--version",), "initrds of Ubuntu 19.10 to 21.04", False),
    ("mke2fs", ("-V",), "the lab's guests", False),
    ("openssl", ("version",), "the lab's certificate", False),
    ("netperf", ("-V",), "throughput, where this machine is an end of it", False),
    ("ethtool", ("--version",), "the lab's network; in guests: diagnosis and remedy", False),
    ("tcpdump", ("--version",), "the lab's network; in guests: the wiring witness", False),
    ("arping", ("-V",), "the lab's network; in guests: the wiring witness", False),
    ("ip", ("-V",), "the lab's network", False),
    ("nft", ("--version",), "the lab's network", False),
    ("nsenter", ("--version",), "the lab's network", False),
    ("virt-v2v", ("--version",), "a second reader of what we make (tests)", False),
)


@dataclass(frozen=True)
class Requirement:
    """One thing looked at. `required`: without it guests cannot be moved here. `asked`: a person has to fill it in."""

    title: str
    ok: bool
    found: str
    remedy: str = ""
    required: bool = True
    asked: bool = False

    def plain(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return asdict(self)

    def row(self) -> dict[str, str]:
        """The same as a row for a reader."""
        state = "ok" if self.ok else "MISSING" if self.required else "missing"
        return {"": state, "what": self.title, "found": self.found, "what to do": "" if self.ok else self.remedy}


def findings(home: Home | BadInput) -> Iterator[Requirement]:
    """Look at everything, the quick first; the probe of KVM boots a tiny machine. `home`: or why there is none."""
    yield Requirement("Python", True, f"{platform.python_version()}, {platform.platform(terse=True)}")
    for program, version, purpose, required in PROGRAMS:
        yield _program(program, version, purpose, required)
    yield _unprivileged()
    yield _guestfs()
    yield _kernel()
    yield _browser()
    yield _font()
    yield from _parameters(home)
    if isinstance(home, Home):
        yield _filled_in(home)
        yield _signatory(home)
        yield from _private(home)
        yield from _dom0s(home)
        yield from _vsphere(home)
        yield _room(home)
    yield _left()
    yield _kvm()


def site(home: Home) -> dict[str, list[dict[str, str]]]:
    """What each vSphere has: its capacity before and after all planned guests, and what each segment's port group is.

    Of one of `vspheres`, the segments that guests have there, or that name a port group there.
    """
    from hikkoshi.approval import capacity  # noqa: PLC0415 - the rest of the doctor is not to wait for it
    from hikkoshi.vsphere import inventory, session  # noqa: PLC0415

    params, tables = home.site(), dict[str, list[dict[str, str]]](capacity=[], segments=[])
    nics = [(guest, nic.segment) for guest in map(home.guest, home.guest_names()) for nic in guest.nics]
    for name in (None, *params.vspheres):
        to = params.towards(name)
        if to.vsphere.handover:
            continue
        with session.connect(home, to.vsphere) as v:
            place = inventory.place(v, to.vsphere)
            tables["capacity"] += [{"vSphere": str(to.vsphere)} | row for row in capacity.look(v, home, to, place, {}).rows()]
        for key, segment in to.segments.items():
            guests = Counter(guest.name for guest, on in nics if on == key and guest.vsphere == name)
            if name is None or guests or name in segment.port_groups:
                found, right = inventory.seen(place.port_groups, segment.port_group, segment.vlan)
                row = _segment(key, segment, found, guests)
                tables["segments"].append({"": "ok" if right else "red", "vSphere": str(to.vsphere)} | row)
    return tables


def _segment(name: str, segment: "Segment", found: str, guests: Counter[str]) -> dict[str, str]:
    return {
        "segment": name,
        "VLAN": str(segment.vlan),
        "port group": segment.port_group,
        "vSphere has": found,
        "NICs of guests": ", ".join(f"{g} ({n})" if n > 1 else g for g, n in guests.items()),
    }


def _dom0s(home: Home) -> Iterator[Requirement]:
    """Whether those over ssh answer, and each is a machine of its own. What is wrong with the parameters has rows of its own."""
    with contextlib.suppress(BadInput):
        site = home.site()
        yield from (Requirement(c.title, c.ok, c.found, c.remedy) for c in machines.checks(home, site))
        for name, dom0 in site.dom0s.items():
            if dom0.kind == "ssh":
                title = f"the Dom-0 {name} answers ({dom0})"
                try:
                    yield Requirement(title, True, xen_version(asked(dom0)))
                except HikkoshiError as e:
                    yield Requirement(title, False, f"{e.problems[0].what}: {e.problems[0].found}", e.problems[0].remedy)


def _vsphere(home: Home) -> Iterator[Requirement]:
    """That nobody asks a contractor's; another is asked by 20."""
    with contextlib.suppress(BadInput):
        for vsphere in (s for s in home.site().servers() if s.handover):
            found = f"run by {vsphere.contractor}: {PLAN} asks it nothing, {DEPLOY} writes what they import"
            yield Requirement(f"{vsphere} is not asked", True, found, required=False)


def _install(what: str) -> str:
    """What to do about something that is not there: a checkout has a set-up, a package that was installed has none."""
    debian = f"sudo apt-get install {DEBIAN.get(what, what)}" if PACKAGED.is_dir() else "run `make setup` in the project's folder"
    return f"{debian} (Debian, Ubuntu); elsewhere install {what}"


def _program(program: str, version: Sequence[str], purpose: str, required: bool) -> Requirement:
    title = f"{program} ({purpose})"
    try:
        path = tool.find(program)
    except HikkoshiError:
        return Requirement(title, False, "it is not installed", _install(program), required)
    words: list[str] = []
    with contextlib.suppress(HikkoshiError):  # it is there all the same, and setpriv has a row of its own
        printed = tool.run([program, *version], timeout=30, ok=range(256)) if version else None
        words = (printed.stdout.strip() or printed.stderr.strip()).splitlines() if printed else []
    return Requirement(title, True, words[0] if words else path, required=required)


def _unprivileged() -> Requirement:
    """As whom the programs run that meet what a guest made."""
    title, uid = "what a guest made meets programs without rights", unprivileged.user()
    if os.geteuid() != 0:
        return Requirement(title, True, "they have your own rights: you are not root", required=False)
    found = f"they run as user {uid}, which is nobody's" if uid else "they run as root: nobody may change the user here"
    remedy = "run Hikkoshi as an ordinary user, or in a container that has the capabilities SETUID and SETGID"
    return Requirement(title, uid is not None, found, remedy, required=False)


def _guestfs() -> Requirement:
    title = "libguestfs for Python (opens guest disks)"
    try:
        return Requirement(title, True, tool.guestfs_python())
    except HikkoshiError as e:
        package = "libguestfs with its Python binding (Red Hat: python3-libguestfs)"
        return Requirement(title, False, e.problems[0].found or e.problems[0].what, _install(package))


def _kernel() -> Requirement:
    """The appliance of libguestfs boots a kernel of this machine, and has to be able to read it."""
    title, kernels = "kernel for the appliance of libguestfs", sorted(Path("/boot").glob("vmlinu[xz]-*"))
    usable = [k for k in kernels if os.access(k, os.R_OK) and Path("/lib/modules", k.name.partition("-")[2]).is_dir()]
    if usable:
        return Requirement(title, True, str(usable[-1]))
    if kernels:
        return Requirement(title, False, f"{kernels[-1]} cannot be read, or has no modules", f"sudo chmod a+r {kernels[-1]}")
    return Requirement(title, False, "no /boot/vmlinuz-*", _install("a kernel with its modules"))


def _browser() -> Requirement:
    from hikkoshi.report import pdf  # noqa: PLC0415 - the quick findings are not to wait for it

    title = "Chromium (reports as PDF)"
    try:
        return Requirement(title, True, f"{pdf.browser()}; {pdf.sandbox()[1]}", required=False)
    except HikkoshiError:
        return Requirement(title, False, "none is installed", pdf.REMEDY, required=False)


def _font() -> Requirement:
    from hikkoshi.report import drawing  # noqa: PLC0415 - the quick findings are not to wait for it

    title, remedy = "a Japanese font (reports in Japanese)", _install("Noto Sans CJK")
    found = "".join(drawing.font()) or "none: its characters would be boxes, and figures stay English"
    return Requirement(title, bool(drawing.font()), found, remedy, required=False)


def _parameters(home: Home | BadInput) -> Iterator[Requirement]:
    if isinstance(home, Home):
        yield from (Requirement(c.title, c.ok, c.found, c.remedy) for c in status.checks(home))
    else:
        p = home.problems[0]
        remedy = f"{p.remedy}. Without one only this machine is looked at"
        yield Requirement("a site folder, with params/site.yml", False, f"{p.where}: {p.found}", remedy, required=False)


def _filled_in(home: Home) -> Requirement:
    """What `hikkoshi init` has left to a person. A file with such a line can be used as a rule, and may be wrong."""
    paths = [home.site_file, home.root / "params/allowed_signers", *map(home.guest_file, home.guest_names())]
    there = [path for path in paths if path.is_file()]
    texts = {path.relative_to(home.root): path.read_text(encoding="utf-8", errors="replace") for path in there}
    left = "; ".join(line for path, text in texts.items() for line in pages.open_lines(path, text))
    remedy = f"find out what is asked there, then take the line with {pages.FILL_IN} out"
    return Requirement(f"no line of params/ says {pages.FILL_IN}", not left, left or "none does", remedy, False, asked=True)


def _signatory(home: Home) -> Requirement:
    """Whose signature the records get; none of the lab's keys are there before its first `hikkoshi lab up`."""
    found = signatory.find(home)
    told = f"by {found.name}, {found.key}" if found.name else f"{found.why}; WHAT IS RUN NOW IS SEALED UNSIGNED, FOR GOOD"
    remedy = (
        "a key with a passphrase: ssh-add it, where this is started; else correct `signing` in params/site.yml; "
        "the lab: `hikkoshi lab up` makes its keys"
    )
    return Requirement("signatures of records (cut-over and remedies need them)", bool(found.name), told, remedy, False)


def _private(home: Home) -> Iterator[Requirement]:
    """Guests' disks and what was found out about them are below outputs/."""
    found = privacy.check(home.outputs)
    yield Requirement(found.title, found.ok, found.found, found.remedy)
    doubts = "; ".join(privacy.doubts(home.outputs))
    remedy = "see who did that, and why; then: chown and chmod go= what is named"
    yield Requirement("nobody else could open outputs/", not doubts, doubts or "it and its folders are yours", remedy, False)


def _left() -> Requirement:
    """What was killed leaves files of guests in temporary folders."""
    place = Path(tempfile.gettempdir())
    left = [str(p) for p in temporary.of_earlier_versions(place)]
    now = len(list(temporary.leftovers(place)))
    found = f"{', '.join(left)}, of an earlier version" if left else f"{now}, which the next run removes" if now else "none"
    remedy = f"where nobody uses an earlier version now: rm -r {' '.join(left)}"
    return Requirement(f"folders of killed runs in {place}", not left, found, remedy, False)


def _room(home: Home) -> Requirement:
    folder = home.outputs if home.outputs.is_dir() else home.root
    free = shutil.disk_usage(folder).free
    remedy = f"make room, or put outputs/ on a larger disk: {files.human(ROOM)} are enough for the lab"
    return Requirement(f"room in {folder}", free >= ROOM, f"{files.human(free)} free", remedy, required=False)


def _kvm() -> Requirement:
    from hikkoshi.rehearsal import accelerator  # noqa: PLC0415 - the quick findings are not to wait for it

    title = "KVM (makes rehearsals and guest disks ten times as quick)"
    try:
        found = accelerator.probe()
    except HikkoshiError as e:
        return Requirement(title, False, e.problems[0].what, "see the rows above", required=False)
    remedy = "nothing has to be done: all works without it, and takes longer"
    return Requirement(title, found.name == "kvm", f"{found.name}: {found.reason}", remedy, required=False)
