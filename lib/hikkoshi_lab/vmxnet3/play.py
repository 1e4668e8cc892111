"""The paper's gateway, moved by the runbooks, with the driver of its time: it collapses, is cured, and stays cured.

What is real: the move, vmxnet3's own flag and counters, the guest's kernel that forwards, and the runbooks 80 and 85. What
stands in: QEMU for ESXi; the switch's GRO for what ESXi merges; `hikkoshi_lab.vmxnet3.driver` for a driver of that time; and a
script that switches LRO on again before the network starts, since Linux switches it off where it forwards. It does so since
2.6.27; the paper's guest was older.
"""

import base64
import contextlib
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import hikkoshi
from hikkoshi import tool
from hikkoshi.errors import Problem, StepFailed, ToolFailed
from hikkoshi.network import host
from hikkoshi.network.host import Host
from hikkoshi.network.remedy.cure import Cure
from hikkoshi.network.remedy.treatment import Treatment
from hikkoshi.network.throughput.bench import Bench
from hikkoshi.network.throughput.measured import Measured
from hikkoshi.params.home import Home
from hikkoshi.record.engine.runbook import PROJECT
from hikkoshi.run.step import CUTOVER, DEPLOY, NETPERF, OFFLOADS
from hikkoshi.vsphere import session, vm
from hikkoshi.vsphere.cutover import InService
from hikkoshi_lab import keys, lab, network
from hikkoshi_lab.proof import Row, cause, collapse

HOME = PROJECT / "build" / "proof-vmxnet3"
GATEWAY = "gateway"
SHELL = "ssh://gateway?config=outputs/lab/ssh_config"  # the moved one's
SLOWER = 10  # times: half of what the other proof asks for, on a link of a tenth
WITHIN = 900  # seconds, on a busy machine
BOOT = 180.0  # seconds
# ESXi merges what comes for a vmxnet3 with LRO; here the switch's port of PC1 does, and the cable cuts up what is not asked for
MERGING = """\
ethtool -K pc1 gro on
echo 2000000 >/sys/class/net/pc1/gro_flush_timeout
echo 2 >/sys/class/net/pc1/napi_defer_hard_irqs
"""
SWITCHED_ON = """\
#!/bin/sh
# The kernel has switched LRO off on every NIC, since it forwards. Before Linux 2.6.27 no kernel did.
for nic in /sys/class/net/eth*; do /sbin/ethtool -K "${nic##*/}" lro on; done
"""
OLD = """\
set -e
cd /lib/modules/$(uname -r)/kernel/drivers/net/vmxnet3
base64 -d >vmxnet3.ko <<'END'
MODULE
END
cat >/etc/rc.d/rc3.d/S09lro <<'END'
SCRIPT
END
chmod 755 /etc/rc.d/rc3.d/S09lro
sync
"""
FLAGS = """\
for nic in /sys/class/net/eth*; do ethtool -k "${nic##*/}"; done | sed -n 's/^large-receive-offload: //p' | sort | uniq -c
"""
TAINT, BOOT_ID = "/sys/module/vmxnet3/taint", "/proc/sys/kernel/random/boot_id"


def home(root: Path = HOME) -> Home:
    """A new home with the shipped parameters, but measured in the moved gateway; the lab of an earlier one is ended."""
    found = Home(root)
    if found.site_file.is_file():
        lab.down(found)
    shutil.rmtree(found.root, ignore_errors=True)
    shutil.copytree(PROJECT / "params", found.root / "params")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    _change(found.site_file, r"server: 127\.0\.0\.1:\d+", f"server: 127.0.0.1:{port}")
    _change(found.guest_file(GATEWAY), r"\n  shell: .*", f"\n  shell: {SHELL}")
    _change(found.guest_file(GATEWAY), r"\n  segments:.*(\n    .*)*", "")
    _change(found.guest_file(GATEWAY), r"\n  seconds: \d+", "\n  seconds: 2")
    return found


