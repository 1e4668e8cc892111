"""The lab: a stand-in for a whole site on this machine. A vCenter that is vcsim, and a Dom-0 that is a folder.

Everything is kept in outputs/lab; the guests' images are built once and cached outside of it.
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, HikkoshiError, Problem, Refused, nearest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Site
from hikkoshi.run import lock, privacy
from hikkoshi.run.step import NETPERF, OFFLOADS
from hikkoshi.vsphere import session
from hikkoshi_lab import image, keys, network, site, vcsim
from hikkoshi_lab.body import access, miswiring, process
from hikkoshi_lab.xen import machine

Say = Callable[[str], None]
GUESTS = {"idp": image.IDP, "gateway": image.GATEWAY}
IMAGES = Path("var/lib/xen/images")
CONFIGURATIONS = Path("etc/xen")
XEN = "xen"  # folder of the real one, which is asked for by itself


def folder(home: Home) -> Path:
    """Where the lab keeps its things."""
    return home.outputs / "lab"


def up(home: Home, say: Say = print) -> None:
    """Bring the lab up; where it is up already this takes a second and changes nothing. `say` is told what happens."""
    wanted = home.site()
    _check_is_lab(home, wanted)
    privacy.shut(home.outputs)
    own = folder(home)
    with closing(lock.acquire(own / "lock", "hikkoshi lab up", 600)):
        vcsim.prepare(own)
        if keys.make(home):
            say(f"keys: an operator's and an approver's are in {keys.folder(home)}")
        if vcsim.find(own) is None:
            start = time.monotonic()
            process.remove(own)
            _refuse_taken_port(wanted.vsphere.server)
            files.write(own / vcsim.HINTS, json.dumps(site.hints(wanted)))
            vcsim.launch(own, wanted.vsphere.server, ["-network-hints", str(own / vcsim.HINTS)])
            say(f"vCenter: vcsim listens on {wanted.vsphere.server} after {time.monotonic() - start:.1f} s")
        with session.connect(home, wanted.vsphere) as v:
            site.shape(v, wanted, own / vcsim.TEMPORARY, lambda words: say(f"vCenter: {words}"))
        _network(own / "dom0")
        for name, recipe in GUESTS.items():
            _install(own / "dom0", name, recipe, say)
        if os.geteuid() == 0:
            _connect(home, own, say)
        else:
            say(f"network: left out, it needs root; {NETPERF} and {OFFLOADS} have nothing to measure here")
    say("the lab is up")


def down(home: Home, say: Say = print) -> None:
    """End the lab and remove what `up` made, except the cached images and the keys: records are checked with them."""
    own = folder(home)
    if not own.is_dir():
        say("the lab is down")
        return
    machine.down(own / XEN)
    with closing(lock.acquire(own / "lock", "hikkoshi lab down", 600)):
        process.remove(own)
        vcsim.remove(own)
        network.remove(own)
        access.remove(own)
        shutil.rmtree(own / "dom0", ignore_errors=True)
        (own / "lock").unlink()
    if not any(own.iterdir()):
        own.rmdir()
    say("the lab is down")


def _shell(home: Home) -> str:
    """Where the gateway's parameters say that its shell is: in the namespace that plays it, or in the moved one, by ssh."""
    with suppress(BadInput):
        measured = home.guest("gateway").measurement
        return measured.shell if measured else ""
    return ""


def _connect(home: Home, own: Path, say: Say) -> None:
    """The network; and what runs vSphere's machines, where the gateway's parameters mean the moved one."""
    moved = _shell(home).startswith("ssh://")
    if not moved and process.find(own):
        process.remove(own)
        network.remove(own)  # it is as the moved gateway needs it
        access.remove(own)
    net = network.keep(own)
    if moved and process.find(own) is None:
        net.slow()
        access.configure(own, str(image.GATEWAY.nics[0].address.ip))
        access.serve(own, net)
        process.keep(home, own)
        say(f"machines: what is on in vSphere runs here; the gateway is reached by ssh -F {own / access.CONFIG} gateway")


