"""Nothing that a Xen configuration says is lost without a word: it is used, told or refused, or means nothing on VMware."""

from pathlib import Path

import pytest
from pydantic import JsonValue

from hikkoshi.errors import BadInput
from hikkoshi.guest import survey
from hikkoshi.xen import behind, config, settings
from hikkoshi.xen.config import XenGuest, parse
from hikkoshi.xen.disks import XenDisk
from hikkoshi.xen.vifs import Vif

DATA = Path(__file__).parents[1] / "data" / "xen"
NAMES = [line.split()[1] for line in (DATA / "names-of-settings.txt").read_text().splitlines() if line and line[0] != "#"]
MINIMAL = "name = 'a'\nmemory = 64\ndisk = [ 'file:/a.img,xvda,w' ]\n"


def from_file(name: str) -> XenGuest:
    return parse((DATA / name).read_text(), name)


def shown(guest: XenGuest) -> str:
    """Everything that the survey shows of a configuration."""
    rows = [*config.table(guest), *config.rest(guest)]
    return "\n".join([*(" | ".join(row.values()) for row in rows), *map(str, survey.notes(guest))])


def notes(text: str) -> list[str]:
    return [str(n) for n in survey.notes(parse(MINIMAL + text, "F"))]


def test_every_setting_of_both_manuals_has_its_place_in_the_table_and_no_other() -> None:
    assert sorted(settings.SETTINGS) == sorted(set(NAMES))


@pytest.mark.parametrize("name", sorted(set(NAMES) - settings.SECRET - settings.FOR_QEMU))
def test_every_setting_is_used_shown_or_refused(name: str) -> None:
    value = {"builder": "hvm", "type": "hvm"}.get(name, "4711")
    lists = {"disk": "file:/4711,xvda,w", "vif": "bridge=4711"}
    text = MINIMAL.replace("memory", "memory_before") if name == "memory" else MINIMAL
    text += f"memory = 64\n{name} = {[lists[name]] if name in lists else value!r}\n" if name != "memory" else "memory = '4711'\n"
    if name in ("nics", "uuid"):  # refused with this value
        with pytest.raises(BadInput, match=name):
            parse(text, "F")
        return
    found = shown(parse(text, "F"))
    assert name in found or value in found
    if settings.of(name).fate != "means nothing":
        assert value in found


def test_every_field_of_a_configuration_is_shown() -> None:
    """Each field in turn with a value of its own: another word in what the survey shows."""
    plain = XenGuest(name="a", memory_mb=1)
    values: dict[str, object] = {
        **dict.fromkeys(("memory_mb", "maxmem_mb", "vcpus", "max_vcpus"), 47),
        **{"type": "pvh", "other": {"x": 4711}, "passed": ("line 3, x: y",)},
        **{"disks": (XenDisk(vdev="xvdq", target="/q"),), "vifs": (Vif(bridge="q"),)},
    }
    for field in XenGuest.model_fields:
        other = plain.model_copy(update={field: values.get(field, "4711")})
        assert shown(other) != shown(plain), field


def test_every_field_of_a_disk_and_of_a_nic_is_shown() -> None:
    disk = XenDisk(vdev="xvda", target="/a")
    values = {"vdev": "xvdb", "target": "/b", "format": "qcow2", "access": "r", "cdrom": True, "options": ("discard",)}
    for field, value in {**values, "script": "x", "backend": "x"}.items():
        other = disk.model_copy(update={field: value})
        guests = [XenGuest(name="a", memory_mb=1, disks=(d,)) for d in (disk, other)]
        assert shown(guests[0]) != shown(guests[1]), field
    assert {*XenDisk.model_fields} - {*values, "script", "backend"} == {"prefixes"}  # which say how the target is to be read
    for field in Vif.model_fields:
        other_nic = Vif().model_copy(update={field: {"trusted": "0"} if field == "other" else "4711"})
        guests = [XenGuest(name="a", memory_mb=1, vifs=(v,)) for v in (Vif(), other_nic)]
        assert shown(guests[0]) != shown(guests[1]), field


def test_pv_grub_boots_the_guests_own_menu_and_extra_says_where_it_is() -> None:
    old, new = from_file("xm-pv-grub.cfg"), from_file("xl-pv-grub2.cfg")
    assert "its own menu, through pv-grub" in shown(old)
    assert "(hd0,0)/boot/grub/menu.lst" in shown(old)
    assert (old.arguments, new.arguments, old.vifs) == ("", "", ())
    assert "its own menu, through pv-grub" in shown(new)
    assert [*survey.notes(old), *survey.notes(new)] == []
    assert "its own menu" in shown(parse(MINIMAL + "type = 'pvh'\nfirmware = 'pvgrub64'", "F"))
    assert "kernel /boot/vmlinuz-grub of the Dom-0" in shown(parse(MINIMAL + "kernel = '/boot/vmlinuz-grub'", "F"))