def rows(home: Home, module: Path) -> Iterator[Row]:
    """Each claim with what was seen, as soon as it is."""
    begin, guest, folder = time.monotonic(), home.guest(GATEWAY), home.folder(GATEWAY)
    shell = host.parse(SHELL, home.root)
    _hikkoshi(home, "run", GATEWAY, "--apply", "--through", DEPLOY.number)
    _hikkoshi(home, "approve", GATEWAY, "--key", str(keys.folder(home) / "approver"), "--yes")
    _hikkoshi(home, "run", GATEWAY, "--apply", "--only", CUTOVER.number)
    since = InService.since_of(folder)
    moved = time.monotonic()
    yield "the gateway is moved, and serves", "steps 10 to 70", f"{moved - begin:.0f} s", bool(since)
    found = network.find(lab.folder(home))
    assert found
    found.host("sw").script(MERGING)
    text = OLD.replace("MODULE", base64.encodebytes(module.read_bytes()).decode().strip()).replace("SCRIPT", SWITCHED_ON.strip())
    shell.script(text)
    restart(home, shell)
    yield "the driver of before 2015", "LRO on, each of ten NICs", *_flags(shell, on=True)
    bench, treatment = Bench(home, guest, "proof", since), Treatment(home, guest, "proof", since)
    _hikkoshi(home, "run", GATEWAY, "--apply", "--only", NETPERF.number, ok=(0, 1))
    yield collapse(_measured(bench).series, SLOWER)
    _hikkoshi(home, "run", GATEWAY, "--apply", "--only", OFFLOADS.number)
    cured = Cure.load(folder)
    yield from cause(cured.diagnosis)
    merged = cured.diagnosis.counts.merged_by_nic or 0
    yield "merged frames, counted by vmxnet3", "some", str(merged), merged > 0
    yield "through the gateway after the remedy", "recovered", *_recovered(cured.after)
    restart(home, shell)
    yield "started again", "LRO off, each of ten NICs", *_flags(shell, on=False)
    remedied = treatment.remedied()
    yield "remedy, read back", "in place", remedied.found, bool(remedied)
    bench.forget()
    _hikkoshi(home, "run", GATEWAY, "--apply", "--only", NETPERF.number, ok=(0, 1))
    yield "through the gateway after the restart", "recovered", *_recovered(_measured(bench))
    lost = re.findall(r"(?m)^Ip: (.*)$", shell.run(["cat", "/proc/net/snmp"]).stdout)
    counted = dict(zip(*(line.split() for line in lost), strict=True))["FragFails"]
    yield "too long to pass on since then", "none", counted, counted == "0"
    took = time.monotonic() - begin
    yield "all of it within", f"{WITHIN} s", f"{took:.0f} s", took <= WITHIN


def restart(home: Home, shell: Host) -> None:
    """Have vSphere start the gateway's machine anew, and wait until its shell answers again."""
    before = shell.run(["cat", BOOT_ID]).stdout
    with session.connect(home, home.site().vsphere) as v:
        (machine,) = (m for m in vm.every(v).values() if m.name == GATEWAY)
        v.wait(machine.thing.ResetVM_Task(), "start it anew")
    end = time.monotonic() + BOOT
    while time.monotonic() < end:
        with contextlib.suppress(ToolFailed):  # it is on its way
            if shell.run(["cat", BOOT_ID], timeout=20).stdout != before:
                return
        time.sleep(2)
    raise StepFailed(
        Problem(
            code="lab-guest-not-restarted",
            what="the moved gateway does not come back",
            where=shell.name,
            found=f"no shell of a new start for {BOOT:.0f} s",
            expected="a start in less than a minute",
            remedy="see whether this machine is overloaded; then run it again",
        )
    )


def _flags(shell: Host, *, on: bool) -> tuple[str, bool]:
    """What the NICs say of LRO, and whether that is so; with a driver that is not of the kernel's own package."""
    said = " ".join(shell.script(FLAGS).split())
    ours = "O" in shell.run(["cat", TAINT]).stdout
    return said if ours else f"{said}; driver of the kernel's own package", said == f"10 {'on' if on else 'off'}" and ours


def _measured(bench: Bench) -> Measured:
    found = bench.found()
    assert found
    return found


def _recovered(found: Measured | None) -> tuple[str, bool]:
    return (found.series.words(), found.series.verdict == "recovered") if found else ("not measured", False)


def _hikkoshi(home: Home, *argv: str, ok: tuple[int, ...] = (0,)) -> None:
    own = {"HIKKOSHI_HOME": str(home.root), "PYTHONPATH": str(Path(hikkoshi.__file__).parents[1])}
    tool.run([sys.executable, "-m", "hikkoshi.cli.main", *argv], env=own, timeout=None, ok=ok)


def _change(file: Path, old: str, new: str) -> None:
    text, count = re.subn(old, new, file.read_text(), count=1)
    assert count == 1, (file, old)
    file.write_text(text)
