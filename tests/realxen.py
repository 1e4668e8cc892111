"""The lab's real Xen for tests: its shells, and all that may not be left on its Dom-0."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hikkoshi.errors import ToolFailed
from hikkoshi.xen.reach import connection
from hikkoshi_lab.xen import machine
from processes import wait_for

# what Dom-0 and LVM write of their own accord: logs, what systemd and LVM remember
_ASIDE = "/var/log /var/lib/systemd /etc/lvm/archive /etc/lvm/backup /var/lib/xen /var/lib/logrotate"
_TRACES = f"""\
lvs --noheadings -o vg_name,lv_name,lv_size | sed 's/^ */volume /; s/  */ /g'
dmsetup ls | sort | sed 's/^/mapped /'
losetup -a | sed 's/^/loop /'
xl list | awk 'NR > 1 {{ print "domain " $1 }}'
find / -xdev \\( {" -o ".join(f"-path {p}" for p in _ASIDE.split())} \\) -prune -o -print | sort | sed 's/^/path /'
ps -e -o ppid=,args= | awk '$1 != 2 && $1 != 0' | sed 's/^ *[0-9]* /process /'
"""
_OURS = re.compile(
    r"process (sshd: .*|(ba)?sh|(ba)?sh -c .*|ps -e .*|sed .*|awk .*|exec .*|\(?sd-pam\)?|/lib/systemd/systemd --user)"
)

_ITSELF = """\
echo host `hostname`; . /etc/os-release; echo system $ID $VERSION_ID; echo kernel `uname -r`; echo vcpus `nproc`
ip -o link | sed 's/^/link /'; ip -o -4 address | sed 's/^/address /'
findmnt -rn -t ext4 -o TARGET,FSTYPE | sed 's/^/mount /'; sed 1d /proc/swaps | sed 's/^/swap /'
echo forwards `cat /proc/sys/net/ipv4/ip_forward`
"""


@dataclass
class RealXen:
    """A Xen that is up, reached by the names dom0, router and files."""

    folder: Path

    def dom0(self, script: str, timeout: float = 300) -> str:
        """What a script prints on the Dom-0."""
        return machine.shell(self.folder, machine.DOM0, script, timeout=timeout)

    def guest(self, name: str, script: str, timeout: float = 120) -> str:
        """What a script prints in a guest."""
        return machine.shell(self.folder, name, script, timeout=timeout)

    def answers(self, name: str) -> bool:
        """Whether a guest lets us in."""
        try:
            return self.guest(name, "echo yes", timeout=20) == "yes\n"
        except ToolFailed:
            return False

    def itself(self, name: str) -> dict[str, object]:
        """What a running guest says of itself, and the Dom-0 of what it gives it."""
        said: dict[str, list[list[str]]] = {}
        for line in self.guest(name, _ITSELF).splitlines():
            word, *rest = line.split()
            said.setdefault(word, []).append(rest)
        addresses = {rest[1]: rest[3] for rest in said["address"] if rest[1] != "lo"}
        macs = {rest[1].rstrip(":"): rest[rest.index("link/ether") + 1] for rest in said["link"] if "link/ether" in rest}
        given = re.search(rf"^{name}\s+\d+\s+(\d+)\s", self.dom0("xl list"), re.MULTILINE)
        assert given
        return {
            "host": said["host"][0][0],
            "system": tuple(said["system"][0]),
            "kernel": said["kernel"][0][0],
            "vcpus": int(said["vcpus"][0][0]),
            "memory": int(given[1]),
            "nics": {nic: (mac, addresses[nic]) for nic, mac in sorted(macs.items())},
            "mounts": dict(said["mount"]),
            "swap": bool(said.get("swap")),
            "forwards": said["forwards"][0][0] == "1",
        }

    def traces(self) -> list[str]:
        """Volumes, mapped devices, loop devices, domains, files and processes of the Dom-0, but for those that look."""
        return sorted(x for x in self.dom0(_TRACES).splitlines() if not _OURS.fullmatch(x))

    def beside(self, before: list[str]) -> list[str]:
        """What is there that was not before."""
        return [x for x in self.traces() if x not in before]

    def as_before(self, before: list[str], of: str = "", but: str = "") -> None:
        """Nothing of ours stays `but` what a pattern names: at once, or when the Dom-0 has seen that nobody is there now."""
        end = time.monotonic() + 60
        while found := [x for x in self.beside(before) if x.startswith(of) and not (but and re.search(but, x))]:
            assert time.monotonic() < end, found
            time.sleep(1)

    def sha256(self, *paths: str) -> str:
        """Of disks, taken on the Dom-0."""
        return self.dom0(f"sha256sum {' '.join(paths)}", timeout=600)

    def start(self, name: str) -> None:
        """As its administrator does; until it lets us in."""
        self.dom0(machine.STARTED.format(name), timeout=900)
        wait_for(lambda: self.answers(name), f"{name} answers", 300)

    def end(self, name: str) -> None:
        """Shut down as its administrator does, until nothing of it is there."""
        self.dom0(f"xl shutdown -w {name}; while xl domid {name} >/dev/null 2>&1; do sleep 1; done")


@contextmanager
def up(place: Path) -> Iterator[RealXen]:
    """Bring it up in an empty folder; as long as it is there, ssh reaches it by its names."""
    machine.up(place / "xen", print)
    client = place / "client"
    client.mkdir()
    (client / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {place / "xen" / machine.CONFIG} "$@"\n')
    (client / "ssh").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{client}:{os.environ['PATH']}")
        try:
            yield RealXen(place / "xen")
        finally:
            connection.close()
            machine.down(place / "xen")