def test_devices_that_do_not_move_are_told_each_by_its_address() -> None:
    told = [str(n) for n in survey.notes(from_file("xl-pci-passthrough.cfg"))]
    assert [("0000:04:00.0" in n, "04:00.1" in n, "usbdev" in n) for n in told] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    assert all("stays behind" in n for n in told)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extra = '4 xencons=tty'\nroot = '/dev/xvda1 ro'", "root=/dev/xvda1 ro 4 xencons=tty"),
        ("root = '/dev/xvda1'\nextra = 'quiet'\ncmdline = 'ro single'", ": ro single."),
        ("ip = '192.0.2.7'\ngateway = '192.0.2.1'\nhostname = 'a'", "ip=192.0.2.7:127.0.255.255:192.0.2.1:"),
        ("nfs_server = '192.0.2.9'\nnfs_root = '/exports/a'", "nfsroot=192.0.2.9:/exports/a"),
        ("vcpus = 4\nvcpu_avail = 3", "with 2 of 4 processors"),
        ("vcpus = 2\nmaxvcpus = 8", "with 2 of 8 processors"),
        ("maxvcpus = 8", "with 1 of 8 processors"),
        ("vscsi = [ '/dev/sdx,0:0:0:0' ]", "vscsi"),
        ("usbdevice = 'host:046d:c52b'", "what usbdevice gave the guest stays behind with the Dom-0: host:046d:c52b"),
        ("usbdevice = [ 'tablet', 'host:046d:c52b' ]", "host:046d:c52b"),
        ("p9 = [ 'tag=share,security_model=none,path=/srv/share' ]", "/srv/share"),
        ("driver_domain = 1", "driver_domain"),
        ("gfx_passthru = 1", "gfx_passthru"),
        ("vif = [ 'rate=10Mb/s,bridge=b' ]", "10Mb/s"),
        ("vif = [ '' ]", "NIC 0 has no MAC in the Xen configuration"),
        ("disk = [ 'phy:/dev/drbd0,xvda,w!' ]", "may be written by another guest"),
        ("disk = [ 'file:/a,xvda,r' ]", "cannot be written under Xen"),
    ],
)
def test_what_only_the_xen_configuration_says_is_told(text: str, words: str) -> None:
    assert words in " ".join(notes(text))


@pytest.mark.parametrize(
    "text",
    [
        "dhcp = 'off'",
        "usb = 1",
        "gfx_passthru = 0",
        "vcpus = 4",
        "maxvcpus = 1",
        "vfb = ['vnc=1']",
        "pci = []",
        "usbdevice = 'tablet'",
    ],
)
def test_what_is_as_ever_is_no_note(text: str) -> None:
    assert notes(text) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("builder = 'hvm'\nkernel = '/usr/lib/xen/boot/hvmloader'", "boots by | its own boot loader, by a BIOS"),
        ("type = 'hvm'", "boots by | its own boot loader, by a BIOS"),
        ("type = 'hvm'\nkernel = '/boot/vmlinuz'", "boots by | kernel /boot/vmlinuz of the Dom-0"),
        ("bootloader = 'pygrub'\nkernel = '/k'\nramdisk = '/r'", "boots by | pygrub, kernel /k of the Dom-0, ramdisk /r"),
        ("bootloader = 'domUloader.py'\nbootentry = 'xvda2:/boot/k,/boot/i'", "bootentry | xvda2:/boot/k"),
        ("cdrom = '/root/boot.iso'", "cdrom | /root/boot.iso | told"),
        ("vnuma = [ [ 'pnode=0', 'size=32' ], [ 'pnode=1', 'size=32' ] ]", "vnuma | pnode=0, size=32; pnode=1, size=32 | told"),
        ("cmdline = 'ro'\nroot = '/dev/x'\nextra = 'quiet'", "not used, for cmdline replaces it | /dev/x quiet"),
        ("cpus = '2-3'\ncap = 50", "cap | 50 | told"),
        ("on_crash = 'coredump-restart'", "on_crash | coredump-restart | told"),
        ("extra = [ 'ro', 'quiet' ]", "arguments of its kernel | ro quiet"),
    ],
)
def test_what_the_survey_shows_of_a_setting(text: str, words: str) -> None:
    assert words in shown(parse(MINIMAL + text, "F"))


@pytest.mark.parametrize(
    ("text", "vcpus", "most"),
    [
        ("vcpus = 4\nvcpu_avail = 1", 1, 4),
        ("vcpus = '4'\nvcpu_avail = '0xf'", 4, 0),
        ("vcpus = 4\nvcpu_avail = 255", 4, 0),
        ("vcpus = 2\nmaxvcpus = 2", 2, 0),
        ("", 1, 0),
    ],
)
def test_a_guest_has_as_many_processors_as_it_starts_with(text: str, vcpus: int, most: int) -> None:
    guest = parse(MINIMAL + text, "F")
    assert (guest.vcpus, guest.max_vcpus) == (vcpus, most)


