"""From what was read off a disk to facts: kernels, NICs, role; and which disks are refused at the first sector."""

import base64
import fnmatch
import re
import struct
import traceback
from pathlib import Path
from typing import Any

import pytest

from hikkoshi.errors import BadInput
from hikkoshi.guest import hardware, inspection, reading
from hikkoshi.guest.facts import GuestFacts, Kernel
from hikkoshi.guest.files import extlinux

DATA = Path(__file__).parents[1] / "data/guest"
NET = "/etc/sysconfig/network-scripts"


def pack(content: bytes) -> str:
    return base64.b64encode(content).decode()


def raw(folder: Path, **changed: bytes | None) -> dict[str, Any]:
    """A worker's result as an EL5 guest gives it; `changed` replaces texts, None removes one."""
    names = {
        "/boot/grub/grub.conf": "grub-xen-default.conf",
        "/etc/fstab": "fstab-xvda",
        "/etc/modprobe.conf": "modprobe-xen.conf",
        "/etc/inittab": "inittab-el5-xvc0",
        f"{NET}/ifcfg-eth0": "ifcfg-eth0-hwaddr",
        f"{NET}/ifcfg-eth1": "ifcfg-eth1-dhcp-no-hwaddr",
        "/etc/sysconfig/kernel": "sysconfig-kernel",
    }
    texts = {path: (DATA / name).read_bytes() for path, name in names.items()}
    texts["/etc/redhat-release"] = b"CentOS release 5.11 (Final)\n"
    texts["/etc/sysconfig/network"] = b"NETWORKING=yes\nHOSTNAME=gateway.example.ac.jp\n"
    texts["/boot/config-2.6.18-398.el5xen"] = b"CONFIG_X86_64_XEN=y\n"
    texts["/boot/config-2.6.18-398.el5"] = b"CONFIG_FUSION_SPI=m\n"
    for path, content in changed.items():
        texts.pop(path, None)
        if content is not None:
            texts[path] = content
    (folder / "file-0").write_bytes((DATA / "modules.alias-el5-with-tools").read_bytes())
    (folder / "file-1").write_bytes((DATA / "initrd-el5-xenblk.img").read_bytes())
    versions = ("2.6.18-398.el5xen", "2.6.18-371.el5", "2.6.18-398.el5")
    return {
        "texts": {path: pack(content) for path, content in texts.items()},
        "files": {"/lib/modules/2.6.18-398.el5/modules.alias": "file-0", **{f"/boot/initrd-{v}.img": "file-1" for v in versions}},
        "present": [*(f"/boot/vmlinuz-{v}" for v in versions), "/sbin/mkinitrd", "/etc/rc.d/rc3.d/S05kudzu"],
        "program": pack(b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\0"),
        "secrets": 0,
        "partitions": [
            {"device": f"/dev/sda{n}", "bytes": 1 << 20, "fstype": t, "label": "", "uuid": "", "mountpoint": m}
            for n, t, m in ((1, "ext3", "/boot"), (2, "ext3", "/"), (3, "swap", "swap"))
        ],
    }


def facts(folder: Path, **changed: bytes | None) -> GuestFacts:
    return inspection.facts(raw(folder, **changed), folder, "grub-legacy", "gateway.img")


def driven_by(kernel: Kernel) -> tuple[str, ...]:
    """The kernel's module for each device that vSphere may offer; empty where it has none."""
    return tuple(hardware.module(d, kernel.claims, kernel.builtin) or "" for d in hardware.DEVICES)


def test_tells_what_the_guest_is(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert (found.distribution, found.release, found.arch) == ("centos", "5.11", "x86_64")
    assert found.hostname == "gateway.example.ac.jp"
    assert (found.boot_loader, found.boot_config, found.default_kernel) == ("grub-legacy", "/boot/grub/grub.conf", 0)
    assert found.initrd_maker == "/sbin/mkinitrd"
    assert found.services == ("kudzu",)
    assert found.warnings == ()


def test_finds_the_kernels_by_the_menu_as_the_guest_sees_them(tmp_path: Path) -> None:
    xen, older, newest = facts(tmp_path).kernels
    assert (xen.version, xen.xen_only, xen.image) == ("2.6.18-398.el5xen", True, "/boot/vmlinuz-2.6.18-398.el5xen")
    assert (newest.version, newest.xen_only, newest.initrd) == ("2.6.18-398.el5", False, "/boot/initrd-2.6.18-398.el5.img")
    assert newest.initrd_modules == ("dm_mod", "ext3", "jbd", "scsi_mod", "sd_mod", "xenblk")
    assert driven_by(newest) == ("pvscsi", "mptsas", "mptspi", "vmxnet3", "e1000")
    assert set(driven_by(older)) == {""}


def test_without_a_configuration_the_name_tells_a_xen_kernel(tmp_path: Path) -> None:
    gone = {"/boot/config-2.6.18-398.el5xen": None}
    assert [k.xen_only for k in facts(tmp_path, **gone).kernels] == [True, False, False]


def test_a_kernel_with_xen_support_that_also_boots_alone_is_ordinary(tmp_path: Path) -> None:
    pvops = {"/boot/config-2.6.18-398.el5xen": b"CONFIG_XEN=y\nCONFIG_XEN_BLKDEV_FRONTEND=m\n"}
    assert not facts(tmp_path, **pvops).kernels[0].xen_only


def test_a_driver_that_is_built_in_counts(tmp_path: Path) -> None:
    kernel = facts(tmp_path, **{"/boot/config-2.6.18-371.el5": b"CONFIG_FUSION_SAS=y\n"}).kernels[1]
    assert kernel.builtin == ("mptsas",)
    assert "mptsas" in driven_by(kernel)


def test_a_rule_that_hides_systemds_link_files_is_seen_where_it_is_no_file(tmp_path: Path) -> None:
    rule = "/etc/udev/rules.d/80-net-setup-link.rules"
    assert not facts(tmp_path).links_masked
    result = raw(tmp_path)
    result["present"].append(rule)
    assert inspection.facts(result, tmp_path, "grub-legacy", "x").links_masked
    result["texts"][rule] = base64.b64encode(b"# mine\n").decode()
    assert not inspection.facts(result, tmp_path, "grub-legacy", "x").links_masked
    assert rule in inspection.PRESENT


def test_an_entry_whose_kernel_is_gone_is_left_out_and_told(tmp_path: Path) -> None:
    result = raw(tmp_path)
    result["present"].remove("/boot/vmlinuz-2.6.18-371.el5")
    found = inspection.facts(result, tmp_path, "grub-legacy", "x")
    assert [k.index for k in found.kernels] == [0, 2]
    assert "entry 1" in str(found.warnings[0])


def test_an_initrd_that_cannot_be_read_is_told_and_does_not_stop(tmp_path: Path) -> None:
    result = raw(tmp_path)
    (tmp_path / "file-1").write_bytes(b"rubbish")
    found = inspection.facts(result, tmp_path, "grub-legacy", "x")
    assert found.kernels[2].initrd_modules == ()
    assert len(found.warnings) == 3


def test_without_a_partition_for_boot_paths_are_the_roots_own(tmp_path: Path) -> None:
    menu = b"title A\nroot (hd0,1)\nkernel /boot/vmlinuz-2.6.18-398.el5 ro\ninitrd /boot/initrd-2.6.18-398.el5.img\n"
    (kernel,) = facts(tmp_path, **{"/boot/grub/grub.conf": menu}).kernels
    assert kernel.image == "/boot/vmlinuz-2.6.18-398.el5"


def test_an_encrypted_volume_is_told_at_the_survey(tmp_path: Path) -> None:
    result = raw(tmp_path)
    result["partitions"].append({**result["partitions"][-1], "device": "/dev/sda9", "fstype": "crypto_LUKS", "mountpoint": ""})
    (told,) = inspection.facts(result, tmp_path, "grub-legacy", "x").warnings
    assert (told.code, told.facts) == ("volume-encrypted", {"volume": "/dev/sda9"})


def test_of_btrfs_the_menu_names_the_part_that_is_the_root(tmp_path: Path) -> None:
    menu = b"title A\nroot (hd0,1)\nkernel /@/boot/vmlinuz-2.6.18-398.el5 ro rootflags=subvol=@\n"
    result = raw(tmp_path, **{"/boot/grub/grub.conf": menu})
    result["partitions"][-1] |= {"fstype": "btrfs", "mountpoint": "/", "subvolume": "@"}
    (kernel,) = inspection.facts(result, tmp_path, "grub-legacy", "x").kernels
    assert kernel.image == "/boot/vmlinuz-2.6.18-398.el5"


def test_a_guest_that_pygrub_booted_is_read_by_pygrubs_menu(tmp_path: Path) -> None:
    menu = b"title A\nroot (hd0)\nkernel /boot/vmlinuz-2.6.18-398.el5 ro root=/dev/xvda1 console=hvc0\n"
    found = inspection.facts(raw(tmp_path, **{"/boot/grub/grub.conf": menu}), tmp_path, "none", "x")
    assert (found.boot_loader, found.boot_config) == ("none", "/boot/grub/grub.conf")
    assert found.kernels[0].arguments == ("ro", "root=/dev/xvda1", "console=hvc0")


def test_a_guest_whose_kernel_the_dom_0_held_has_those_that_lie_in_boot(tmp_path: Path) -> None:
    found = inspection.facts(raw(tmp_path, **{"/boot/grub/grub.conf": None}), tmp_path, "none", "x")
    assert found.boot_config == ""
    assert [k.version for k in found.kernels if not k.xen_only] == ["2.6.18-371.el5", "2.6.18-398.el5"]
    assert found.kernels[-1].arguments == ("root=LABEL=/", "ro")


def test_a_guest_without_any_kernel_is_told_to_install_one(tmp_path: Path) -> None:
    result = raw(tmp_path, **{"/boot/grub/grub.conf": None})
    result["present"] = []
    with pytest.raises(BadInput, match="yum install kernel"):
        inspection.facts(result, tmp_path, "none", "x")


def test_a_disk_with_a_boot_loader_and_no_menu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no boot menu"):
        inspection.facts(raw(tmp_path, **{"/boot/grub/grub.conf": None}), tmp_path, "grub-legacy", "x")


def test_extlinux_is_read_by_its_own_menu(tmp_path: Path) -> None:
    conf = extlinux.menu("CentOS", "/boot/vmlinuz-2.6.18-398.el5", "/boot/initrd-2.6.18-398.el5.img", "ro root=LABEL=/")
    found = inspection.facts(raw(tmp_path, **{extlinux.CONF: conf.encode()}), tmp_path, "extlinux", "x")
    assert (found.boot_config, found.default_kernel) == (extlinux.CONF, 0)
    assert [(k.version, k.initrd) for k in found.kernels] == [("2.6.18-398.el5", "/boot/initrd-2.6.18-398.el5.img")]
    assert found.kernels[0].arguments == ("ro", "root=LABEL=/")


@pytest.mark.parametrize(("mode", "on"), [("enforcing", True), ("permissive", True), ("disabled", False)])
def test_selinux_is_on_unless_it_is_switched_off(tmp_path: Path, mode: str, on: bool) -> None:
    assert facts(tmp_path, **{"/etc/selinux/config": f"# x\nSELINUX={mode}\n".encode()}).selinux is on


def test_nics_are_listed_in_their_order_with_addresses(tmp_path: Path) -> None:
    many = {f"{NET}/ifcfg-eth{n}": b"BOOTPROTO=none\n" for n in (10, 2)} | {f"{NET}/ifcfg-eth0:1": b"IPADDR=1.2.3.4\n"}
    assert [i.name for i in facts(tmp_path, **many).interfaces] == ["eth0", "eth1", "eth2", "eth10"]
    assert facts(tmp_path).interfaces[0].address == "10.3.1.254/24"


@pytest.mark.parametrize(
    ("path", "content", "because"),
    [
        ("/etc/sysctl.conf", b"# x\nnet.ipv4.ip_forward = 1\n", "net.ipv4.ip_forward = 1 in /etc/sysctl.conf"),
        ("/etc/sysconfig/iptables", (DATA / "iptables-nat").read_bytes(), "MASQUERADE in /etc/sysconfig/iptables"),
        ("/etc/rc.d/rc.local", b"echo 1 > /proc/sys/net/ipv4/ip_forward\n", "ip_forward in /etc/rc.d/rc.local"),
    ],
)
def test_a_guest_that_routes_or_translates_is_known_by_its_files(tmp_path: Path, path: str, content: bytes, because: str) -> None:
    found = facts(tmp_path, **{path: content})
    assert found.forwards
    assert found.forwards_because.endswith(because)


@pytest.mark.parametrize("line", [b"net.ipv4.ip_forward = 0\n", b"#net.ipv4.ip_forward = 1\n"])
def test_a_guest_that_does_not_forward_is_not_said_to(tmp_path: Path, line: bytes) -> None:
    assert not facts(tmp_path, **{"/etc/sysctl.conf": line, "/etc/rc.d/rc.local": b"# -j MASQUERADE\n"}).forwards


def test_of_files_that_are_only_looked_at_nothing_is_kept_but_lines_that_name_a_xen_device(tmp_path: Path) -> None:
    rc = b"curl -u root:canary http://x\nmount /dev/xvdb1 /data\n"
    keyfile = b"[connection]\ninterface-name=eth7\n[wifi-security]\nwhatever=canary\n"
    path = "/etc/NetworkManager/system-connections/x"
    found = facts(tmp_path, **{"/etc/rc.d/rc.local": rc, path: keyfile})
    assert "eth7" in [i.name for i in found.interfaces]
    assert "canary" not in found.model_dump_json()
    assert found.texts["/etc/rc.d/rc.local"] == "mount /dev/xvdb1 /data\n"
    assert path not in found.texts


def test_a_text_in_an_old_encoding_is_kept_byte_for_byte(tmp_path: Path) -> None:
    japanese = "# 起動時のマウント\n".encode("euc_jp")
    found = facts(tmp_path, **{"/etc/fstab": japanese})
    assert found.latin1 == ("/etc/fstab",)
    assert found.texts["/etc/fstab"].encode("latin-1") == japanese
    assert GuestFacts.model_validate_json(found.model_dump_json()) == found


def test_a_guest_without_a_boot_menu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no boot menu"):
        facts(tmp_path, **{"/boot/grub/grub.conf": None})


def test_a_second_name_of_the_same_menu_is_not_a_second_file(tmp_path: Path) -> None:
    menu = (DATA / "grub-xen-default.conf").read_bytes()
    assert "/boot/grub/menu.lst" not in facts(tmp_path, **{"/boot/grub/menu.lst": menu}).texts


def test_a_menu_without_a_kernel_that_exists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="offers no kernel"):
        facts(tmp_path, **{"/boot/grub/grub.conf": b"title A\nkernel /nothing\n"})


def test_a_mac_set_by_the_guest_itself_is_told(tmp_path: Path) -> None:
    found = facts(tmp_path, **{f"{NET}/ifcfg-eth0": b"DEVICE=eth0\nMACADDR=00:11:22:33:44:55\n"})
    assert "MACADDR" in str(found.warnings[0])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("CentOS release 5.11 (Final)", ("centos", "5.11")),
        ("Red Hat Enterprise Linux Server release 5.8 (Tikanga)", ("rhel", "5.8")),
        ("Red Hat Enterprise Linux ES release 4 (Nahant Update 9)", ("rhel", "4.9")),
        ("CentOS Linux release 7.9.2009 (Core)", ("centos", "7.9.2009")),
    ],
)
def test_knows_the_release_by_its_own_words(tmp_path: Path, line: str, expected: tuple[str, str]) -> None:
    found = facts(tmp_path, **{"/etc/redhat-release": line.encode()})
    assert (found.distribution, found.release) == expected


