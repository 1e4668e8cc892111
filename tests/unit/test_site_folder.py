"""A site folder: what is found on Dom-0s that are folders, what is written of it, and what is never written."""

import errno
import json
import re
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hikkoshi.cli import answers, doctor
from hikkoshi.cli.questions import Questions
from hikkoshi.errors import BadInput, Refused
from hikkoshi.params import yamlfile
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site, VSphere
from hikkoshi.sitefolder import folder, mapping, pages, signers, sources
from hikkoshi.sitefolder.mapping import SegmentChoice
from hikkoshi.sitefolder.signers import PublicKey
from hikkoshi.sitefolder.sources import SourceGuest, SourceNic
from hikkoshi.vsphere.inventory import PortGroup
from hikkoshi.xen.reach.host import Located
from hikkoshi.xen.reach.mounted import MountedDom0
from processes import without_a_process as hikkoshi

PROJECT = Path(__file__).parents[2]
DATA = PROJECT / "tests/data/xen"
KEY = PublicKey(Path("outputs/keys/operator.pub"), "ops@example", "ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIFqWuwKHYQFk")
SERVER = VSphere(server="vc", user="ops", password="env:PW", ca=Path("/ca.pem"), datacenter="a", cluster="b", datastore="c")
NIC = SourceNic(0, "00:16:3e:00:02:01", "xenbr100", 100, "eth0.100")
DB01 = SourceGuest("db01", "xenhost", Path("/etc/xen/db01.cfg"), shape="pv, 1 vCPU, 320 MB, disks xvda", nics=(NIC,))
NETWORKS = {
    "ifcfg": {
        "etc/sysconfig/network-scripts/ifcfg-eth0": "DEVICE=eth0\nBRIDGE=xenbr0\n",
        "etc/sysconfig/network-scripts/ifcfg-eth0.100": "DEVICE=eth0.100\nVLAN=yes\nBRIDGE=xenbr100\n",
        "etc/sysconfig/network-scripts/ifcfg-xenbr100": "DEVICE=xenbr100\nTYPE=Bridge\n",
        "etc/sysconfig/network-scripts/ifcfg-bond0": "DEVICE=bond0\nBONDING_OPTS=mode=1\n",
        "etc/sysconfig/network-scripts/ifcfg-bond0.200": "DEVICE=bond0.200\nVLAN=yes\nBRIDGE=xenbr200\n",
        "etc/sysconfig/network-scripts/ifcfg-xenbr0": "DEVICE=xenbr0\nTYPE=Bridge\n",
        "etc/sysconfig/network-scripts/ifcfg-xenbr200": "DEVICE=xenbr200\nTYPE=Bridge\n",
    },
    "ifupdown": {
        "etc/network/interfaces": "auto xenbr100\niface xenbr100 inet manual\n  bridge_ports eth0.100\n"
        "iface xenbr0 inet static\n  address 10.0.0.2/24\n  bridge_ports eth0\nsource /etc/network/interfaces.d/*\n",
        "etc/network/interfaces.d/san": "iface vlan200 inet manual\n  vlan-raw-device eth1\niface xenbr200 inet manual\n"
        "  bridge_ports vlan200\n",
    },
}


def dom0(root: Path, texts: dict[str, str]) -> Dom0:
    """A Dom-0's files below a folder."""
    for name, text in {"etc/xen/xl.conf": '#autoballoon="auto"\n', **texts}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Dom0(root=root)


def found(tmp_path: Path, texts: dict[str, str]) -> dict[str, SourceGuest]:
    guests = sources.look(Home(tmp_path), "xenhost", dom0(tmp_path / "mnt", texts)).guests
    return {g.name: g for g in guests}


def config(name: str) -> str:
    return (DATA / f"{name}.cfg").read_text()


