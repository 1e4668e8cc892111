"""ova.xml, as XenServer and XCP-ng write it, is read as a guest's configuration; what people wrote beside it is not kept."""

from pathlib import Path

import pytest

from exports import MIB, export, ova, tar
from hikkoshi.check import Check
from hikkoshi.errors import BadInput, Refused
from hikkoshi.guest import survey
from hikkoshi.params.guest import Guest
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0, Site
from hikkoshi.run import byhand
from hikkoshi.sitefolder import sources
from hikkoshi.xen import autostart, behind, config, dom0, original, root
from hikkoshi.xen.config import parse

DATA = Path(__file__).parents[1] / "data" / "xen"
SIX = (DATA / "ova-xenserver-6.2-pv.xml").read_text()
EIGHT = (DATA / "ova-xcp-ng-8.3-uefi.xml").read_text()


def test_a_paravirtual_guest_of_xenserver_is_read_with_its_disks_and_nics() -> None:
    guest = parse(SIX, "ova.xml")
    assert (guest.form, guest.type, guest.uuid) == ("XVA", "pv", "3b1d8a52-94c7-7a0e-2f0b-6e1d5c9a7b10")
    assert (guest.memory_mb, guest.vcpus, guest.max_vcpus) == (1024, 2, 0)
    assert (guest.bootloader, guest.arguments) == ("pygrub", "console=hvc0 ro root=/dev/VolGroup00/LogVol00")
    assert [(d.vdev, d.target, d.access) for d in guest.disks] == [("xvda", "Ref:3", "w"), ("xvdb", "Ref:5", "w")]
    assert [(v.mac, v.bridge, v.rate) for v in guest.vifs] == [
        ("b6:0e:3a:51:7c:01", "xenbr0", ""),
        ("b6:0e:3a:51:7c:02", "xapi3", "10240KB/s"),
    ]
    assert "network Modalities VLAN 212" in str(guest.vifs[1])
    assert guest.other["on_crash"] == "coredump-restart"


def test_a_uefi_guest_of_xcp_ng_is_read_without_its_snapshot_and_with_its_bootable_disk_first() -> None:
    guest = parse(EIGHT, "ova.xml")
    assert (guest.name, guest.type, guest.extra, guest.bootloader) == ("pacs-web", "hvm", "", "")
    assert (guest.memory_mb, guest.vcpus, guest.max_vcpus) == (4096, 2, 4)
    assert [(d.vdev, d.target) for d in guest.disks] == [("xvdb", "Ref:2"), ("xvda", "Ref:4")]
    assert guest.vifs[0].mtu == "9000"
    assert behind.by_uefi(guest) == {"firmware": "uefi"}


def test_what_cannot_move_of_an_exported_guest_is_told_by_the_codes_of_every_other() -> None:
    told = dict(behind.told(parse(EIGHT, "ova.xml")))
    assert told["pci-device-stays"] == {"address": "0000:04:01.0"}
    assert told["xen-device-stays"] == {"setting": "vtpm", "value": "1"}
    assert told["xen-processors"] == {"online": 2, "most": 4}
    assert [p.code for p in behind.refused(parse(EIGHT, "ova.xml"))] == ["disk-elsewhere"] * 2
    after = "<name>actions_after_shutdown</name><value>"
    stays = parse(EIGHT.replace(f"{after}destroy", f"{after}restart"), "F")
    assert "stays-after-shutdown" in {p.code for p in behind.refused(stays)}


@pytest.mark.parametrize("text", [SIX, EIGHT], ids=["XenServer", "XCP-ng"])
def test_nothing_that_people_wrote_beside_it_is_kept_or_shown(text: str) -> None:
    guest = parse(text, "ova.xml")
    shown = guest.model_dump_json() + str(config.table(guest)) + str(config.rest(guest))
    for secret in ("hunter2", "aHVudGVyMg"):
        assert secret in SIX + EIGHT
        assert secret not in shown
    broken = text.replace("<name>memory_static_max</name><value>", "<name>memory_static_max</name><value>?")
    with pytest.raises(BadInput) as e:
        parse(broken, "ova.xml")
    assert "memory" in str(e.value)
    assert "hunter2" not in str(e.value)


@pytest.mark.parametrize(
    ("label", "name", "description"),
    [
        ("web01", "web01", None),
        ("Radiology Gateway (prod)", "Radiology-Gateway-prod", "Radiology Gateway (prod)"),
        ("--/etc/passwd", "etc-passwd", "--/etc/passwd"),
        ("放射線", "vm-3b1d8a52", "放射線"),
    ],
)
def test_a_label_becomes_a_name_that_xen_allows(label: str, name: str, description: str | None) -> None:
    guest = parse(SIX.replace("Radiology Gateway (prod)", label), "ova.xml")
    assert (guest.name, guest.other.get("description")) == (name, description)