PLAYED = "netns:outputs/lab/netns/gw"  # the gateway's shell, where the network plays it
FAULTS: Mapping[str, tuple[str, Callable[[network.Network], None]]] = {
    "lro": ("the gateway's NIC towards PC1 merges what it receives", lambda lab: lab.aggregate("tap")),
    "swap": ("the cables of the gateway's eth3 and eth7 are exchanged", lambda lab: lab.swap("eth3", "eth7")),
    "cut": ("the gateway's cable of vlan304 is out", lambda lab: lab.cut("vlan304")),
    "none": ("everything is as it should be", lambda lab: None),
}


def fault(home: Home, name: str) -> str:
    """Put one fault of `FAULTS` into the lab, in place of any other; gives what is wrong then.

    In the network, or in vSphere where that runs the gateway.
    """
    lab = network.find(folder(home))
    if lab is None or name not in FAULTS:
        found, remedy = ("no network", "as root: hikkoshi lab up") if lab is None else (repr(name), nearest(name, list(FAULTS)))
        raise BadInput(
            Problem(
                code="lab-fault-unknown",
                what="no such fault can be had",
                where="the lab's network",
                found=found,
                expected=", ".join(FAULTS),
                remedy=remedy,
            )
        )
    if process.find(folder(home)):
        if name in miswiring.FAULTS:
            with session.connect(home, home.site().vsphere) as v:
                return miswiring.put(v, name)
        raise Refused(
            Problem(
                code="lab-fault-of-namespace",
                what="this fault is one of the namespace that plays the gateway",
                where="params/guests/gateway.yml: measurement.shell",
                found=_shell(home),
                expected=PLAYED,
                remedy="write it so, and run `hikkoshi lab up`",
            )
        )
    lab.restore()
    words, put = FAULTS[name]
    put(lab)
    return words


def status(home: Home) -> list[Check]:
    """What of the lab is up."""
    own, server = folder(home), vcsim.find(folder(home))
    found, answers = "no process", False
    if server:
        found = f"process {server.pid} on {server.host}:{server.port}"
        try:
            with session.connect(home, home.site().vsphere, timeout=5) as v:
                found, answers = f"{found}, {v.content.about.fullName}", True
        except HikkoshiError as e:
            found += f"; {e.problems[0].what}: {e.problems[0].found}"
    checks = [
        Check(
            code="lab-vcenter-answers",
            title="vCenter (vcsim) answers",
            ok=answers,
            found=found,
            expected="a session",
            remedy="hikkoshi lab up",
            where=str(own),
        )
    ]
    if os.geteuid() == 0:
        net = network.find(own)
        checks.append(
            Check(
                code="lab-network-up",
                title="network of ten segments",
                ok=net is not None,
                found=f"process {net.pid}" if net else "no process",
                expected="a process that holds it",
                remedy="hikkoshi lab up",
                where=str(own),
            )
        )
    if (own / process.PID_FILE).exists():
        body = process.find(own)
        checks.append(
            Check(
                code="lab-machines-run",
                title="machines that are on in vSphere run",
                ok=body is not None,
                found=f"process {body.pid}" if body else "no process",
                expected="a process that runs them",
                remedy="hikkoshi lab up",
                where=str(own / process.LOG),
            )
        )
    for name, recipe in GUESTS.items():
        disks = [own / "dom0" / IMAGES / f"{name}{part}.img" for part in image.FILES[recipe.layout].values()]
        there = all(disk.is_file() for disk in disks) and (own / "dom0" / CONFIGURATIONS / name).is_file()
        size = "; ".join(map(_size, disks)) if there else "missing"
        checks.append(
            Check(
                code="lab-guest-there",
                title=f"guest {name} on the Dom-0",
                ok=there,
                found=size,
                expected="configuration and images",
                remedy="hikkoshi lab up",
                where=str(disks[0]),
            )
        )
    return [*checks, *machine.status(own / XEN)]


