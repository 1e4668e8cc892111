"""A site folder made by looking at the lab's Dom-0 and at a real vcsim: on a terminal and without one, and a plan out of it."""

import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from pyVmomi import vim

import vcenter
from hikkoshi.approval.plan import Plan
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.vsphere import session
from processes import hikkoshi, on_a_terminal, without_a_process
from runbooks import Look

pytestmark = pytest.mark.needs("vcsim", "ssh-keygen")
GUESTS = ("gateway", "idp")


def server(lab: Home) -> str:
    return lab.site().vsphere.server


def options(lab: Home) -> list[str]:
    """All that is asked for on the lab's site."""
    own = lab.outputs / "lab"
    return [
        *("--dom0", f"xenhost={own / 'dom0'}", "--vcenter", server(lab), "--user", "administrator"),
        *("--password-from", f"file:{own / 'vcenter.password'}", "--ca", str(own / "ca.pem")),
        *("--key", str(lab.outputs / "keys/operator")),
    ]


def changed(given: Sequence[str], option: str, value: str) -> list[str]:
    at = list(given).index(option)
    return [*given[: at + 1], value, *given[at + 2 :]]


@pytest.fixture(scope="module")
def mine(lab_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A folder that init has made without a terminal."""
    made = Home(tmp_path_factory.mktemp("own") / "mine")
    done = without_a_process(made, "init", str(made.root), *options(lab_home))
    assert done.returncode == 0, done.stderr
    return made


def test_the_whole_site_is_written_as_a_person_wrote_it_for_the_lab(lab_home: Home, mine: Home) -> None:
    own, shipped = mine.site(), lab_home.site()
    place = {"ca": lab_home.outputs / "lab/ca.pem", "password": f"file:{lab_home.outputs}/lab/vcenter.password"}
    assert own.vsphere == shipped.vsphere.model_copy(update=place)
    ports = {s.vlan: s.port_group for s in shipped.segments.values()}
    assert {s.vlan: s.port_group for s in own.segments.values()} == ports
    for name in GUESTS:
        guest, written = mine.guest(name), lab_home.guest(name)
        assert (guest.config, guest.dom0) == (written.config, written.dom0)
        vlans = [(n.mac, own.segments[n.segment].vlan) for n in guest.nics]
        assert vlans == [(n.mac, shipped.segments[n.segment].vlan) for n in written.nics]
    assert all(stat.S_IMODE(p.stat().st_mode) & 0o077 == 0 for p in [mine.root, *mine.root.rglob("*")])


def test_a_survey_becomes_a_plan_there(mine: Home, lab_home: Home, looked: dict[str, Look], home: Home, tmp_path: Path) -> None:
    """The survey of the same Dom-0 is the lab's own: making another one would only take time. The vSphere has no guest yet."""
    assert looked["idp"]
    own = Home(tmp_path / "mine")
    shutil.copytree(mine.root, own.root)
    folder = own.folder("idp")
    folder.mkdir(parents=True)
    shutil.copy(lab_home.folder("idp").survey, folder.survey)
    with vcenter.start(home, home.site_file) as world:
        text = own.site_file.read_text().replace(server(lab_home), f"{world.server.host}:{world.server.port}")
        for name in ("ca.pem", "vcenter.password"):
            text = text.replace(f"{lab_home.outputs}/lab/{name}", f"{world.lab}/{name}")
        own.site_file.write_text(text)
        done = hikkoshi(own, "run", "idp", "--only", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "signed by operator@lab" in done.stdout
    (nic,) = Plan.load(GuestFolder(folder)).vm.nics
    assert (nic.segment, nic.port_group, nic.vlan) == ("vlan210", "servers-210", 210)


def test_on_a_terminal_it_asks_and_makes_a_key_with_a_passphrase_and_writes_no_secret(lab_home: Home, tmp_path: Path) -> None:
    given, place = options(lab_home), Home(tmp_path / "mine")
    password = (lab_home.outputs / "lab/vcenter.password").read_text().strip()
    answers = [
        *(
            ("A Dom-0", "xenhost"),
            ("A Dom-0", given[1]),
            ("One more Dom-0", "no"),
            ("Does a contractor run the vSphere", "yes"),
            ("Does a contractor run the vSphere", "No"),
            ("The vCenter", given[3]),
            ("Its user", given[5]),
        ),
        *(("Where its password is", password), ("Where its password is", given[7]), ("The certificate is", "yes")),
        *(("Your public key", ""), ("passphrase", "words of mine"), ("same passphrase", "words of mine")),
    ]
    code, told = on_a_terminal(None, "init", str(place.root), answers=answers)
    assert code == 0, told
    shown = told.split("SHA-256 fingerprint")[1].split()[0]
    assert place.site().vsphere.sha256 == shown
    key = place.root / "outputs/keys/operator"
    for passphrase, opens in (("", False), ("words of mine", True)):
        tried = subprocess.run(["ssh-keygen", "-y", "-P", passphrase, "-f", key], capture_output=True, check=False)
        assert (tried.returncode == 0) == opens
    texts = {p: p.read_text() for p in place.root.rglob("*") if p.is_file()}
    assert not [p for p, text in texts.items() if password in text or "words of mine" in text]
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    first, second, third = (line.strip() for line in told.split("Next:")[1].splitlines()[1:4])
    assert (first, third) == (f"cd {place.root}", "hikkoshi run gateway --through 20-plan")
    assert second.endswith("ssh-add outputs/keys/operator; hikkoshi doctor")


def test_for_a_new_guest_on_a_vlan_that_the_site_lacks_the_line_is_told_and_the_site_stays(mine: Home, tmp_path: Path) -> None:
    later = Home(tmp_path)
    shutil.copytree(mine.root / "params", later.root / "params")
    later.guest_file("gateway").unlink()
    line = "  vlan301: { vlan: 301, port_group: dv-vlan301 }\n"
    later.site_file.write_text(later.site_file.read_text().replace(line, ""))
    before = later.site_file.read_text()
    done = without_a_process(later, "init", str(later.root))
    assert done.returncode == 0, done.stderr
    assert f"params/site.yml, below segments: {line.strip()}" in done.stdout
    assert later.site_file.read_text() == before
    assert '  # - { mac: "00:16:3e:05:00:00", segment: vlan301 }' in later.guest_file("gateway").read_text().splitlines()
    assert len(later.guest("gateway").nics) == 9


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--user", "nobody", "give another --user, or correct the secret that --password-from points to"),
        ("--vcenter", "127.0.0.1:1", "correct --vcenter, or see whether it can be reached from here"),
        ("--ca", "KEY", "correct --ca"),
        ("--dom0", "xenhost=/nothing", "there is no folder /nothing"),
    ],
)
def test_where_one_of_the_two_cannot_be_looked_at_nothing_is_made(
    lab_home: Home, tmp_path: Path, option: str, value: str, told: str
) -> None:
    value = str(lab_home.outputs / "keys/operator.pub") if value == "KEY" else value
    done = without_a_process(Home(tmp_path), "init", str(tmp_path / "mine"), *changed(options(lab_home), option, value))
    assert (done.returncode != 0, told in done.stderr) == (True, True), done.stderr
    assert not list(tmp_path.iterdir())


