"""Collections and remedies on machines of their own: a root over this one's that swallows every change, NICs, processes."""

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hikkoshi import tool
from hikkoshi.errors import Refused, StepFailed
from hikkoshi.network.diagnosis import collection
from hikkoshi.network.diagnosis.snapshot import Snapshot
from hikkoshi.network.host import Host
from hikkoshi.network.remedy import guestfile, prescription, remedy
from hikkoshi.network.remedy.prescription import DISPATCHER, IFUP_LOCAL, Prescription
from hikkoshi_lab import packages
from journey import permitted

REMEDY = permitted(step="85-offloads")
pytestmark = pytest.mark.needs("root", "ip", "ethtool", "unshare", "nsenter", "dpkg-deb")
OVER_THIS = """
mount -t tmpfs tmpfs {room}
mkdir {room}/up {room}/work {room}/root
mount -t overlay overlay -o lowerdir=/,upperdir={room}/up,workdir={room}/work {room}/root
cd {room}/root/etc
[ "$(pwd -P)" = {room}/root/etc ] # nothing is removed anywhere else
rm -rf network NetworkManager systemd/network netplan sysconfig
"""
NICS = """
[ -e /proc/sys/net/ipv6 ] && echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 # it would speak unasked
for n in 0 1; do
    ip link add eth$n address 00:16:3e:05:00:0$n type veth peer name far$n
    ip link set eth$n up
    ip link set far$n up
    ethtool -K eth$n gro on
done
echo 1 >/proc/sys/net/ipv4/ip_forward
"""
ENTER = """
cd {room}/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --bind /dev dev
touch {marker}
exec chroot . sh -c "echo ready; exec sleep infinity"
"""
MARKER = "this-is-a-guest"  # in its root: without it, nothing is written there
# what an old guest certainly has: no ethtool, tcpdump or nmcli
APPLETS = ("sh", "cat", "date", "dmesg", "grep", "head", "ls", "lsmod", "readlink", "sed", "sleep", "sort", "tail", "uname")
EUC = "# \u5b66\u5185\n".encode("euc-jp")  # as old guests in Japan have it


@dataclass
class Machine:
    """A machine in namespaces; `root` is where its files are seen from here, `changes` those of them that are not ours."""

    host: Host
    root: Path
    changes: Path

    def put(self, path: str, content: bytes | str, mode: int = 0o644) -> None:
        assert (self.root / MARKER).exists()
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)

    def get(self, path: str) -> bytes:
        return (self.root / path.lstrip("/")).read_bytes()

    def merging(self) -> Snapshot:
        """What it tells, as if its NICs, whose LRO is fixed, had been seen to merge frames."""
        told = collection.collect(self.host)
        own = {name: nic for name, nic in told.nics.items() if name.startswith("eth")}  # the others are their far ends
        return replace(told, nics={name: replace(nic, oversized=9) for name, nic in own.items()})