@pytest.mark.parametrize("network", NETWORKS)
def test_each_nic_of_a_folder_is_on_the_vlan_that_its_network_files_say(tmp_path: Path, network: str) -> None:
    guests = found(tmp_path, {**NETWORKS[network], "etc/xen/db01.cfg": config("db01"), "etc/xen/web01.cfg": config("web01")})
    assert [(n.mac, n.bridge, n.vlan) for n in guests["db01"].nics] == [
        ("00:16:3e:00:02:01", "xenbr100", 100),
        ("00:16:3e:00:02:02", "xenbr200", 200),
    ]
    assert [(n.vlan, n.by) for n in guests["web01"].nics] == [(0, "eth0"), (100, "eth0.100")]
    assert guests["db01"].shape == "pv, 1 vCPU, 320 MB, disks xvda, xvdb"


def test_without_network_files_no_vlan_is_known_and_why_is_told(tmp_path: Path) -> None:
    (nic, _) = found(tmp_path, {"etc/xen/db01.cfg": config("db01")})["db01"].nics
    assert (nic.vlan, nic.by) == (None, "no bridge xenbr100 with a port is there")


def test_what_is_no_configuration_of_a_guest_is_none(tmp_path: Path) -> None:
    example, text = "name = 'ExampleDomain'\nmemory = 1\n", config("db01")
    names = ("xmexample1", "xlexample.hvm", "db01.bak", "db01~", "db01.rpmsave", "scripts/block", ".hidden")
    guests = found(tmp_path, {**{f"etc/xen/{n}": example for n in names}, "etc/xen/db01": text, "etc/xen/README": "words\n"})
    assert list(guests) == ["db01"]


def test_a_link_in_auto_is_the_guest_it_leads_to_and_not_another_one(tmp_path: Path) -> None:
    made = {"etc/xen/db01": config("db01"), "srv/conf/web01": config("web01"), "etc/xen/auto/README": "none\n"}
    dom0(tmp_path / "mnt", made)
    (tmp_path / "mnt/etc/xen/auto/db01").symlink_to("../db01")
    (tmp_path / "mnt/etc/xen/auto/web01").symlink_to("/srv/conf/web01")
    guests = found(tmp_path, {})
    assert [str(g.config) for g in guests.values()] == ["/etc/xen/db01", "/srv/conf/web01"]
    assert not any(g.remarks for g in guests.values())


def test_of_two_files_of_one_name_the_one_that_is_called_so_is_taken_and_the_other_told(tmp_path: Path) -> None:
    guests = found(tmp_path, {"etc/xen/copy": config("db01"), "etc/xen/db01.cfg": config("db01")})
    assert (guests["db01"].config.name, guests["db01"].remarks) == (
        "db01.cfg",
        ("another file of this name is there: /etc/xen/copy",),
    )


def test_a_configuration_that_cannot_be_used_is_written_down_with_why_and_without_its_words(tmp_path: Path) -> None:
    code = "import os\nname = 'odd'\nmemory = int(os.popen('echo hunter2').read())\n"
    odd = found(tmp_path, {"etc/xen/odd": code})["odd"]
    text = pages.guest(odd, {100: ["lan"]})
    assert "FILL IN: its configuration cannot be used as it is" in text
    assert "hunter2" not in text


def test_a_nic_without_a_mac_and_one_on_no_bridge_are_left_to_a_person(tmp_path: Path) -> None:
    text = "name = 'a'\nmemory = 1\nvif = [ 'bridge=xenbr100', 'mac=00:16:3e:00:02:02' ]\n"
    guest = found(tmp_path, {**NETWORKS["ifcfg"], "etc/xen/a": text})["a"]
    lines = pages.guest(guest, {100: ["vlan100"]}).splitlines()
    first = "write mac=its MAC into its Xen configuration first, for that gives it none; segment vlan100"
    assert f"  # FILL IN NIC 0, xenbr100: {first}" in lines
    assert '  # - { mac: "FILL-IN", segment: vlan100 }' in lines
    assert "  # FILL IN NIC 1, the default bridge: VLAN not known, no bridge is named" in lines


