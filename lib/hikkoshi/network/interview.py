"""What a running guest says of itself in its own shell, held against its survey: NICs, mounts, kernel, processors, memory.

The survey reads files; here the kernel is asked, by /proc and /sys alone, as Linux 2.6.18 has them. Nothing is changed. What is
moved is what the survey says, so where the two differ, one of them is not understood.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Self

from hikkoshi.check import Check, Unseen
from hikkoshi.errors import ToolFailed, printable
from hikkoshi.guest import device, survey
from hikkoshi.guest.survey import Survey
from hikkoshi.params.guest import Guest
from hikkoshi.ssh import Login
from hikkoshi.xen.reach.connection import connection

PATIENCE = 45.0  # seconds for the one question
_LARGEST = 1 << 20  # bytes of its answer
_SCRIPT = """\
echo "@kernel `uname -r`"
echo "@processors `grep -c '^processor' /proc/cpuinfo`"
sed -n 's/^MemTotal: *\\([0-9]*\\) kB$/@memory \\1/p' /proc/meminfo
grep -q 0x15ad /sys/bus/pci/devices/*/vendor 2>/dev/null && echo "@vmware"
for d in /sys/class/net/*; do
  test ! -e $d/device || echo "@nic ${d##*/} `cat $d/address 2>/dev/null`"
done
for f in /proc/net/bonding/*; do
  test ! -r "$f" || sed -n 's/^Slave Interface: */@slave /p; s/^Permanent HW addr: */@permanent /p' "$f"