class TestModulesAlias:
    claims = hardware.claims((DATA / "modules.alias-el5-with-tools").read_text())

    def test_a_module_drives_what_it_claims(self) -> None:
        assert self.claims["1000:0030"] == ("mptspi",)
        assert self.claims["8086:100f"] == ("e1000",)
        assert self.claims["15ad:07b0"] == ("vmxnet3",)

    def test_a_claim_on_another_makers_card_is_none_on_vmwares(self) -> None:
        assert self.claims["1000:0054"] == ("mptsas",)

    def test_the_vendor_counts_not_the_device_number_alone(self) -> None:
        assert "forcedeth" not in str(self.claims)

    def test_a_claim_by_class_alone_is_none(self) -> None:
        assert "ahci" not in str(self.claims)

    def test_the_module_may_have_another_name_than_the_usual_one(self) -> None:
        assert hardware.module(hardware.CONTROLLERS["pvscsi"], self.claims, ()) == "pvscsi"

    def test_a_driver_that_no_module_claims_is_not_there(self) -> None:
        assert hardware.module(hardware.CONTROLLERS["pvscsi"], {}, ()) == ""
        assert hardware.module(hardware.CONTROLLERS["pvscsi"], {}, ("vmw_pvscsi",)) == "vmw_pvscsi"

    @pytest.mark.parametrize(
        ("subsystem", "driven"),
        [("sv*sd*bc*", True), ("sv000015ADsd00001976bc01", True), ("sv00001028sd*bc*", False), ("sv*sd*bc02", False)],
    )
    def test_subsystem_and_class_are_compared_where_they_are_given(self, subsystem: str, driven: bool) -> None:
        found = hardware.claims(f"alias pci:v00001000d00000030{subsystem}sc*i* mptspi\n")
        assert ("1000:0030" in found) is driven