def test_a_folder_without_configurations_and_a_guest_that_is_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="the Dom-0 has no configurations of guests") as e:
        sources.every(Home(tmp_path), {"a": Dom0(root=tmp_path / "empty"), "b": Dom0(root=tmp_path / "nothing")})
    assert [p.code for p in e.value.problems] == ["no-xen-here", "dom0-folder-missing"]
    with pytest.raises(BadInput, match="did you mean db01") as e:
        sources.chosen([DB01], ["db1", "db01"])
    assert len(e.value.problems) == 1
    with pytest.raises(BadInput, match="no guest at all"):
        sources.chosen([], [])


class _Locked(MountedDom0):
    """A Dom-0 whose files are not for this user to read."""

    def found(self, path: Path) -> Located:
        if path == self.locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return super().found(path)

    def read(self, path: Path, longest: int) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    locked = Path()


@pytest.mark.parametrize("locked", [Path(), Path("/etc/xen")])
def test_what_may_not_be_read_is_told_and_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: Path
) -> None:
    place = dom0(tmp_path / "mnt", {"etc/xen/db01": config("db01")})
    monkeypatch.setattr(_Locked, "locked", locked)
    monkeypatch.setattr(sources, "reached", lambda home, dom0: _Locked(dom0.root))
    with pytest.raises(BadInput, match="Permission denied"):
        found, unread = sources.every(Home(tmp_path), {"xenhost": place})
        sources.chosen(found, [], unread)


def test_a_guest_on_two_dom0s_is_taken_where_it_runs() -> None:
    there = replace(DB01, dom0="xen2", runs=True)
    for order in ((DB01, there), (there, DB01)):
        (one,) = sources.merged({g.dom0: sources.SourceHost([g]) for g in order})
        told = "xenhost has it too (/etc/xen/db01.cfg); it was not seen to run there"
        assert (one.dom0, one.remarks, one.open) == ("xen2", (told,), ())


def test_a_guest_on_two_dom0s_that_runs_on_both_or_on_none_is_left_to_a_person() -> None:
    for runs, told in ((True, "it runs on both"), (False, "it was not seen to run on either")):
        hosts = {name: sources.SourceHost([replace(DB01, dom0=name, runs=runs)]) for name in ("xen1", "xen2")}
        (one,) = sources.merged(hosts)
        (line,) = pages.open_lines(Path("db01.yml"), pages.guest(one, {100: ["lan"]}))
        assert f"xen2 has it too (/etc/xen/db01.cfg), and {told}: find out which one is the guest" in line


def test_a_name_that_no_file_can_have_is_told_and_left_out(tmp_path: Path) -> None:
    place = dom0(tmp_path / "mnt", {"etc/xen/a": "name = '_odd:name'\nmemory = 1\n", "etc/xen/db01": config("db01")})
    guests, unread = sources.every(Home(tmp_path), {"xenhost": place})
    assert [g.name for g in guests] == ["db01"]
    assert unread[0].startswith("_odd:name on xenhost: no file can have this name")


GROUPS = (
    *(PortGroup("lan", "standard", 100), PortGroup("dv: lan #2", "distributed", 200), PortGroup("old-300", "standard", 300)),
    *(PortGroup("new-300", "distributed", 300), PortGroup("trunk", "distributed", None, "trunk of VLANs 0-4094")),
    *(PortGroup("twice", "standard", 500), PortGroup("twice", "distributed", 501), PortGroup("VM Network", "standard", 0)),
)


def test_a_vlan_has_a_port_group_where_exactly_one_has_it_and_its_name() -> None:
    told = {c.vlan: (c.name, c.port_group) for c in mapping.choices([0, 100, 200, 300, 400, 500], GROUPS)}
    assert told == {
        0: ("untagged", "VM Network"),
        100: ("vlan100", "lan"),
        200: ("vlan200", "dv: lan #2"),
        **{vlan: (f"vlan{vlan}", "") for vlan in (300, 400, 500)},
    }