done
while read -r dev point type rest; do
  case $dev in
  /dev/*) q=`readlink -f "$dev"`; echo "@mount ${q:-$dev} $point $type `cat /sys/block/${q##*/}/dm/name 2>/dev/null`";;
  esac
done < /proc/mounts
true
"""
_MOST = 500  # NICs, or mounts, of a guest
_LINE = 1000  # characters; a guest may print what it likes, and all that differs is shown
_OF_DISCS = ("iso9660", "udf")
_EXT = ("ext2", "ext3", "ext4")  # a later driver mounts the earlier ones, too, and calls them by its own name
_LEAST, _KEPT = 0.8, 160  # of the memory, and MB: what the kernel keeps for itself, and for a crash


@dataclass
class Answers:
    """What the guest's shell has answered. Numbers are 0 where it did not tell them."""

    kernel: str = ""
    processors: int = 0
    memory_mb: int = 0
    vmware: bool = False  # it runs on VMware
    nics: dict[str, str] = field(default_factory=dict)  # {name: MAC}, of real NICs
    mounts: dict[str, tuple[str, str]] = field(default_factory=dict)  # {mount point: (device, kind of file system)}

    @classmethod
    def of(cls, text: str) -> Self:
        """Out of what the script printed; `ValueError` where it is none of that."""
        found, slave = cls(), ""
        for line in text.splitlines():
            if len(line) > _LINE:
                raise ValueError(f"it prints a line of {len(line):,} characters")
            word, _, rest = line.partition(" ")
            rest = rest.strip()
            if word == "@kernel":
                found.kernel = rest
            elif word == "@processors":
                found.processors = _number(rest)
            elif word == "@memory":
                found.memory_mb = _number(rest) // 1024
            elif word == "@vmware":
                found.vmware = True
            elif word == "@nic" and (m := re.fullmatch(r"(\S+) ([0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5})", rest)):
                found.nics[m[1]] = m[2].lower()
            elif word == "@slave":
                slave = rest
            elif word == "@permanent" and slave in found.nics and re.fullmatch(r"[0-9a-fA-F:]{17}", rest):
                found.nics[slave] = rest.lower()
            elif word == "@mount" and (m := re.fullmatch(r"(/dev/\S+) (/\S*) (\S+)(?: (\S+))?", rest)) and m[3] not in _OF_DISCS:
                found.mounts[_plain(m[2])] = (f"/dev/mapper/{m[4]}" if m[4] else m[1], m[3])
        if not found.kernel or not found.nics:
            raise ValueError("it tells of no kernel, or of no NIC")
        if max(len(found.nics), len(found.mounts)) > _MOST:
            raise ValueError(f"it tells of {len(found.nics)} NICs and {len(found.mounts)} mounts")
        return found


def _number(written: str) -> int:
    return int(written) if re.fullmatch(r"[0-9]{1,12}", written) else 0


def _plain(point: str) -> str:
    """A mount point as /proc/mounts has it, with its spaces: \\040."""
    return point.replace("\\040", " ").replace("\\134", "\\")


def checks(guest: Guest, surveyed: Survey, folder: Path = Path(), *, off: bool) -> list[Check]:
    """What the guest says, beside its survey; a line with the reason where it is not asked. Never red where it is off.

    `folder` is where a relative path in its shell's address starts.
    """
    check = partial(Check, code="guest-asked", title="the running guest says the same of itself", ok=True)
    address = guest.measurement.shell if guest.measurement else ""
    if off:
        return [check(found="not asked: it is off", unseen="not needed")]
    if not address.startswith("ssh://"):
        why = f"its shell is {address}" if address else "its parameters give no shell (measurement: shell)"
        return [check(found=f"not asked: {why}; ssh://root@HOST would be asked", unseen="not seen")]
    try:
        said = Answers.of(_asked(Login.at(address, folder)))
    except ValueError as e:
        return [check(found=f"asked, but the answer is of no use: {e}", unseen="not seen", where=address)]
    except ToolFailed as e:
        p = e.problems[0]
        why = "asked, but it does not answer" if p.code.startswith("dom0-") else f"not asked: {p.what}"
        return [check(found=f"{why}: {p.found}", unseen="not seen", where=address)]
    if said.vmware:
        return [check(found="asked, but the machine that answers is on VMware, so it is not the source", unseen="not seen")]
    return list(_Comparison(guest, surveyed, said, address).checks())


def _asked(login: Login) -> str:
    """What the shell prints for the script; `ToolFailed` where that does not come whole, and in time."""
    said = connection(login).ask(_SCRIPT, named=["what the guest says of itself"], timeout=PATIENCE, largest=_LARGEST)
    return printable(said.out.decode(errors="replace"))


@dataclass(frozen=True)
class _Comparison:
    """A guest's survey, and what it says itself by the shell at `address`."""

    guest: Guest
    surveyed: Survey
    said: Answers
    address: str

    def checks(self) -> Iterator[Check]:
        """What each says, one check a field that differs; one that all agree, where that is so."""
        wanted = self._nics_surveyed()
        if not set(wanted) & set(self.said.nics.values()):
            yield self._check(
                code="shell-of-another",
                title="the shell of its parameters is the guest's own",
                found=f"it has the MACs {', '.join(sorted(self.said.nics.values()))}; none of the guest's",
                expected="a NIC with a MAC of the guest",
                remedy=f"correct measurement: shell in params/guests/{self.guest.name}.yml",
            )
            return
        differs = [*self._kernel(), *self._sizes(), *self._nics(wanted), *self._mounts()]
        yield from differs
        if not differs:
            found = f"NICs: {len(self.said.nics)}, mounts: {len(self.said.mounts)}, kernel: {self.said.kernel}"
            yield Check(code="guest-asked", title="the running guest says the same of itself", ok=True, found=found)

    def _check(self, *, code: str, title: str, found: str, expected: str = "", remedy: str = "", red: bool = True) -> Check:
        unseen: Unseen | Literal[""] = "" if red else "not seen"
        return Check(
            code=code, title=title, ok=not red, found=found, expected=expected, remedy=remedy, where=self.address, unseen=unseen
        )

    def _kernel(self) -> Iterator[Check]:
        facts, xen, runs = self.surveyed.guest, self.surveyed.xen, self.said.kernel
        versions = {k.version: k for k in facts.kernels}
        default = next((k.version for k in facts.kernels if k.index == facts.default_kernel), "")
        title, menu = "the guest runs a kernel that its survey has", ", ".join(versions)
        if runs not in versions and (not xen.kernel or xen.by_pv_grub):
            yield self._check(
                code="guest-says-kernel",
                title=title,
                found=f"it runs {runs}; its survey: {menu or 'none'}",
                expected="a kernel of its boot menu",
                remedy="if it was updated and not restarted since, restart it. Else the disk that was surveyed, or the shell, is "
                "another guest's: correct the Xen configuration, or measurement: shell in its parameters",
            )
        elif runs in versions and default not in ("", runs):
            found = f"it runs {runs}; its menu's default: {default}, WHICH STARTS NEXT"
            yield self._check(code="guest-says-kernel", title=title, found=found, red=False)

    def _sizes(self) -> Iterator[Check]:
        xen, said = self.surveyed.xen, self.said
        title = "the guest has the processors and the memory of its survey"
        if said.processors and said.processors != xen.vcpus:
            found = f"it has {said.processors} processors; its survey: {xen.vcpus}"
            yield self._check(code="guest-says-sizes", title=title, found=found, red=False)
        if said.memory_mb and not _LEAST * xen.memory_mb - _KEPT <= said.memory_mb <= xen.memory_mb + _KEPT:
            found = f"it has {said.memory_mb:,} MB; its survey: {xen.memory_mb:,} MB"
            yield self._check(code="guest-says-sizes", title=title, found=found, red=False)

    def _nics_surveyed(self) -> dict[str, str]:
        """{MAC: name} as surveyed; of a NIC without a MAC in the Xen configuration nothing is."""
        macs = [v.mac.lower() for v in self.surveyed.xen.vifs]
        return {mac: name for mac, name in zip(macs, survey.names(self.surveyed), strict=True) if mac}

    def _nics(self, wanted: Mapping[str, str]) -> Iterator[Check]:
        title = "the guest has the NICs of its survey"
        red = partial(
            self._check,
            code="guest-says-nics",
            title=title,
            expected="the same name for each MAC",
            remedy="say in the guest's files which NIC has which name: HWADDR in its ifcfg file, or a rule of udev with its MAC; "
            "then survey it again",
        )
        own = {i.name: i.own_mac.lower() for i in self.surveyed.guest.interfaces if i.own_mac}
        running = {mac: name for name, mac in self.said.nics.items()}
        for mac, name in wanted.items():
            now = running.get(mac) or (name if own.get(name) and own[name] == self.said.nics.get(name) else "")
            if now != name:
                yield red(found=f"{mac} is {now or 'no NIC of the guest'}; its survey: {name}")
        more = sorted(mac for mac in running if mac not in wanted and mac not in own.values())
        for mac in more[sum(not v.mac for v in self.surveyed.xen.vifs) :]:
            found = f"{running[mac]} ({mac}) is in no survey, and is NOT MOVED"
            yield self._check(code="guest-says-nics", title=title, found=found, red=False)

    def _mounts(self) -> Iterator[Check]:
        facts, title = self.surveyed.guest, "the guest has the file systems of its survey mounted"
        known = {p.mountpoint: p for p in facts.partitions if p.mountpoint.startswith("/")}
        devices = {p.device for p in facts.partitions}
        disks = device.Disk(names=facts.disk_names, further=facts.further_disks)
        there = {point: (_afterwards(disks, dev, devices), kind) for point, (dev, kind) in self.said.mounts.items()}
        mounted = {dev for point, (dev, _) in there.items() if point in known}
        red = partial(self._check, code="guest-says-mounts", title=title, expected="the same device and kind of file system")
        for point, (dev, kind) in there.items():
            was, now = self.said.mounts[point][0], known.get(point)
            if now is None and dev and dev not in devices:
                remedy = "name its disk in the Xen configuration if it belongs to the guest; else unmount it"
                yield red(
                    found=f"{point} is {was} ({kind}); its survey: no such device", remedy=remedy, red=not self.surveyed.left_out
                )
            elif now is None and dev and dev not in mounted:
                found = f"{point} is {was} ({kind}); its survey: mounted nowhere. After the move only its fstab counts"
                yield self._check(code="guest-says-mounts", title=title, found=found, red=False)
            elif now is not None and ((dev and dev != now.device) or not _alike(kind, now.fstype)):
                remedy = "see which disk and which line of its fstab count; correct the Xen configuration, or survey it again"
                yield red(found=f"{point} is {was} ({kind}); its survey: {now.device} ({now.fstype})", remedy=remedy)
        for point in sorted(known.keys() - there.keys()):
            found = f"{point} is not mounted; its survey: {known[point].device} ({known[point].fstype})"
            yield self._check(code="guest-says-mounts", title=title, found=found, red=False)


def _alike(kind: str, surveyed: str) -> bool:
    return not surveyed or kind == surveyed or {kind, surveyed} <= set(_EXT) or kind.startswith("fuse")


def _afterwards(disks: device.Disk, named: str, known: set[str]) -> str:
    """A device of the running guest by the name that the survey has for it; empty where that cannot be known."""
    if m := re.fullmatch(r"/dev/mapper/((?:[^-]|--)+)-((?:[^-]|--)+)", named):
        volume = f"/dev/{m[1].replace('--', '-')}/{m[2].replace('--', '-')}"
        return volume if volume in known else ""
    if not re.fullmatch(r"/dev/(?:xvd|[hsv]d)[a-z]{1,2}\d*", named):
        return ""
    found = disks.afterwards(named)
    return f"{found}1" if found not in known and f"{found}1" in known else found