def _check_is_lab(home: Home, wanted: Site) -> None:
    """The lab takes the place of a site only where the parameters mean the lab, never that of a real vCenter."""
    own, v = folder(home), wanted.vsphere
    host, _, port = v.server.partition(":")
    meant = {
        "vsphere.server": (v.server, "127.0.0.1:PORT", host == "127.0.0.1" and port != ""),
        "vsphere.ca": (str(v.ca), "outputs/lab/ca.pem", v.ca is not None and home.path(v.ca) == own / "ca.pem"),
        "vsphere.password": (
            v.password,
            f"file:outputs/lab/{vcsim.PASSWORD}",
            v.password.startswith("file:") and home.path(Path(v.password[5:])) == own / vcsim.PASSWORD,
        ),
        "vsphere.user": (v.user, "administrator", v.user in ("administrator", "administrator@vsphere.local")),
    }
    wrong = [
        Problem(
            code="not-the-lab",
            what="this site is not the lab",
            where=f"{home.root / 'params' / 'site.yml'}: {key}",
            found=found,
            expected=expected,
            remedy="the lab comes up only for the parameters that ship with Hikkoshi; for a real site it is not needed",
        )
        for key, (found, expected, right) in meant.items()
        if not right
    ]
    if wrong:
        raise BadInput(*wrong)


def _refuse_taken_port(server: str) -> None:
    host, _, port = server.partition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as e:
            raise Refused(
                Problem(
                    code="lab-port-taken",
                    what="the lab's vCenter cannot have its port",
                    where=server,
                    found=e.strerror or str(e),
                    expected="a port that nobody listens on",
                    remedy="end the program that has it, or write another port as `server` in params/site.yml; a lab of another "
                    "folder is ended by `hikkoshi lab down` there",
                )
            ) from None


def _network(dom0: Path) -> None:
    """The Dom-0's own network files, as CentOS has them: a VLAN and a bridge for each segment of the guests."""
    texts = {"eth0": "ONBOOT=yes"}
    for bridge in sorted({nic.bridge for recipe in GUESTS.values() for nic in recipe.nics}):
        texts[f"eth0.{bridge.removeprefix('xenbr')}"] = f"ONBOOT=yes\nVLAN=yes\nBRIDGE={bridge}"
        texts[bridge] = "TYPE=Bridge\nONBOOT=yes"
    for name, text in texts.items():
        files.write(dom0 / "etc/sysconfig/network-scripts" / f"ifcfg-{name}", f"DEVICE={name}\n{text}\n")


def _install(dom0: Path, name: str, recipe: image.GuestImage, say: Say) -> None:
    """Put a guest's configuration and copies of its images on the Dom-0, read-only as those of a live guest should be."""
    config = dom0 / CONFIGURATIONS / name
    made = image.disks(recipe, lambda done, total, words: say(f"Dom-0: {words}") if done < total else None)
    if not config.is_file() or config.read_text() != image.xm_config(recipe):
        files.write(config, image.xm_config(recipe))
    copies = {dom0 / IMAGES / f"{name}{part}.img": made[vdev] for vdev, part in image.FILES[recipe.layout].items()}
    wrong = {disk: built for disk, built in copies.items() if not _same(disk, built)}
    for disk, built in wrong.items():
        disk.unlink(missing_ok=True)
        with files.part(disk) as unfinished:
            tool.run(["cp", "--reflink=auto", "--sparse=always", "--preserve=timestamps", built, unfinished])
            unfinished.chmod(0o400)
    if wrong:
        say(f"Dom-0: {name} is there, {'; '.join(map(_size, copies))}")


def _size(disk: Path) -> str:
    return f"{files.human(image.allocated(disk))} of {files.human(disk.stat().st_size)}"


def _same(copy: Path, original: Path) -> bool:
    """A copy keeps size and time of change; writing to it, by whomever, changes the time."""
    if not copy.is_file():
        return False
    a, b = copy.stat(), original.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns) and not a.st_mode & 0o222