def test_where_a_nics_vlan_is_not_known_all_single_port_groups_are_offered() -> None:
    assert [c.vlan for c in mapping.of([100, 300], GROUPS)] == [100, 300]
    assert [c.vlan for c in mapping.of([300, 0], GROUPS)] == [0, 100, 200, 300]
    assert [c.vlan for c in mapping.of([300, None], GROUPS)] == [0, 100, 200, 300]
    assert [c.vlan for c in mapping.of([], GROUPS)] == [0, 100, 200]


def read(tmp_path: Path, site: str, *guests: str) -> Home:
    """The texts as files, read by every reader: our loader, the schema, and whatever keeps comments."""
    home = Home(tmp_path)
    texts = {home.site_file: site} | {home.guest_file(YAML(typ="safe").load(g)["name"]): g for g in guests}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        model = Site if path == home.site_file else Guest
        schema = json.loads((PROJECT / f"params/schema/{model.__name__.lower()}.schema.json").read_text())
        jsonschema.validate(YAML(typ="safe").load(text), schema)
        yamlfile.read(model, path)
    for guest in guests:
        home.guest(YAML(typ="safe").load(guest)["name"])
    return home


def test_what_is_written_is_read_by_our_loader_and_fits_the_schema(tmp_path: Path) -> None:
    choices = mapping.choices([0, 100, 200, 300, 400], GROUPS)
    names = {c.vlan: [c.name] for c in choices}
    nics = tuple(replace(NIC, number=n, mac=f"00:16:3e:00:02:0{n}", vlan=v) for n, v in enumerate((0, 100, 200, 300, 400, None)))
    guests = [replace(DB01, nics=nics), replace(DB01, name="web01", nics=nics[5:]), replace(DB01, name="bare", nics=())]
    dom0s = {"xenhost": Dom0(root=Path("/")), "007": Dom0(ssh="root@xen.example:22"), "no": Dom0(root=Path("/srv/my dom0"))}
    text = pages.site("My: site #1", KEY, SERVER, dom0s, choices)
    home = read(tmp_path, text, *(pages.guest(g, names) for g in guests))
    site = home.site()
    assert site.dom0s == dom0s
    assert (site.name, site.signing.key, site.vsphere) == ("My: site #1", KEY.path, SERVER)
    assert site.segments["vlan200"].port_group == "dv: lan #2"
    assert [n.segment for n in home.guest("db01").nics] == ["vlan100", "vlan200", "vlan300", "vlan400"]
    assert home.guest("web01").nics == home.guest("bare").nics == ()


def test_two_port_groups_and_none_are_a_line_to_fill_in_with_what_was_found() -> None:
    text = pages.site("a", KEY, SERVER, {"xenhost": Dom0()}, mapping.choices([300, 400], GROUPS))
    two, none = pages.open_lines(Path("site.yml"), text)
    assert two.endswith("FILL IN port_group of vlan300: one of old-300 (standard, VLAN 300), new-300 (distributed, VLAN 300)")
    assert none.endswith("FILL IN port_group of vlan400: vSphere has none with VLAN 400, make one there")
    assert "  vlan300: { vlan: 300, port_group: FILL-IN }" in text.splitlines()
    line = int(two.split(":")[1])
    assert "vlan300" in text.splitlines()[line - 1]


def test_a_nic_that_is_untagged_is_left_to_a_person_for_the_switch_may_have_put_it_on_any_vlan() -> None:
    text = pages.guest(replace(DB01, nics=(replace(NIC, vlan=0, by="eth0"),)), {0: ["untagged"], 100: ["lan"]})
    assert "nics: [] # FILL IN" in text
    assert "NIC 0, xenbr100: untagged by eth0; which VLAN the switch's port there is in, the Dom-0 cannot tell" in text
    assert '  # - { mac: "00:16:3e:00:02:01", segment: untagged }' in text.splitlines()