def test_no_processor_at_all_is_refused() -> None:
    with pytest.raises(BadInput, match="vcpu_avail"):
        parse(MINIMAL + "vcpus = 2\nvcpu_avail = 4", "F")


def test_memory_may_be_said_by_maxmem_alone_as_for_xl() -> None:
    assert parse(MINIMAL.replace("memory", "maxmem"), "F").memory_mb == 64


def test_xms_nics_adds_those_that_the_list_is_short_of() -> None:
    assert [v.bridge for v in parse(MINIMAL + "vif = [ 'bridge=b' ]\nnics = 3", "F").vifs] == ["b", "", ""]
    assert [v.bridge for v in parse(MINIMAL + "vif = [ 'bridge=b', 'bridge=c' ]\nnics = 1", "F").vifs] == ["b", "c"]
    assert len(parse(MINIMAL + "nics = 2", "F").vifs) == 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("vif2 = [ 'bridge=b' ]", "nics-of-xen-4-0"),
        ("disk = [ 'iscsi:iqn.2001-05.com.example:a,xvda,w' ]", "disk-elsewhere"),
        ("disk = [ 'vdev=xvda,backend=storage,target=/dev/vg0/a' ]", "disk-elsewhere"),
    ],
)
def test_what_cannot_move_is_refused_before_anything_is_read(text: str, code: str) -> None:
    with pytest.raises(BadInput) as e:
        survey.movable(parse(MINIMAL + text, "F"))
    (problem,) = e.value.problems
    assert (problem.code, bool(problem.found and problem.expected and problem.remedy)) == (code, True)
    assert "/dev/iqn" not in str(e.value)


def test_a_cd_rom_that_is_elsewhere_keeps_no_guest_here() -> None:
    survey.movable(parse(MINIMAL.replace(" ]", ", 'nbd:host:1,hdc:cdrom,r' ]"), "F"))


def test_three_bare_disks_are_read_as_three_and_a_copy_may_leave_some_behind() -> None:
    three, one = from_file("xm-three-bare-disks.cfg"), from_file("xm-one-bare-disk.cfg")
    survey.movable(three)
    survey.movable(one)
    assert [[d.target for d in disk] for disk in survey.disks(three)] == [
        [f"/srv/xen/quarry/{name}.img"] for name in ("disk", "swap", "var")
    ]
    assert len(survey.disks(one)) == 1


def test_a_configuration_of_xen_tools_is_read_as_it_is_written() -> None:
    larch = from_file("xm-xen-tools.cfg")
    assert [d.vdev for d in survey.disks(larch)[0]] == ["xvda1", "xvda2"]
    assert (larch.vifs[0].ip, larch.vifs[0].bridge, larch.root) == ("192.0.2.10 192.0.2.11", "br0.301", "/dev/xvda2 ro")
    assert {"xen_shell": None, "dhcp": "dhcp"}.items() <= larch.other.items()
    assert "xen_shell" in shown(larch)


def test_a_configuration_that_an_earlier_version_has_surveyed_is_still_read() -> None:
    said: dict[str, JsonValue] = {
        "name": "a",
        "memory_mb": 64,
        "disks": [{"vdev": "xvda", "target": "/a"}],
        "other": {"pci": None},
    }
    assert XenGuest.model_validate(said).disks[0].elsewhere == ""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *(
            (f"on_poweroff = '{how}'", "stays-after-shutdown")
            for how in ("preserve", "restart", "rename-restart", "coredump-restart")
        ),
        ("on_poweroff = 'soft-reset'", "stays-after-shutdown"),
        ("restart = 'always'", "stays-after-shutdown"),
    ],
)
def test_a_guest_that_stays_on_is_refused_at_the_survey(text: str, code: str) -> None:
    with pytest.raises(BadInput) as e:
        survey.movable(parse(f"{MINIMAL}{text}\n", "F"))
    assert [p.code for p in e.value.problems] == [code]


@pytest.mark.parametrize(
    "text",
    [
        *(f"on_poweroff = '{how}'" for how in ("destroy", "coredump-destroy", "")),
        "on_reboot = 'restart'\non_crash = 'preserve'\nrestart = 'onreboot'",
        "kernel = '/boot/vmlinuz-5.4.efi.signed'",
    ],
)
def test_a_guest_that_goes_off_and_boots_otherwise_moves(text: str) -> None:
    survey.movable(parse(f"{MINIMAL}{text}\n", "F"))


