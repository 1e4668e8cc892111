"""The lab comes up, stays up, and goes away without a trace."""

import http.server
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import processes
import vcenter
from hikkoshi.errors import BadInput, Refused, ToolFailed
from hikkoshi.network import host
from hikkoshi.network.outage import observation
from hikkoshi.params.home import Home
from hikkoshi.progress import silent
from hikkoshi.vsphere import inventory, readback, session, vm
from hikkoshi_lab import keys, lab, network, vcsim
from hikkoshi_lab.body import miswiring, process
from processes import PATIENCE, hikkoshi, wait_for
from vcenter import World

pytestmark = pytest.mark.needs("vcsim", "openssl", "mke2fs")
PROJECT = Path(__file__).parents[2]


def quiet(words: str) -> None:
    pass


@pytest.fixture
def place(home: Home, free_port: int) -> Iterator[Home]:
    """A home of its own whose lab is down, on a port that nobody has."""
    path = home.root / "params" / "site.yml"
    path.write_text(path.read_text().replace("127.0.0.1:8989", f"127.0.0.1:{free_port}"))
    yield home
    lab.down(home, quiet)


@pytest.fixture
def free_port() -> int:
    return processes.free_port()


def contents(home: Home) -> dict[str, tuple[int, int]]:
    """{path: (inode, time of last change)} of everything in the lab but the lock, which every command takes."""
    own = lab.folder(home)
    return {
        str(p.relative_to(own)): (p.stat().st_ino, p.stat().st_mtime_ns)
        for p in own.rglob("*")
        if p.is_file() and p.name != "lock" and "tmp" not in p.parts
    }


def running(home: Home) -> vcsim.Server:
    server = vcsim.find(lab.folder(home))
    assert server is not None
    return server


def test_up_gives_every_segment_its_port_group_with_its_vlan(place: Home) -> None:
    lab.up(place, quiet)
    site = place.site()
    with session.connect(place, site.vsphere) as v:
        found = {g.name: g.vlan for g in inventory.place(v, site.vsphere).port_groups}
        hosts = [p["name"] for p in v.collect("HostSystem", ["name"]).values()]
    assert {s.port_group: s.vlan for s in site.segments.values()}.items() <= found.items()
    assert len(hosts) == 3
    assert all(lab.status(place))


def test_up_puts_both_guests_on_the_dom0_sparse_and_read_only(place: Home) -> None:
    lab.up(place, quiet)
    for name, size in (("idp", 9_399_435_264), ("gateway", 64 << 30)):
        disk = lab.folder(place) / "dom0" / "var" / "lib" / "xen" / "images" / f"{name}.img"
        assert (disk.stat().st_size, stat.S_IMODE(disk.stat().st_mode)) == (size, 0o400)
        assert disk.stat().st_blocks * 512 < 200 << 20
        assert f'name = "{name}"' in (lab.folder(place) / "dom0" / "etc" / "xen" / name).read_text()


def test_up_twice_changes_nothing(place: Home) -> None:
    lab.up(place, quiet)
    before, server = contents(place), running(place)
    said: list[str] = []
    lab.up(place, said.append)
    assert (contents(place), running(place)) == (before, server)
    assert said == ["the lab is up"]