def test_this_machine_without_xen_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FOLDER", tmp_path / "nothing")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(BadInput, match="the Dom-0 has no configurations of guests"):
        sources.look(Home(tmp_path), "xenhost", Dom0())


def test_a_guest_that_has_shut_down_and_is_not_yet_gone_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dom0(tmp_path, {"etc/xen/db01": config("db01"), "etc/xen/web01": config("web01"), "bin/xl": "#!/bin/sh\ncat $0.list\n"})
    told = (DATA / "xl-list-2guests.txt").read_text()
    (tmp_path / "bin/xl.list").write_text(re.sub(r"(?m)^(db01 .*)-b----", r"\1---s--", told))
    (tmp_path / "bin/xl").chmod(0o755)
    monkeypatch.setattr(sources, "FOLDER", tmp_path / "etc/xen")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    assert {g.name: g.runs for g in sources.look(Home(tmp_path), "xenhost", Dom0()).guests} == {"db01": False, "web01": True}


def test_a_vlan_of_which_the_site_has_two_segments_or_none_is_a_line_to_fill_in() -> None:
    text = pages.guest(replace(DB01, nics=(NIC, replace(NIC, number=1, vlan=300))), {100: ["lan", "dmz"]})
    assert "FILL IN NIC 0, xenbr100: VLAN 100, lan or dmz" in text
    assert "FILL IN NIC 1, xenbr100: VLAN 300, of which params/site.yml has no segment" in text
    assert '  # - { mac: "00:16:3e:00:02:01", segment: vlan300 }' in text.splitlines()


@settings(max_examples=25)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
@example("x\n  evil: 1")
@example("\u2028a: b")
@example("\x85'\"\\")
@example("🙂 #")
@example("no")
@example("1e3")
@example("- a")
def test_no_name_that_others_chose_leaves_its_place(name: str) -> None:
    choice = SegmentChoice(100, (name,), name)
    lines = ["segments:", *pages.segment(choice), *pages.segment(SegmentChoice(7, (name, name))), pages.remark(f"# {name}")]
    told = YAML(typ="safe").load("\n".join(lines))
    assert told == {"segments": {"vlan100": {"vlan": 100, "port_group": name}, "vlan7": {"vlan": 7, "port_group": "FILL-IN"}}}


def test_a_new_folder_appears_at_once_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "deep/er/mine"
    with folder.draft(place) as drafted:
        (drafted / "params").mkdir()
        (drafted / "params/site.yml").write_text("a")
        assert not place.exists()
        assert folder.publish(drafted, place).made == [Path("params/site.yml")]
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert list(place.parent.iterdir()) == [place]


def test_a_file_that_is_there_stays_and_is_told(tmp_path: Path) -> None:
    place = tmp_path / "mine"
    (place / "params").mkdir(parents=True)
    (place / "params/allowed_signers").write_text("mine")
    with folder.draft(place) as drafted:
        assert drafted.is_relative_to(place), "what is beside it may be another file system, or not to be written into"
        (drafted / "params").mkdir()
        for name in ("site.yml", "allowed_signers"):
            (drafted / "params" / name).write_text("new")
        done = folder.publish(drafted, place)
    assert (done.made, done.kept) == ([Path("params/site.yml")], [Path("params/allowed_signers")])
    assert (place / "params/allowed_signers").read_text() == "mine"
    assert [p.name for p in (*tmp_path.iterdir(), *place.iterdir())] == ["mine", "params"]


