"""VMware Tools: where they come from for a guest, and whether what its parameters name fits it.

A driver that the guest's kernel has of its own, vmxnet3 or pvscsi, is never replaced: the guest starts by these.
"""

import re
import tarfile
from collections import Counter
from functools import partial
from pathlib import Path

from hikkoshi.check import Check
from hikkoshi.errors import BadInput
from hikkoshi.guest.additions import addition, packages
from hikkoshi.guest.additions.addition import Additions
from hikkoshi.guest.additions.packages import ARCHITECTURES, PackageFile
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.note import Note, note
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.run.step import SURVEY

# {distribution: (the first release whose own repositories have open-vm-tools, the command)}
PACKAGED = {
    "centos": (7, "yum install open-vm-tools"),
    "rhel": (7, "yum install open-vm-tools"),
    "scientificlinux": (7, "yum install open-vm-tools"),
    "oracle": (7, "yum install open-vm-tools"),
    "rocky": (8, "dnf install open-vm-tools"),
    "almalinux": (8, "dnf install open-vm-tools"),
    "fedora": (19, "dnf install open-vm-tools"),
    "debian": (8, "apt-get install open-vm-tools"),
    "ubuntu": (14, "apt-get install open-vm-tools"),
    "sles": (12, "zypper install open-vm-tools"),
}
INSTALLER = "vmware-tools-distrib/vmware-install.pl"
DEBS = ("debian", "ubuntu")


def command(facts: GuestFacts) -> str:
    """What installs them from the guest's own repositories; empty where these have none."""
    first, found = PACKAGED.get(facts.distribution, (0, ""))
    major = re.match(r"\d+", facts.release)
    return found if first and major and int(major[0]) >= first else ""


def advice(facts: GuestFacts, added: Additions | None = None) -> Note:
    """What is done, or is to be done in the running guest, and why."""
    if added and added.no_tools:
        return note("tools-none", reason=added.no_tools)
    if added and added.repository:
        return note("tools-by-shell", command=added.repository)
    if added and added.archive:
        return note("tools-by-archive", archive=added.archive[0].name)
    if added and added.packages:
        return note("tools-by-packages", packages=", ".join(f"{s.name} {s.version}" for s in added.software))
    if found := command(facts):
        return note("tools-packaged", command=found)
    return note("tools-from-disc", system=f"{facts.distribution} {facts.release}")


def of(home: Home, guest: Guest, facts: GuestFacts) -> Additions:
    """All that the guest's parameters name, as it is now; `BadInput` with everything that is wrong with it."""
    if wrong := [c.problem() for c in checks(home, guest, facts) if not c]:
        raise BadInput(*wrong)
    wish, found = guest.tools, addition.scripts(home, guest)
    if wish is None:
        return found
    carried = tuple(addition.carried(home, p) for p in wish.packages)
    return found.model_copy(
        update={
            "packages": carried,
            "software": tuple(packages.read(home.path(p)).software for p in wish.packages),
            "archive": (addition.carried(home, wish.archive),) if wish.archive else (),
            "repository": unattended(command(facts)) if wish.repository else "",
            "no_tools": wish.none or "",
        }
    )


def unattended(by_hand: str) -> str:
    """The same command, for a shell that nobody watches."""
    program, _, rest = by_hand.partition(" ")
    if program == "apt-get":
        return f"DEBIAN_FRONTEND=noninteractive apt-get -q -y {rest}"
    return f"{program} --non-interactive {rest}" if program == "zypper" else f"{program} -y {rest}"


def checks(home: Home, guest: Guest, facts: GuestFacts) -> list[Check]:
    """Whether everything that the parameters name can be brought into this very guest."""
    found, wish, where = addition.checks(home, guest), guest.tools, f"params/guests/{guest.name}.yml"
    if wish is None:
        return found
    if wish.repository:
        found.append(_repository(guest, facts, where))
    if wish.archive:
        found.append(_archive(home.path(wish.archive), where))
    return [*found, *(_packages([home.path(p) for p in wish.packages], facts, where) if wish.packages else ())]


def _repository(guest: Guest, facts: GuestFacts, where: str) -> Check:
    there, shell = command(facts), guest.measurement is not None
    return Check(
        code="tools-in-repository",
        title="the guest can install VMware Tools from its own repositories",
        ok=bool(there) and shell,
        found=there if there and shell else "no shell of the guest is known" if there else "its release has no open-vm-tools",
        expected="a release whose repositories have open-vm-tools, and `measurement: shell`",
        remedy="give its shell as `measurement: shell`, or name packages or an archive in `tools`",
        where=where,
    )