def test_a_guest_is_chosen_among_its_snapshots_and_two_guests_are_refused() -> None:
    alone = ova({"Ref:1": 512}, is_a_snapshot="<value><boolean>1</boolean></value>")  # of a snapshot, as backups are made
    assert parse(alone, "F").name == "web"
    vm = ova({"Ref:1": 512}).split("<data>")[1].split("</struct></value></member></struct></value>")[0]
    other = vm.replace("Ref:0", "Ref:7") + "</struct></value></member></struct></value>"
    with pytest.raises(BadInput, match="2 guests: web, web"):
        parse(ova({"Ref:1": 512}, more=other), "F")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda t: t[: len(t) // 2], "no element found|unclosed token"),
        (lambda t: t.replace("<name>objects</name>", "<name>things</name>"), "no list of objects"),
        (lambda t: t.replace("<value>Ref:3</value>", "<value>Ref:0</value>"), "with the id of another"),
        (lambda t: t.replace("<name>bootable</name>", "", 1), "a <member> without name or value"),
        (lambda t: t.replace("<name>device</name>", "<name>VDI</name>", 1), "or twice"),
        (lambda t: t.replace("<i4>2</i4>", "<i4>two</i4>"), "a number that is none"),
        (lambda t: t.replace("<value>xvdb</value>", "<value><string>x</string><string>y</string></value>"), "several values"),
        (lambda t: t.replace("<name>userdevice</name><value>1", "<name>userdevice</name><value>first"), "the place 'first'"),
        (lambda t: "<?xml version='1.0'?>\n<value><struct></struct></value>", "no list of objects"),
        (lambda t: t.replace("b6:0e:3a:51:7c:02", "b6:0e"), "is not the MAC of one NIC"),
        (lambda t: t.replace("b6:0e:3a:51:7c:02", "b6:0e:3a:51:7c:01"), "on 2 NICs"),
    ],
)
def test_an_ova_xml_that_describes_no_guest_is_refused(damage: object, words: str) -> None:
    with pytest.raises(BadInput, match=words) as e:
        parse(damage(SIX), "ova.xml")  # type: ignore[operator]
    assert all(p.remedy and p.found and p.expected for p in e.value.problems)


@pytest.fixture
def exports(home: Home) -> Path:
    """A Dom-0 that is a folder with one export in it, of a guest `web`."""
    folder = home.root / "exports"
    folder.mkdir()
    (folder / "web.xva").write_bytes(tar(export({"Ref:4": bytes([4]) * MIB, "Ref:5": bytes([5]) * MIB})))
    return folder


def where(home: Home, exports: Path, **other: object) -> tuple[Home, Site, Guest]:
    site = home.site().model_copy(update={"dom0s": {"exports": Dom0(root=exports)}})
    return home, site, Guest.model_validate({"name": "web", "dom0": "exports", "config": "/web.xva", "nics": (), **other})


def test_an_export_that_is_named_as_the_configuration_tells_of_its_guest_and_each_disk_in_it(home: Home, exports: Path) -> None:
    found = survey.configuration(*where(home, exports))
    assert (found.form, found.name, found.memory_mb) == ("XVA", "web", 1024)
    assert [(d.vdev, d.target, d.format) for d in found.disks] == [("xvdb", "/web.xva", "xva"), ("xvda", "/web.xva", "xva")]
    survey.movable(found, "folder")
    assert [n.code for n in survey.notes(found)] == ["source-exported"]
    folder, origin = home.folder("web"), survey.origin_of(*where(home, exports))
    assert [(p.path, p.place, p.form) for p in origin.parts] == [
        (folder.sources / f"{vdev}.img", str(exports / "web.xva"), "xva") for vdev in ("xvdb", "xvda")
    ]


def test_over_ssh_neither_an_export_nor_another_form_is_read_and_what_to_do_is_told(home: Home, exports: Path) -> None:
    found = survey.configuration(*where(home, exports))
    with pytest.raises(BadInput, match=r"(?s)2 problems.*is not read from this Dom-0.*over ssh a raw disk.*copy the export to"):
        survey.movable(found, "ssh")
    vhd = parse("name = 'web'\nmemory = 64\ndisk = ['tap:vhd:/a,xvda,w', 'tap:qcow2:/b,xvdb,w']\n", "F")
    survey.movable(vhd, "here")
    with pytest.raises(BadInput, match=r"(?s)qemu-img convert -f vpc.*qemu-img convert -f qcow2.*root: FOLDER"):
        survey.movable(vhd, "ssh")


def own(home: Home, exports: Path, **other: object) -> Check:
    return original.check(*where(home, exports, **other))