def test_where_one_file_cannot_be_written_none_is(tmp_path: Path) -> None:
    place = tmp_path / "mine"
    place.mkdir()
    (place / "params").write_text("a file in the place of a folder")
    with pytest.raises(BadInput, match="the site folder cannot be written"), folder.draft(place) as drafted:
        for name in ("outputs/keys/operator", "params/site.yml"):
            (drafted / name).parent.mkdir(parents=True)
            (drafted / name).write_text("new")
        folder.publish(drafted, place)
    assert [p.name for p in place.iterdir()] == ["params"]
    assert {p.name for p in tmp_path.iterdir()} == {"mine"}


def test_what_cannot_be_read_back_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(BadInput), folder.draft(tmp_path / "mine") as drafted:
        folder.fill(drafted, {Path("params/site.yml"): "name: only\n"}, [])
    assert not list(tmp_path.iterdir())


def test_a_checkout_and_a_file_are_no_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="inside a checkout of the project"):
        folder.check(PROJECT / "mine")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="it is no folder"):
        folder.check(tmp_path / "file")
    folder.check(tmp_path / "new")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(BadInput, match="the site folder cannot be written"):
        folder.check(tmp_path / "circle/mine")


def test_a_public_key_is_taken_by_its_own_name_or_that_of_the_private_one(tmp_path: Path) -> None:
    (tmp_path / "id.pub").write_text(f"{KEY.kind} {KEY.blob} ops@example\n")
    (tmp_path / "id").write_text("the private one is never read")
    for name in ("id", "id.pub"):
        assert signers.taken(tmp_path / name) == replace(KEY, path=tmp_path / "id.pub")
    (tmp_path / "id.pub").write_text(f'{KEY.kind} {KEY.blob} a "comment", that can be no principal\n')
    assert signers.taken(tmp_path / "id").principal == signers.principal()
    certificate = f"ssh-ed25519-cert-v01@openssh.com {KEY.blob} ops@example\n"
    for text in ("", certificate, "-----BEGIN OPENSSH PRIVATE KEY-----\n", "ssh-ed25519 AAAA\nssh-ed25519 AAAA\n"):
        (tmp_path / "id.pub").write_text(text)
        with pytest.raises(BadInput, match="no public key that can be used"):
            signers.taken(tmp_path / "id.pub")
    with pytest.raises(BadInput, match="No such file"):
        signers.taken(tmp_path / "nothing")


def test_the_list_of_signers_is_one_that_may_be_used(tmp_path: Path) -> None:
    from hikkoshi.approval import approver
    from hikkoshi.approval.signature import Trust

    path = tmp_path / "allowed_signers"
    path.write_text(pages.signers(KEY))
    Trust(path).check()
    assert approver.listed(path, approver._fingerprint(KEY.blob)) == ("ops@example", ["evidence"])