@contextmanager
def machine(room: Path, setup: str) -> Iterator[Machine]:
    """Bring one up; it ends with us."""
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-es"]
    process = subprocess.Popen(tool.command(namespaces), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdin
        assert process.stdout
        process.stdin.write((setup + NICS + ENTER).format(room=room, marker=MARKER).encode())
        process.stdin.close()
        assert process.stdout.readline() == b"ready\n"
        inner = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip()
        enter = (tool.find("nsenter"), "-t", inner, "-m", "-n", "-p", "-r", "-w", "--")
        made = Machine(Host("guest", enter), Path(f"/proc/{inner}/root"), Path(f"/proc/{process.pid}/root{room}/up"))
        assert (made.root / MARKER).exists()
        assert MARKER in made.host.run(["ls", "/"]).stdout
        yield made
    finally:
        tool.end(process)


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Machine]:
    """Everything that is on this machine, but for its network, its configuration of it, and its processes."""
    with machine(tmp_path, OVER_THIS) as made:
        yield made


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Machine]:
    """busybox, and little of that."""
    root = tmp_path / "root"
    tool.run(["dpkg-deb", "-x", packages.load()["busybox-static"].path, tmp_path / "deb"])
    for folder in ("bin", "proc", "sys", "dev", "etc", "tmp"):
        (root / folder).mkdir(parents=True)
    (tmp_path / "deb/bin/busybox").rename(root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/redhat-release").write_text("CentOS release 5.11 (Final)\n")
    with machine(tmp_path, "") as made:
        yield made


class TestCollection:
    @pytest.mark.parametrize("shell", ["dash", "bash"])
    def test_a_whole_machine_is_read_by_either_shell(self, guest: Machine, shell: str) -> None:
        guest.host.script(f"ln -sf {shell} /bin/sh")
        told = collection.collect(guest.host)
        assert told.whole
        assert told.forwards
        assert told.nics["eth0"].mac == "00:16:3e:05:00:00"
        assert told.nics["eth1"].mtu == 1500
        assert told.nics["eth0"].gro
        assert told.counts["IpFragFails"] == 0
        assert told.ethtool.endswith("/ethtool")
        assert told.kernel == os.uname().release

    def test_with_next_to_no_programs_the_counts_of_proc_are_there_and_the_rest_is_known_to_be_missing(
        self, old: Machine
    ) -> None:
        told = collection.collect(old.host)
        assert {"ethtool", "nmcli"} <= told.missing
        assert told.release == "CentOS release 5.11 (Final)"
        assert told.forwards
        assert told.nics["eth0"].traffic
        assert told.nics["eth0"].mtu == 1500
        assert told.counts["IpFragFails"] == 0
        assert not told.parameters
        assert told.ethtool == ""
        assert collection.watch(old.host, told.ethernet, 1).endswith("end\n")

    def test_a_script_for_ever_busy_with_its_input_is_not_fed_to_the_programs_it_calls(self, guest: Machine) -> None:
        guest.put("/usr/local/bin/ethtool", "#!/bin/sh\ncat\n", 0o755)  # would swallow the script
        told = collection.collect(guest.host)
        assert {"eth0", "eth1"} <= set(told.nics)
        assert "IpFragFails" in told.counts

    def test_no_secret_of_the_guests_configuration_comes_along(self, guest: Machine) -> None:
        guest.put(
            "/etc/NetworkManager/system-connections/lan", "[connection]\ninterface-name = eth0\n[wifi-security]\npsk=hush\n"
        )
        guest.put("/etc/network/interfaces", "iface eth0 inet static\n    wpa-psk hush\n")
        guest.put("/etc/sysconfig/network-scripts/ifcfg-eth1", "DEVICE=eth1\nKEY=hush\n")
        told = collection.collect(guest.host)
        assert "hush" not in told.raw
        assert told.settings["/etc/NetworkManager/system-connections/lan"] == ("interface-name = eth0",)
        assert len(told.settings) == 3

    def test_output_without_end_is_cut_and_the_rest_is_read_all_the_same(self, guest: Machine) -> None:
        guest.put("/usr/local/bin/ethtool", "#!/bin/sh\nyes | head -n 200000\n", 0o755)
        told = collection.collect(guest.host)
        assert len(told.raw) < 2_000_000
        assert told.counts["IpFragFails"] == 0

    def test_no_packet_is_sent_and_no_file_is_left_behind(self, guest: Machine) -> None:
        before = sorted(guest.changes.rglob("*"))
        sent = collection.collect(guest.host).nics["eth0"].traffic
        told = collection.collect(guest.host)
        collection.watch(guest.host, told.ethernet, 1)
        assert sent
        assert sent.tx_packets == 0
        assert told.nics["eth0"].traffic == sent
        assert sorted(guest.changes.rglob("*")) == before


def el6(m: Machine) -> dict[str, bytes]:
    m.put("/etc/redhat-release", "CentOS release 6.6 (Final)\n")
    return {
        f"/etc/sysconfig/network-scripts/ifcfg-eth{n}": b"DEVICE=eth%d\n" % n + EUC + b'ETHTOOL_OPTS="wol d"' for n in range(2)
    }


def el5(m: Machine) -> dict[str, bytes]:
    m.put("/etc/redhat-release", "CentOS release 5.11 (Final)\n")
    for n in range(2):
        m.put(f"/etc/sysconfig/network-scripts/ifcfg-eth{n}", f"DEVICE=eth{n}\n")
    return {IFUP_LOCAL: b"#!/bin/bash\nroute add default gw 10.3.1.1\nexit 0\n"}


def debian(m: Machine) -> dict[str, bytes]:
    return {"/etc/network/interfaces": b"auto eth0 eth1\niface eth0 inet dhcp\niface eth1 inet static\n  address 10.1.1.1/8\n"}


def systemd(m: Machine) -> dict[str, bytes]:
    match = "[Match]\nMACAddress=00:16:3e:05:00:0{n}\n\n[Link]\nName=eth{n}\n"
    return {f"/etc/systemd/network/10-eth{n}.link": match.format(n=n).encode() for n in range(2)}


def manager(m: Machine) -> None:
    """A process of NetworkManager's name, and an nmcli: the real ones are not on this machine."""
    m.put("/usr/local/bin/nmcli", '#!/bin/sh\n[ "$1" = --version ] && echo "nmcli tool, version 1.40.16"\n:\n', 0o755)
    m.host.script("cp /bin/sleep /tmp/NetworkManager; setsid -f /tmp/NetworkManager infinity >/dev/null 2>&1 </dev/null")
    m.host.script("until cat /proc/[0-9]*/comm 2>/dev/null | grep -qx NetworkManager; do sleep 0.05; done")


def keyfiles(m: Machine) -> dict[str, bytes]:
    manager(m)
    return {
        f"/etc/NetworkManager/system-connections/eth{n}.nmconnection": b"[connection]\ninterface-name=eth%d\npsk=hush\n" % n
        for n in range(2)
    }


def el7(m: Machine) -> dict[str, bytes]:
    el6(m)
    manager(m)
    for n in range(2):
        m.put(f"/etc/sysconfig/network-scripts/ifcfg-eth{n}", f"DEVICE=eth{n}\n")
    return {}


SYSTEMS: dict[str, Callable[[Machine], dict[str, bytes]]] = {
    "ifcfg": el6,
    "ifup-local": el5,
    "interfaces": debian,
    "link": systemd,
    "keyfile": keyfiles,
    "dispatcher": el7,
}


def prepared(guest: Machine, way: str) -> tuple[Prescription, dict[str, bytes]]:
    before = SYSTEMS[way](guest)
    for path, content in before.items():
        guest.put(path, content, 0o700 if way == "ifup-local" else 0o640)
    return prescription.remedies(guest.merging()), before


@pytest.mark.parametrize("way", SYSTEMS)
def test_a_remedy_is_applied_written_down_read_back_and_undone_byte_for_byte(guest: Machine, way: str) -> None:
    plan, before = prepared(guest, way)
    paths = set(before) or {DISPATCHER}
    assert {f.way for f in plan.files} == {way}
    assert {f.path for f in plan.files} == paths
    assert not remedy.holds(guest.host, plan)
    applied = remedy.apply(guest.host, plan, REMEDY)
    assert remedy.holds(guest.host, plan)
    flags = collection.collect(guest.host).nics
    assert [flags[n].gro and flags[n].gro.on for n in ("eth0", "eth1")] == [False, False]  # type: ignore[union-attr]
    for path in paths:
        now = guest.get(path)
        assert b"gro off" in now or b"GenericReceiveOffload=no" in now or b"feature-gro=false" in now
        assert way != "ifcfg" or EUC in now
        mode = stat.S_IMODE((guest.root / path.lstrip("/")).stat().st_mode)
        assert mode == (0o700 if way == "ifup-local" else 0o755 if way == "dispatcher" else 0o640)
    for path, content in before.items():
        assert guest.get(f"/.pre-migration{path}") == content
    assert "hush" not in applied.model_dump_json()

    remedy.undo(guest.host, remedy.Applied.model_validate_json(applied.model_dump_json()), REMEDY)
    assert remedy.undone(guest.host, applied)
    assert not remedy.holds(guest.host, plan)
    assert {path: guest.get(path) for path in before} == before
    if way == "dispatcher":
        assert not (guest.root / DISPATCHER.lstrip("/")).exists()
    assert not guest.host.script("find /etc /sbin -name '.*.new'")


def test_what_the_preparation_kept_is_not_written_over(guest: Machine) -> None:
    guest.put("/.pre-migration/etc/network/interfaces", "as it was under Xen\n")
    plan, before = prepared(guest, "interfaces")
    applied = remedy.apply(guest.host, plan, REMEDY)
    assert guest.get("/.pre-migration/etc/network/interfaces") == b"as it was under Xen\n"
    assert applied.files[0].kept == "/.pre-migration/etc/network/interfaces.1"
    assert guest.get(applied.files[0].kept) == before["/etc/network/interfaces"]


def test_a_flag_that_stays_on_although_ethtool_says_nothing_is_a_failure_and_the_files_are_as_before(guest: Machine) -> None:
    plan, before = prepared(guest, "interfaces")
    with pytest.raises(StepFailed, match="read back it is not there") as e:
        remedy.apply(guest.host, plan.model_copy(update={"ethtool": "/bin/true"}), REMEDY)
    assert "eth0: gro is on" in str(e.value)
    assert guest.get("/etc/network/interfaces") == before["/etc/network/interfaces"]


def test_a_file_that_cannot_be_written_leaves_flags_and_other_files_as_they_were(guest: Machine) -> None:
    plan, before = prepared(guest, "ifcfg")
    last = plan.files[-1].path
    guest.host.script(f"mount --bind {last} {last}")  # a name that another file cannot take
    with pytest.raises(StepFailed):
        remedy.apply(guest.host, plan, REMEDY)
    assert not guest.host.script("find /etc -name '.*.new'")
    assert {path: guest.get(path) for path in before} == before
    told = collection.collect(guest.host).nics
    assert told["eth0"].gro
    assert told["eth0"].gro.on


def test_the_source_under_xen_is_neither_remedied_nor_has_a_remedy_undone(guest: Machine) -> None:
    plan, before = prepared(guest, "interfaces")
    applied = remedy.Applied(plan=plan, flags=(), files=())
    script = '#!/bin/sh\n[ "$1" = -i ] && exec echo "driver: vif"\nexec /usr/sbin/ethtool "$@"\n'
    guest.put("/usr/local/bin/ethtool", script, 0o755)
    with pytest.raises(Refused, match="runs under Xen"):
        remedy.apply(guest.host, plan, REMEDY)
    with pytest.raises(Refused, match="runs under Xen"):
        remedy.undo(guest.host, applied, REMEDY)
    assert guest.get("/etc/network/interfaces") == before["/etc/network/interfaces"]
    told = collection.collect(guest.host).nics["eth0"].gro
    assert told
    assert told.on


def test_a_remedy_is_not_undone_by_a_permission_for_another_step(guest: Machine) -> None:
    applied = remedy.Applied(plan=Prescription(), flags=(), files=())
    with pytest.raises(Refused, match="another step"):
        remedy.undo(guest.host, applied, permitted())


def test_a_file_that_somebody_changed_since_is_left_alone_and_named(guest: Machine) -> None:
    plan, _ = prepared(guest, "interfaces")
    applied = remedy.apply(guest.host, plan, REMEDY)
    guest.put("/etc/network/interfaces", guest.get("/etc/network/interfaces") + b"# mine\n")
    with pytest.raises(StepFailed, match="is not as it was"):
        remedy.undo(guest.host, applied, REMEDY)
    assert guest.get("/etc/network/interfaces").endswith(b"# mine\n")
    told = collection.collect(guest.host).nics["eth0"].gro
    assert told
    assert told.on


def test_applied_again_after_a_restart_it_still_knows_how_all_was_before_the_first_time(guest: Machine) -> None:
    plan, before = prepared(guest, "ifcfg")
    first = remedy.apply(guest.host, plan, REMEDY)
    guest.host.script("ethtool -K eth0 gro on")  # as after a restart at which the file was not read
    path = next(iter(before))
    guest.put(path, before[path])
    second = remedy.apply(guest.host, plan, REMEDY, first)
    assert {f.path: f.before_sha256 for f in second.files} == {f.path: f.before_sha256 for f in first.files}
    assert all(f.on for f in second.flags)
    kept = sorted(p.name for p in (guest.root / ".pre-migration/etc/sysconfig/network-scripts").iterdir())
    assert kept == ["ifcfg-eth0", "ifcfg-eth0.1", "ifcfg-eth1"]  # the other one already said so
    remedy.undo(guest.host, second, REMEDY)
    assert {path: guest.get(path) for path in before} == before


def test_a_file_behind_a_symbolic_link_is_changed_and_the_link_stays(guest: Machine) -> None:
    guest.put("/srv/interfaces", "iface eth0 inet dhcp\niface eth1 inet dhcp\n")
    guest.host.script("mkdir -p /etc/network; ln -s /srv/interfaces /etc/network/interfaces")
    plan = prescription.remedies(guest.merging())
    applied = remedy.apply(guest.host, plan.model_copy(update={"switches": ()}), REMEDY)
    assert b"post-up" in guest.get("/srv/interfaces")
    assert (guest.root / "etc/network/interfaces").is_symlink()
    remedy.undo(guest.host, applied, REMEDY)
    assert b"post-up" not in guest.get("/srv/interfaces")


def test_every_byte_comes_back_as_it_was_written(guest: Machine) -> None:
    content = bytes(range(1, 256)) + b"%s %% \\n '\"$HOME `id` -n\n\n1234\x0012\r\n-"
    path = "/etc/new folder/-file"
    assert guestfile.write(guest.host, path, content, "0600") == ""
    assert guestfile.read(guest.host, [path, "/etc/none"]) == {path: content, "/etc/none": None}
    assert guestfile.write(guest.host, path, b"-n x") == f"/.pre-migration{path}"
    assert guestfile.read(guest.host, [path]) == {path: b"-n x"}
    guestfile.write(guest.host, path, b"")
    assert guestfile.read(guest.host, [path]) == {path: b""}
    assert stat.S_IMODE((guest.root / path.lstrip("/")).stat().st_mode) == 0o600