def test_the_vcenter_survives_the_command_that_started_it(place: Home) -> None:
    program = (
        "import sys; from pathlib import Path; from hikkoshi_lab import lab; from hikkoshi.params.home import Home\n"
        "lab.up(Home(Path(sys.argv[1])))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(place.root)], check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
    assert os.getsid(running(place).pid) == running(place).pid
    assert all(lab.status(place))


@pytest.mark.needs("root", "ip", "qemu-system-x86_64", "sshd")
def test_by_the_shipped_parameters_the_lab_runs_what_is_on_in_vsphere_and_the_gateway_is_reached_by_ssh(place: Home) -> None:
    own = lab.folder(place)
    shutil.copy(PROJECT / "params/guests/gateway.yml", place.root / "params/guests/gateway.yml")
    lab.up(place, quiet)
    body = process.find(own)
    assert body
    assert ("lab-machines-run", True) in {(c.code, c.ok) for c in lab.status(place)}
    measured = place.guest("gateway").measurement
    assert measured
    assert f"rate {measured.link_mbps}mbit" in network.SLOW
    gateway = host.parse(measured.shell, place.root)  # the old one
    observation.answering(gateway, silent, PATIENCE)
    assert gateway.run(["cat", "/sys/class/net/eth9/address"]).stdout == f"{network.MACS['eth9']}\n"
    for fault, why in (("lro", "one of the namespace that plays the gateway"), ("swap", "not in vSphere yet")):
        with pytest.raises(Refused, match=why):
            lab.fault(place, fault)
    lab.down(place, quiet)
    assert not body.alive
    assert not own.exists()


def test_the_moved_gateway_is_miswired_in_vsphere_and_put_right_again(world: World) -> None:
    vcenter.serve(world)
    v = world.connect()

    def wrong() -> dict[str, tuple[int | None, bool]]:
        (machine,) = (m for m in vm.every(v).values() if m.name == "gateway")
        groups = inventory.port_groups(v, v.content.rootFolder)
        found = {n.mac: (n.vlan, n.connected) for n in readback.found_nics(machine, groups)}
        return {nic: found[mac] for nic, mac in network.MACS.items() if found[mac] != (int(network.NICS[nic][4:]), True)}

    assert wrong() == {}
    for fault, seen in (("swap", {"eth3": (503, True), "eth7": (304, True)}), ("cut", {"eth3": (304, False)}), ("none", {})):
        assert miswiring.put(v, fault) == miswiring.FAULTS[fault]
        assert wrong() == seen


def test_up_after_the_vcenter_died_starts_it_again(place: Home) -> None:
    lab.up(place, quiet)
    dead = running(place)
    os.kill(dead.pid, signal.SIGKILL)
    os.waitpid(dead.pid, 0)
    assert not all(lab.status(place))
    lab.up(place, quiet)
    assert running(place).pid != dead.pid
    assert all(lab.status(place))


def test_an_image_that_somebody_changed_is_replaced(place: Home) -> None:
    lab.up(place, quiet)
    disk = lab.folder(place) / "dom0" / "var" / "lib" / "xen" / "images" / "idp.img"
    disk.chmod(0o644)
    with disk.open("r+b") as f:
        f.write(b"changed")
    lab.up(place, quiet)
    with disk.open("rb") as f:
        assert f.read(7) != b"changed"
    assert stat.S_IMODE(disk.stat().st_mode) == 0o400


def test_the_password_is_for_the_owner_only_and_new_every_time(place: Home) -> None:
    path = lab.folder(place) / vcsim.PASSWORD
    lab.up(place, quiet)
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lab.down(place, quiet)
    lab.up(place, quiet)
    assert path.read_text() != first


def test_down_leaves_only_the_keys_that_records_are_checked_with(place: Home) -> None:
    lab.up(place, quiet)
    server, own = running(place), keys.folder(place)
    made = {p: p.read_bytes() for p in own.iterdir()}
    lab.down(place, quiet)
    assert not server.alive
    assert set(place.outputs.rglob("*")) == {own, *made}
    assert not any(lab.status(place))
    lab.down(place, quiet)
    lab.up(place, quiet)
    assert {p: p.read_bytes() for p in own.iterdir()} == made


def test_down_leaves_what_it_did_not_make(place: Home) -> None:
    lab.up(place, quiet)
    (lab.folder(place) / "notes.txt").write_text("mine")
    lab.down(place, quiet)
    assert [p.name for p in lab.folder(place).iterdir()] == ["notes.txt"]


def test_a_recycled_pid_is_never_killed(place: Home) -> None:
    lab.up(place, quiet)
    running(place).end()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        path = lab.folder(place) / vcsim.PID_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": bystander.pid}))
        assert vcsim.find(lab.folder(place)) is None
        lab.down(place, quiet)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_port_that_another_program_has_is_refused(place: Home, free_port: int) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", free_port), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(Refused, match="cannot have its port") as e:
            lab.up(place, quiet)
        other.shutdown()
    assert e.value.exit_code == 3
    assert vcsim.find(lab.folder(place)) is None


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("server: 127.0.0.1", "server: vcenter.example.org", "vsphere.server"),
        ("user: administrator", "user: root", "vsphere.user"),
        ("ca: outputs/lab/ca.pem", "ca: /etc/ssl/ca.pem", "vsphere.ca"),
        ("password: file:outputs/lab/vcenter.password", "password: env:VCENTER", "vsphere.password"),
    ],
)
def test_the_parameters_of_a_real_site_are_refused(place: Home, old: str, new: str, key: str) -> None:
    path = place.root / "params" / "site.yml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(BadInput, match=f"site.yml: {key}"):
        lab.up(place, quiet)
    assert not lab.folder(place).exists()


def test_a_vcenter_that_does_not_start_is_quoted_and_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="flag provided but not defined"), vcsim.start(tmp_path, "-nonsense"):
        pass
    assert vcsim.find(tmp_path) is None


def test_a_vcenter_that_had_ended_before_it_was_looked_at_does_not_run() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert not vcsim.Server(ended.pid, vcsim.started(ended.pid), "127.0.0.1", 0).alive


def test_a_vcenter_of_a_test_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from hikkoshi_lab import vcsim\n"
        "with vcsim.start(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    server = vcsim.Server(**json.loads((tmp_path / vcsim.PID_FILE).read_text()))
    wait_for(lambda: not server.alive, "it ends")
    assert list((tmp_path / vcsim.TEMPORARY).iterdir()) == []


def test_every_command_of_the_lab_answers_with_one_json_document(plan_home: Home) -> None:
    for argv, up in (("status", True), ("up", True), ("down", False), ("status", False)):
        told = hikkoshi(plan_home, "lab", argv, "--json")
        assert {part["up"] for part in json.loads(told.stdout)} == {up}, argv