def test_all_that_is_missing_is_named_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    done = hikkoshi(Home(tmp_path), "init", str(tmp_path / "mine"))
    assert done.returncode == 2
    wanted = [line.split()[1] for line in done.stderr.splitlines() if "where:" in line]
    assert wanted == ["--dom0", "--vcenter", "--user", "--password-from", "--ca", "--key"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--dom0", "xenhost"], "write NAME=here"),
        (["--dom0", "a b=here"], "'a b' is not a name"),
        (["--dom0", "a=here", "--dom0", "a=/srv"], "a is named twice"),
        (["--dom0", "a=ssh:-oProxyCommand=id"], "String should match pattern"),
        (["--vcenter", "https://vc/"], "write a host, or host:port"),
        (["--vcenter", "vc:99999"], "write a host, or host:port"),
        (["--vcenter", "vc..example"], "is no name of a host"),
        (["--ca", "~nobody-here/ca.pem"], "~nobody-here/ca.pem"),
        (["--dom0", "a=~nobody-here", "--key", "~nobody-here/id.pub"], "~nobody-here/id.pub"),
        (["--password-from", "hunter2-hunter2"], "--password-from"),
        (["--password-from", "hunter2-hunter2"], "no reference to a secret"),
        (["--password-from", "env:NOT_THERE"], "a secret is not in the environment"),
        (["--ca", "/nothing.pem"], "no such file: /nothing.pem"),
        (["--ca", "/nothing.pem", "--sha256", "AB"], "give one of the two"),
        (["--contractor", "Kita", "--vcenter", "vc", "--user", "me"], "nobody logs in to it: leave --vcenter, --user out"),
        (["--contractor", "Kita", "--datastore", "d", "--password-from", "env:P"], "leave --datastore, --password-from out"),
        (["--contractor", "none"], "--vcenter"),
        (["--key", "new"], "nobody can be asked for the passphrase of a new one"),
    ],
)
def test_an_option_that_cannot_be_used_is_told_and_a_password_is_not(tmp_path: Path, options: list[str], told: str) -> None:
    done = hikkoshi(Home(tmp_path), "init", str(tmp_path / "mine"), *options)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert "hunter2" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_dom0_is_given_as_this_machine_a_folder_or_an_address(tmp_path: Path) -> None:
    written = ["here=here", f"old={tmp_path}", "far=ssh:root@xen1:2222", "six=ssh:[2001:db8::5]"]
    found = answers.dom0s(Questions(asks=False), written)
    assert [(name, d.kind, str(d)) for name, d in found.items()] == [
        ("here", "here", "/"),
        ("old", "folder", str(tmp_path)),
        ("far", "ssh", "ssh://root@xen1:2222"),
        ("six", "ssh", "ssh://[2001:db8::5]"),
    ]


def test_neither_a_no_nor_a_folder_that_is_not_there_is_kept_among_what_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter([f"xenhost={tmp_path}/none", "xenhost=here", "no"])
    monkeypatch.setattr("hikkoshi.cli.terminal.ask", lambda question: next(said))
    questions = Questions(asks=True)
    assert [*answers.dom0s(questions, [])] == ["xenhost"]
    assert questions.typed == ["--dom0", "xenhost=here"]


def test_one_of_several_is_chosen_by_name_and_the_only_one_by_itself() -> None:
    questions = Questions(asks=False)
    assert questions.among("--cluster", "", ["only"], "cluster") == "only"
    assert questions.among("--cluster", "b", ["a", "b"], "cluster") == "b"
    for written, names in (("", ["a", "b"]), ("c", ["a", "b"]), ("", [])):
        assert questions.among("--cluster", written, names, "cluster") == ""
    with pytest.raises(BadInput) as e:
        questions.settled()
    assert [p.code for p in e.value.problems] == ["not-given", "option-unusable", "nothing-to-choose"]


def test_no_new_key_is_made_beside_a_private_one_whose_public_half_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / signers.OWN
    own.parent.mkdir(parents=True)
    own.write_text("a private key")
    (tmp_path / "id.pub").write_text(f"{KEY.kind} {KEY.blob} ops@example\n")
    typed = iter(["new", str(tmp_path / "id")])
    monkeypatch.setattr("hikkoshi.cli.terminal.ask", lambda question: next(typed))
    key = answers.public_key(Home(tmp_path), Questions(asks=True), "")
    assert key == replace(KEY, path=tmp_path / "id.pub")
    assert f"{own} is there already, without its .pub" in capsys.readouterr().out


@pytest.fixture
def grown(home: Home) -> Home:
    """The shipped site, whose Dom-0 has another guest now, on segments that the site has."""
    text = "name = 'mail'\nmemory = 512\nvif = [ 'mac=00:16:3e:05:00:0a,bridge=xenbr301' ]\ndisk = [ 'file:/a,xvda,w' ]\n"
    network = {"eth0.301": "VLAN=yes\nBRIDGE=xenbr301", "xenbr301": "TYPE=Bridge"}
    scripts = {f"etc/sysconfig/network-scripts/ifcfg-{n}": f"DEVICE={n}\n{t}\n" for n, t in network.items()}
    dom0(home.outputs / "lab/dom0", {**scripts, "etc/xen/mail": text, "etc/xen/gateway": text.replace("mail", "gateway")})
    return home