class TestFirstSector:
    def disk(self, folder: Path, head: bytes, *, signature: bool = True) -> Path:
        data = bytearray(1 << 17)
        data[: len(head)] = head
        if signature:
            data[510:512] = b"\x55\xaa"
        path = folder / "disk.img"
        path.write_bytes(data)
        return path

    def test_grub_is_recognised(self, tmp_path: Path) -> None:
        assert inspection.boot_loader(self.disk(tmp_path, b"\xeb\x48 GRUB ")) == "grub-legacy"

    @pytest.mark.parametrize(
        ("head", "signature", "found"),
        [
            (b"", False, "no boot signature"),
            (b"QFI\xfb\0\0\0\3", True, "qcow2"),
            (b"KDMV", True, "VMDK"),
            (bytes(512) + b"LABELONE", False, "LVM"),
            (bytes(1080) + b"\x53\xef", False, "without partitions: ext"),
            (bytes(1080) + b"\x53\xef", True, "without partitions: ext"),  # with a boot loader in its own first sector
            (bytes(0x10034) + b"ReIsEr2Fs", False, "without partitions: ReiserFS"),
            (bytes(0x8000) + b"JFS1", False, "without partitions: JFS"),
            (bytes(0x10040) + b"_BHRfS_M", False, "without partitions: btrfs"),
            (bytes(65526) + b"SWAPSPACE2", False, "without partitions: swap"),
            (b"\x1f\x8b\x08", False, "packed by gzip"),
            (b"PK\x03\x04", False, "an archive of zip"),
            (bytes(257) + b"ustar", False, "an archive of tar"),
            (bytes(0x8001) + b"CD001", False, "ISO 9660"),
            (bytes(512) + b"\x57\x45\x56\x82", False, "BSD's own list"),
            (bytes(0x10000 + 1372) + b"\x19\x01\x54\x19", False, "of BSD (UFS2)"),
            (b"\xeb\x52\x90NTFS    ", True, "of Windows (NTFS)"),
        ],
    )
    def test_what_cannot_be_moved_is_refused(self, tmp_path: Path, head: bytes, signature: bool, found: str) -> None:
        with pytest.raises(BadInput) as e:
            inspection.boot_loader(self.disk(tmp_path, head, signature=signature))
        problem = e.value.problems[0]
        assert found in problem.found
        assert problem.where.endswith("disk.img")

    def test_a_disk_that_pygrub_started_has_none(self, tmp_path: Path) -> None:
        assert inspection.boot_loader(self.disk(tmp_path, b"")) == "none"

    def test_an_empty_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "empty.img"
        path.touch()
        with pytest.raises(BadInput, match="0 bytes"):
            inspection.boot_loader(path)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="No such file"):
            inspection.boot_loader(tmp_path / "none.img")