def test_each_device_that_is_passed_through_is_told() -> None:
    told = notes("pci = ['01:00.0', '01:00.1@7', '0000:02:00.0@8,permissive=1']\n")
    assert len(told) == 3
    assert all(any(at in line for line in told) for at in ("01:00.0", "01:00.1", "0000:02:00.0"))
    assert "01:00.1@7" in shown(parse(MINIMAL + "pci = ['01:00.1@7']\n", "F"))


@pytest.mark.parametrize("key", sorted(settings.FOR_QEMU))
@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        ("['-drive', 'file=/srv/data.img,password=geheim']", "-drive"),
        ("['-netdev', 'user,id=geheim', '-device', 'usb-host,x=geheim']", "-netdev user; -device usb-host"),
        ("['-hdb', '/srv/geheim.img']", "-hdb"),
        ("'-usb -drive if=none,file=/geheim'", "-usb; -drive"),
    ],
)
def test_devices_that_arguments_of_qemu_add_are_told_without_their_values(key: str, arguments: str, kinds: str) -> None:
    text = f"{key} = {arguments}\n"
    everything = shown(parse(MINIMAL + text, "F"))
    assert any(kinds.partition(";")[0].partition(" ")[0] in line for line in notes(text))
    assert "geheim" not in everything
    assert all(kind.split()[0] in everything for kind in kinds.split("; "))


def test_arguments_of_qemu_that_add_no_device_mean_nothing() -> None:
    text = "device_model_args = ['-no-fd-bootchk', '-name', 'x', '-m', '64']\n"
    assert notes(text) == []
    assert "device_model_args | not kept | means nothing" in shown(parse(MINIMAL + text, "F"))


@pytest.mark.parametrize(
    "kernel",
    ["/usr/lib/grub2/x86_64-xen/grub.xen", "/usr/lib/grub-xen/menu.bin", "/boot/grub.xen", "/usr/lib/grub/i386-xen_pvh/core"],
)
def test_grub_for_xen_is_known_under_all_of_its_names(kernel: str) -> None:
    found = parse(f"{MINIMAL}kernel = '{kernel}'\nextra = '(hd0,0)/boot/grub/menu.lst'\n", "F")
    assert (found.by_pv_grub, found.arguments) == (True, "")
    assert not parse(f"{MINIMAL}kernel = '/boot/2.6.18-xen/vmlinuz'\n", "F").by_pv_grub


@pytest.mark.parametrize("mac", ["00-16-3E-00-00-01", "0:16:3e:0:0:1", "00.16.3e.00.00.01"])
def test_a_mac_is_read_with_any_separator_as_xl_reads_it(mac: str) -> None:
    assert parse(f"{MINIMAL}vif = ['mac={mac}']\n", "F").vifs[0].mac == "00:16:3e:00:00:01"


def test_a_key_of_a_nic_in_capitals_is_refused() -> None:
    with pytest.raises(BadInput, match="write 'mac'"):
        parse(f"{MINIMAL}vif = ['MAC=00:16:3e:00:00:01,Bridge=br1']\n", "F")


def test_a_secret_in_an_entry_that_is_refused_is_not_told() -> None:
    with pytest.raises(BadInput) as e:
        parse(f"{MINIMAL}disk = ['vdev=xvda,access=q,target=rbd:p/i:key=geheim']\n", "F")
    assert "geheim" not in str(e.value)


@pytest.mark.parametrize(
    "text",
    [
        "type = 'hvm'\nbios = 'ovmf'",
        "type = 'hvm'\nfirmware = 'uefi'",
        "firmware = '/usr/lib/OVMF.fd'",
        "type = 'pvh'\nkernel = '/usr/share/OVMF/OVMF.fd'",
        "type = 'pvh'\nkernel = '/usr/lib/xen/boot/ovmf-pvh.bin'",
        "type = 'hvm'\nfirmware_override = '/opt/edk2/x64.fd'",
        "type = 'hvm'\nbios_path_override = '/opt/UEFI.fd'",
        "type = 'hvm'\nloader = '/opt/ovmf.bin'",
    ],
)
def test_a_guest_that_xen_starts_by_uefi_moves_where_its_disk_starts_so(text: str) -> None:
    xen = parse(MINIMAL + text, "F")
    survey.movable(xen)
    assert behind.firmware(xen, "uefi").ok
    refused = behind.firmware(xen, "grub2")
    assert (refused.ok, refused.code) == (False, "boots-by-uefi")
    assert refused.remedy
    assert "on the disk: grub2" in refused.found


def test_a_guest_that_xen_starts_otherwise_moves_with_any_disk() -> None:
    for loader in ("grub2", "none", "uefi"):
        assert behind.firmware(parse(MINIMAL + "type = 'hvm'\nbios = 'seabios'", "F"), loader).ok