def test_where_a_contractor_runs_the_vsphere_every_port_group_is_to_be_asked_for(grown: Home, tmp_path: Path) -> None:
    mine, key = Home(tmp_path / "mine"), tmp_path / "me.pub"
    key.write_text(f"{KEY.kind} {KEY.blob} {KEY.principal}\n")
    given = ["--dom0", f"xenhost={grown.outputs / 'lab/dom0'}", "--contractor", "Kita, 0166-00-0000", "--key", str(key)]
    done = hikkoshi(mine, "init", str(mine.root), *given, "--guest", "mail")
    assert done.returncode == 0, done.stderr
    assert "FILL IN port_group of vlan301: ask the contractor which of theirs has VLAN 301" in done.stdout
    assert "FILL IN hardware_version: ask the contractor" in done.stdout
    read(tmp_path / "again", mine.site_file.read_text())
    site = mine.site()
    assert (site.vsphere.handover, site.vsphere.contractor) == (True, "Kita, 0166-00-0000")
    assert site.segments["vlan301"].port_group == "FILL-IN"
    asked = next(r for r in doctor._vsphere(mine))
    assert (asked.title, asked.ok) == ("the contractor's vSphere is not asked", True)
    text = "name = 'web'\nmemory = 512\nvif = [ 'mac=00:16:3e:05:00:0b,bridge=xenbr7' ]\ndisk = [ 'file:/a,xvda,w' ]\n"
    alone = dom0(tmp_path / "alone", {"etc/xen/web": text})
    nothing = hikkoshi(mine, "init", str(tmp_path / "none"), "--dom0", f"x={alone.root}", *given[2:])
    assert (nothing.returncode, "of no NIC the VLAN is known" in nothing.stderr) == (2, True), nothing.stderr


def test_a_second_time_it_adds_the_new_guest_and_touches_nothing_else(grown: Home) -> None:
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in grown.root.rglob("*") if p.is_file()}
    done = hikkoshi(grown, "init", str(grown.root), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["made"] == [str(grown.guest_file("mail"))]
    assert told["kept"] == [str(grown.guest_file("gateway")), str(grown.site_file)]
    assert told["next"][2] == "hikkoshi run mail --through 20-plan"
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in before} == before
    assert [(n.mac, n.segment) for n in grown.guest("mail").nics] == [("00:16:3e:05:00:0a", "vlan301")]
    again = hikkoshi(grown, "init", str(grown.root))
    assert (again.returncode, "Written" in again.stdout) == (0, False)


def test_schemas_that_were_taken_away_are_written_as_this_version_has_them(grown: Home) -> None:
    schemas = {path: path.read_bytes() for path in (grown.root / "params/schema").iterdir()}
    shutil.rmtree(grown.root / "params/schema")
    told = json.loads(hikkoshi(grown, "init", str(grown.root), "--json").stdout)
    assert told["made"] == sorted(map(str, [*schemas, grown.guest_file("mail")]))
    assert {path: path.read_bytes() for path in schemas} == schemas


def test_a_dom0_that_the_site_does_not_have_is_refused_and_named(grown: Home) -> None:
    done = hikkoshi(grown, "init", str(grown.root), "--dom0", "xen2=ssh:xen2")
    assert done.returncode == 2
    assert "xen2: ssh://xen2" in done.stderr
    assert "write it there, below dom0s" in done.stderr


def test_a_password_of_a_guests_console_is_not_written(tmp_path: Path) -> None:
    text = config("db01") + "vfb = [ 'type=vnc,vncpasswd=hunter2' ]\nvncpasswd = 'hunter2'\n"
    guest = found(tmp_path, {"etc/xen/db01": text})["db01"]
    assert "hunter2" not in pages.guest(guest, {}) + repr(guest)