def test_a_second_port_group_of_a_vlan_is_left_to_a_person(lab_home: Home, tmp_path: Path) -> None:
    vmware = vim.dvs.VmwareDistributedVirtualSwitch
    vlan = vmware.VmwarePortConfigPolicy(vlan=vmware.VlanIdSpec(vlanId=210, inherited=False))
    spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
        name="spare: 210", type="earlyBinding", numPorts=1, defaultPortConfig=vlan
    )
    with session.connect(lab_home, lab_home.site().vsphere) as v:
        switch = next(iter(v.collect("DistributedVirtualSwitch", ["name"])))
        v.wait(switch.AddDVPortgroup_Task([spec]), "add a port group")
        added = next(o for o, p in v.collect("DistributedVirtualPortgroup", ["name"]).items() if p["name"] == spec.name)
        try:
            done = without_a_process(Home(tmp_path), "init", str(tmp_path / "mine"), *options(lab_home), "--guest", "idp")
        finally:
            v.wait(added.Destroy_Task(), "remove a port group")
    assert done.returncode == 0, done.stderr
    assert "FILL IN port_group of vlan210: one of servers-210 (standard, VLAN 210), spare: 210 (distributed" in done.stdout
    assert Home(tmp_path / "mine").guest_names() == ["idp"]
    assert Home(tmp_path / "mine").site().segments["vlan210"].port_group == "FILL-IN"