def test_of_two_exports_of_one_guest_a_person_has_to_say_which(home: Home, exports: Path) -> None:
    assert own(home, exports)
    assert "an export: its XenServer starts the guest, by xe vm-start vm=web" in own(home, exports).found
    (exports / "other.xva").write_bytes(tar([("ova.xml", ova({}, name_label="mail").encode())]))
    (exports / "broken.xva").write_bytes(b"ova.xml\0")
    assert own(home, exports)
    (exports / "web-2.xva").write_bytes((exports / "web.xva").read_bytes())
    assert not own(home, exports)
    assert own(home, exports).found.endswith("; /web-2.xva is an export of it, too")
    assert "the same path as `start_config`" in own(home, exports).remedy
    assert own(home, exports, start_config="/web.xva")
    for name, label in (("web.xva", "web"), ("web-2.xva", "renamed")):
        (exports / name).write_bytes(
            tar([("ova.xml", ova({}, name_label=label, uuid="3b1d8a52-94c7-7a0e-2f0b-6e1d5c9a7b10").encode())])
        )
    assert own(home, exports).found.endswith("; /web-2.xva is an export of it, too")


@pytest.mark.parametrize("here", [False, True])
def test_whether_the_guest_of_an_export_runs_nobody_sees(home: Home, exports: Path, here: bool) -> None:
    home, site, guest = where(home, exports)
    if here:
        site = site.model_copy(update={"dom0s": {"exports": Dom0(root=Path("/"))}})
        guest = guest.model_copy(update={"config": exports / "web.xva"})
    off = dom0.source_off(home, site, guest)
    assert off.unseen == "not seen"
    assert off.found.endswith("web.xva is an export, whose XenServer is not asked: whoever applies answers for it")
    assert "auto_poweron" in autostart.check(home, site, guest).found
    assert not dom0.source_runs(home, site, guest)
    with pytest.raises(Refused, match="type on the XenServer: xe vm-start vm=web; then"):  # never xm create, of an export
        dom0.start_again(home, site, guest)


def test_the_source_of_an_export_is_started_by_hand_on_its_xenserver(home: Home, exports: Path) -> None:
    with pytest.raises(Refused) as e:
        dom0.start_again(*where(home, exports))
    assert "type on the XenServer: xe vm-start vm=web; then" in e.value.problems[0].remedy
    found = survey.configuration(*where(home, exports))
    (exports / "web.xva").unlink()
    with pytest.raises(Refused, match="xe vm-start vm=web; then"):
        dom0.start_again(*where(home, exports))
    (home.folder("web")).mkdir(parents=True)
    home.folder("web").survey.write_text(f'{{"xen": {found.model_dump_json()}}}')
    assert "type on the XenServer: xe vm-start vm=web." in byhand.order(home, "web", "why").remedy


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (tar([("ova.xml", ova({"Ref:4": MIB}).replace(">VDI<", ">X<", 2).encode())]), "web.xva", "not part of the export"),
        (b"\x28\xb5\x2f\xfd" + bytes(root.LONGEST), "web.xva", "zstd -dc < PACKED"),
        (b"\x1f\x8b" + bytes(root.LONGEST), "web.xva.gz", "gunzip -c < PACKED"),
        (b"\x1f\x8b" + b"small", "web.xva.gz", "gunzip -c < PACKED"),
        (b"", "web.xva", "no export of XenServer or XCP-ng"),
        (bytes(root.LONGEST + 1), "web.xva", "no export of XenServer or XCP-ng"),
        (bytes(root.LONGEST + 1), "web", "expected: .*at most 262,144 bytes"),
        (tar([("ova.xml", ova({"Ref:4": MIB}).encode())])[:900], "web.xva", "the export is cut off"),
        (b"ova.xml\0" + bytes(root.LONGEST), "web", "no export of XenServer or XCP-ng"),
    ],
    ids=["a disk left out", "zstd", "gzip", "small", "empty", "other xva", "other", "cut off", "a name alone"],
)
def test_a_file_that_is_no_export_of_a_guest_is_refused_as_its_configuration(
    home: Home, exports: Path, content: bytes, name: str, told: str
) -> None:
    (exports / name).write_bytes(content)
    with pytest.raises(BadInput, match=told):
        survey.configuration(*where(home, exports, config=f"/{name}"))


def test_what_cannot_be_used_of_an_export_is_no_line_to_correct(home: Home, exports: Path) -> None:
    (exports / "web.xva").write_bytes(tar([("ova.xml", ova({"Ref:4": MIB}, memory_static_max="0").encode())]))
    with pytest.raises(BadInput, match="'memory' in") as e:
        survey.configuration(*where(home, exports))
    assert e.value.problems[0].remedy.startswith("set it on the XenServer, and export the guest anew")


def test_init_finds_the_exports_in_a_folder(home: Home, exports: Path) -> None:
    (exports / "mail.xva").write_bytes(b"\x1f\x8b" + bytes(root.LONGEST))
    (exports / "web-2.XVA").write_bytes((exports / "web.xva").read_bytes())
    mail, web = sources.look(home, "exports", Dom0(root=exports)).guests
    assert (web.name, str(web.config), web.shape) == ("web", "/web.xva", "pv, 1 vCPU, 1024 MB, disks xvdb, xvda")
    assert web.remarks == (
        "another file of this name is there: /web-2.XVA",
        "/web.xva is an export: what the guest has written since is not in it",
    )
    assert (mail.name, mail.open) == (
        "mail",
        ("its configuration cannot be used as it is: the export is packed as a whole; the survey says what to do",),
    )