@pytest.mark.parametrize(
    ("aliases", "module"),
    [
        ("alias scsi:t-0x00* sd_mod\n", "sd_mod"),
        ("alias ext3 ext3\nalias block-major-8-* sd_mod\n", "sd_mod"),
        ("alias scsi:t-0x05* sr_mod\n", ""),
        ("", ""),
    ],
)
def test_the_driver_of_scsi_disks_is_a_module_where_it_claims_them(aliases: str, module: str) -> None:
    assert hardware.scsi_disk(aliases) == module


def test_grub_2s_paths_are_those_of_the_file_system_that_holds_boot(tmp_path: Path) -> None:
    cfg = b"menuentry 'Linux' {\n linux16 /vmlinuz-2.6.18-398.el5 root=/dev/xvda2 ro\n"
    cfg += b" initrd16 /initrd-2.6.18-398.el5.img\n}\n"
    texts = {"/boot/grub/grub.conf": None, "/boot/grub2/grub.cfg": cfg}
    found = inspection.facts(raw(tmp_path, **texts), tmp_path, "grub2", "guest.img")
    (only,) = found.kernels
    assert (only.image, only.initrd) == ("/boot/vmlinuz-2.6.18-398.el5", "/boot/initrd-2.6.18-398.el5.img")


def test_services_of_xen_are_told_by_their_names_once(tmp_path: Path) -> None:
    content = raw(tmp_path)
    content["present"] += [
        "/etc/rc.d/rc3.d/S12xe-linux-distribution",
        "/etc/rc.d/rc5.d/S12xe-linux-distribution",
        "/etc/systemd/system/getty.target.wants/serial-getty@hvc0.service",
        "/etc/systemd/system/multi-user.target.wants/xe-daemon.service",
    ]
    found = inspection.facts(content, tmp_path, "grub-legacy", "guest.img")
    assert found.services == ("kudzu", "serial-getty@hvc0.service", "xe-daemon.service", "xe-linux-distribution")