def _archive(path: Path, where: str) -> Check:
    found = ""
    try:
        with tarfile.open(path, "r|gz") as tar:
            if not any(member.name.removeprefix("./") == INSTALLER for member in tar):
                found = f"no {INSTALLER} in it"
        if not path.name.endswith(".tar.gz") or not addition.NAME.fullmatch(path.name):
            found = f"it is called {path.name}"
        elif path.stat().st_size > addition.LARGEST_FILE:
            found = f"{path.stat().st_size:,} bytes"
    except (OSError, EOFError, tarfile.TarError) as e:
        found = str(e) or "it ends early"
    return Check(
        code="tools-archive-usable",
        title="the archive of VMware Tools can be brought along",
        ok=not found,
        found=found or path.name,
        expected=f"VMwareTools-*.tar.gz with {INSTALLER}, as it lies on the disc of `Install VMware Tools`",
        remedy=f"take the file from that disc (linux.iso) once more, or correct `tools: archive` in {where}",
        where=str(path),
    )


def _packages(paths: list[Path], facts: GuestFacts, where: str) -> list[Check]:
    read: dict[Path, PackageFile] = {}
    bad = []
    for path in paths:
        try:
            read[path] = packages.read(path)
        except (OSError, ValueError) as e:
            bad.append(f"{path.name}: {getattr(e, 'strerror', None) or e}")
        if not addition.NAME.fullmatch(path.name):
            bad.append(f"{path.name}: a name with other signs than letters, digits and . _ + ~ -")
    names = Counter(path.name for path in paths)
    twice = [str(path) for path in paths if names[path.name] > 1]
    kind = "deb" if facts.installed or facts.distribution in DEBS else "rpm"
    archs = ARCHITECTURES.get(facts.arch, ((), ()))[kind == "rpm"]
    strange = [
        f"{p.name}: a {f.kind} for {f.software.arch}"
        for p, f in read.items()
        if f.kind != kind or f.software.arch not in archs or not p.name.endswith(f.kind)
    ]
    drivers = [f"{p.name}: {', '.join(f.drivers)}" for p, f in read.items() if f.drivers]
    have = facts.installed | {f.software.name: f.software.version for f in read.values()}
    unmet = [f"{f.software.name}: {', '.join(u)}" for f in read.values() if (u := packages.unmet(f.depends, have))]
    older = [
        f"{f.software.name} {f.software.version}, the guest has {there}"
        for f in read.values()
        if kind == "deb" and (there := facts.installed.get(f.software.name)) and packages.compare(f.software.version, there) < 0
    ]
    check = partial(Check, where=where)
    fits = [
        check(
            code="tools-packages-readable",
            title="the packages of VMware Tools can be read",
            ok=not bad,
            found="; ".join(bad) or ", ".join(f"{f.software.name} {f.software.version}" for f in read.values()),
            expected="deb or rpm files",
            remedy="correct `tools: packages`, or fetch the files once more; deb files need dpkg-deb here (package dpkg)",
        ),
        check(
            code="tools-packages-distinct",
            title="no two of the packages have one file name",
            ok=not twice,
            found=", ".join(twice) or "each has its own",
            expected="a file name of its own for each: they lie in one folder of the guest",
            remedy="leave out what is named twice in `tools: packages`, or rename the file",
        ),
        check(
            code="tools-packages-of-system",
            title="the packages are for the guest's system",
            ok=not strange,
            found="; ".join(strange) or f"{kind} for {facts.arch}",
            expected=f"{kind} files for {' or '.join(archs)}",
            remedy=f"fetch those of {facts.distribution} {facts.release} for {facts.arch}",
        ),
        check(
            code="tools-keep-drivers",
            title="the packages replace no driver that the guest starts by",
            ok=not drivers,
            found="; ".join(drivers) or "none of vmxnet3, pvscsi and mpt",
            expected="none: the kernel's own are newer than those of a package",
            remedy="leave these packages out",
        ),
    ]
    if kind == "rpm":
        return fits  # rpm itself tells, on the copy, before it installs anything
    return [
        *fits,
        check(
            code="tools-packages-complete",
            title="everything is there that the packages need",
            ok=not unmet and bool(facts.installed),
            found="; ".join(unmet) or ("everything" if facts.installed else "what the guest has installed is not known"),
            expected="each relation met by the guest, or by another of these packages",
            remedy="add the packages that are named, of the guest's own release; in the running guest, "
            "apt-get install --download-only open-vm-tools puts all of them into /var/cache/apt/archives"
            if facts.installed
            else f"run {SURVEY} again: this survey was made by an earlier version",
        ),
        check(
            code="tools-packages-not-older",
            title="no package is older than the guest's own",
            ok=not older,
            found="; ".join(older) or "none is",
            expected="the same versions, or newer ones",
            remedy="leave out what the guest has already, or fetch the packages of its own release",
        ),
    ]