@pytest.mark.parametrize(("count", "refused"), [(2048, False), (2049, True)])
def test_a_disk_that_is_shorter_than_its_partition_table_says_is_refused(tmp_path: Path, count: int, refused: bool) -> None:
    head = bytearray(512)
    head[0:4] = b"GRUB"
    head[446:462] = struct.pack("<8BII", 0x80, 0, 0, 0, 0x83, 0, 0, 0, 2048, count)
    head[462:478] = struct.pack("<8BII", 0, 0, 0, 0, inspection.GPT, 0, 0, 0, 1, 0xFFFFFFFF)
    head[510:512] = b"\x55\xaa"
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(head).ljust(2 << 20, b"\0"))
    if refused:
        with pytest.raises(BadInput, match="cut off"):
            inspection.boot_loader(disk)
    else:
        assert inspection.boot_loader(disk) == "grub2"


class TestAProcessOfItsOwn:
    def test_gives_the_same_facts(self, tmp_path: Path) -> None:
        given = raw(tmp_path)
        assert reading.facts(given, tmp_path, "grub-legacy", "guest.img") == facts(tmp_path)

    def test_tells_the_same_problem(self, tmp_path: Path) -> None:
        given = raw(tmp_path, **{"/boot/grub/grub.conf": None})
        with pytest.raises(BadInput) as e:
            reading.facts(given, tmp_path, "grub-legacy", "guest.img")
        assert "no boot menu" in e.value.problems[0].what

    def test_what_takes_for_ever_to_read_is_ended_and_the_guest_refused(self, tmp_path: Path) -> None:
        given = raw(tmp_path, **{"/etc/redhat-release": b" " * (1 << 20)})
        with pytest.raises(BadInput) as e:
            reading.facts(given, tmp_path, "grub-legacy", "guest.img", seconds=3)
        assert all((p := e.value.problems[0], p.what, p.where, p.found, p.expected, p.remedy))

    def test_what_takes_more_memory_than_there_is_ends_itself(self, tmp_path: Path) -> None:
        given = raw(tmp_path)
        with (tmp_path / "file-0").open("r+b") as f:
            f.truncate(3 << 30)  # a hole that costs nothing here, and all the memory there
        with pytest.raises(BadInput, match="unreasonably much"):
            reading.facts(given, tmp_path, "grub-legacy", "guest.img")

    def test_an_error_of_ours_is_told_as_what_it_is_with_its_whole_story(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="KeyError: 'texts'") as e:
            reading.facts({}, tmp_path, "grub-legacy", "guest.img")
        story = "".join(traceback.format_exception(e.value))
        assert re.search(r"(?s)Traceback.*in main\n.*KeyError: 'texts'", story.partition("KeyError")[2])


def test_a_boot_menu_without_end_is_refused(tmp_path: Path) -> None:
    entry = b"title x\n root (hd0,0)\n kernel /vmlinuz-2.6.18-398.el5 ro\n initrd /initrd-2.6.18-398.el5.img\n"
    with pytest.raises(BadInput, match="unreasonably long"):
        facts(tmp_path, **{"/boot/grub/grub.conf": entry * 300})


def test_key_files_that_lie_with_the_networks_files_are_not_read() -> None:
    folder = "/etc/systemd/network/"
    read = {
        name
        for name in ("wg0.key", "wg0.key.network~", "a.network", "a.netdev", "a.link")
        if any(fnmatch.fnmatchcase(folder + name, pattern) for pattern in inspection.TEXTS)
    }
    assert read == {"a.network", "a.netdev", "a.link"}


@pytest.mark.parametrize("version", ["3.1", "6.0.10"])
def test_a_debian_without_os_release_is_known_by_its_version(tmp_path: Path, version: str) -> None:
    found = facts(tmp_path, **{"/etc/redhat-release": None, "/etc/debian_version": f"{version}\n".encode()})
    assert (found.distribution, found.release) == ("debian", version)
