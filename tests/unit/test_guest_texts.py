"""Edits of a guest's files: each does what it has to, once, and leaves the rest byte for byte."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hikkoshi.guest import device, leftovers
from hikkoshi.guest.device import Disk
from hikkoshi.guest.files import arguments, console, extlinux, fstab, grub, grub2, lvm, menu, modprobe, sysconfig, text
from hikkoshi.guest.interfaces import ifcfg

DATA = Path(__file__).parents[1] / "data/guest"

EDITS = {
    "grub": lambda t: grub.prepared(t, 2),
    "device.map": leftovers.disks,
    "fstab": fstab.prepared,
    "inittab": console.inittab,
    "securetty": console.securetty,
    "modprobe": lambda t: modprobe.prepared(t, ["eth0", "eth1"], "vmxnet3", ["pvscsi", "mptspi"]),
    "kernel": lambda t: sysconfig.default_kernel(t, "kernel"),
    "lvm.conf": lvm.prepared,
    "ifcfg": lambda t: ifcfg.prepared(t, "00:16:3e:05:00:01"),
}
SEVERAL = Disk(
    [
        {"device": "/dev/sda1", "fstype": "ext4", "mountpoint": "/", "uuid": "11-22", "label": "root"},
        {"device": "/dev/sda5", "fstype": "LVM2_member", "uuid": "33"},
        {"device": "/dev/sdb", "fstype": "swap", "uuid": "44"},
        {"device": "/dev/sdc1", "fstype": "LVM2_member", "uuid": "55"},
    ],
    device.inside("xvda"),
    (device.inside("xvdb"), device.inside("sdc")),
)
KNOWN = {  # the other edits, and those that go by what is known of the disks
    "arguments": lambda t: arguments.prepared(t, SEVERAL),
    "settings": lambda t: arguments.settings(t, SEVERAL),
    "grub.cfg": lambda t: grub2.prepared(t, 0, SEVERAL)[0],
    "grub.d": lambda t: grub2.custom(t, SEVERAL),
    "grubenv": lambda t: grub2.with_arguments(t, SEVERAL),
    "loader entry": lambda t: menu.loader_entry(t, SEVERAL),
    "extlinux.conf": lambda t: extlinux.prepared(t, 0, SEVERAL),
    "menu.lst": lambda t: grub.prepared(t, 1, SEVERAL),
    "fstab": lambda t: fstab.prepared(t, SEVERAL),
    "lvm.conf": lambda t: lvm.prepared(t, SEVERAL),
    "devices": lambda t: leftovers.disks(t, SEVERAL),
    "grub-install": lambda t: leftovers.disks(t, SEVERAL, whole=True),
    "modules": lambda t: leftovers.modules(t, ["vmw_pvscsi", "vmxnet3"]),
    "loaded": leftovers.loaded,
    "sysctl": leftovers.sysctl,
    "xorg": lambda t: leftovers.xorg(t, "vesa"),
    "modprobe": modprobe.without_xen,
    "consoles": console.active,
    "initrd modules": lambda t: sysconfig.initrd_modules(t, ["vmw_pvscsi"]),
}
# lines that the parsers know, in any order, plus anything at all
LINES = [
    line for p in sorted(DATA.iterdir()) if not p.name.startswith(("modules", "initrd")) for line in p.read_text().splitlines()
]
ANY_TEXT = st.lists(
    st.tuples(
        st.sampled_from(LINES) | st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=40),
        st.sampled_from(["\n", "\r\n", ""]),
    ),
    max_size=25,
).map(lambda lines: "".join(a + b for a, b in lines))

BOOT_LINES = [line for p in sorted((DATA.parent / "boot").iterdir()) for line in p.read_text().splitlines()] + LINES


def data(name: str) -> str:
    return (DATA / name).read_bytes().decode()


def added(before: str, after: str) -> list[str]:
    old = text.lines(before)
    return [line for line in text.lines(after) if line not in old]


def removed(before: str, after: str) -> list[str]:
    return added(after, before)


@pytest.mark.parametrize("name", EDITS)
@given(content=ANY_TEXT)
def test_an_edit_made_twice_is_the_edit_made_once(name: str, content: str) -> None:
    once = EDITS[name](content)
    assert EDITS[name](once) == once


@pytest.mark.parametrize("name", KNOWN)
@settings(max_examples=40)
@given(lines=st.lists(st.sampled_from(BOOT_LINES) | ANY_TEXT.map(lambda t: t.partition("\n")[0]), max_size=12))
@example(lines=BOOT_LINES)
def test_with_all_that_is_known_of_the_disks_too_twice_is_once(name: str, lines: list[str]) -> None:
    once = KNOWN[name]("\n".join(lines) + "\n")
    assert KNOWN[name](once) == once


@pytest.mark.parametrize("name", EDITS)
@given(content=ANY_TEXT)
def test_comments_keep_their_text_and_their_order(name: str, content: str) -> None:
    def comments(t: str) -> list[str]:
        # the one comment that becomes a line: a getty that was switched off
        return [x for x in text.lines(t) if x.startswith("#") and "tty1" not in x and x.endswith("\n")]

    if content.endswith("\n"):
        assert comments(EDITS[name](content)) == comments(content)


@given(st.text())
def test_lines_joined_again_are_the_text(content: str) -> None:
    assert "".join(text.lines(content)) == content
    assert "".join("".join(text.parts(line)) for line in text.lines(content)) == content


@given(st.text(alphabet="a\\\r\n"))
def test_lines_that_go_on_are_the_text_too(content: str) -> None:
    assert "".join(text.logical(content)) == content
    assert not any(line.endswith(("\\\n", "\\\r\n")) for line in text.logical(content + "\na")[:-1])


@given(st.text())
def test_an_edit_that_changes_nothing_leaves_every_byte(content: str) -> None:
    assert text.edit(content, lambda body: body) == content


@pytest.mark.parametrize("name", EDITS)
def test_windows_line_endings_stay(name: str) -> None:
    sources = {
        "grub": "grub-xen-default.conf",
        "fstab": "fstab-xvda",
        "inittab": "inittab-el5-xvc0",
        "modprobe": "modprobe-xen.conf",
        "kernel": "sysconfig-kernel",
        "ifcfg": "ifcfg-eth1-dhcp-no-hwaddr",
    }
    before = data(sources[name]) if name in sources else 'boot=/dev/xvda\nxvc0\nfilter = "a|xvda|"\n'
    unix, windows = EDITS[name](before), EDITS[name](before.replace("\n", "\r\n"))
    assert unix != before
    assert windows == unix.replace("\n", "\r\n")


class TestGrub:
    before = data("grub-xen-default.conf")

    def test_reads_the_entries_with_their_kernels(self) -> None:
        found = [(e.index, e.root, e.kernel, e.initrd) for e in grub.entries(self.before)]
        assert found[0] == (0, "(hd0,0)", "/vmlinuz-2.6.18-398.el5xen", "/initrd-2.6.18-398.el5xen.img")
        assert found[2] == (2, "(hd0,0)", "/vmlinuz-2.6.18-398.el5", "/initrd-2.6.18-398.el5.img")

    def test_reads_a_hypervisor_entry_with_the_kernel_it_loads(self) -> None:
        first, second, third = grub.entries(data("grub-hypervisor.conf"))
        assert first.hypervisor
        assert (first.root, first.kernel) == ("(hd0,0)", "/vmlinuz-2.6.18-398.el5xen")
        assert first.initrd == "/initrd-2.6.18-398.el5xen.img"
        assert not second.hypervisor
        assert (second.root, second.kernel) == ("(hd0,1)", "/boot/vmlinuz-2.6.18-398.el5")
        assert third.kernel == ""

    def test_boots_the_chosen_entry(self) -> None:
        after = grub.prepared(self.before, 2)
        assert grub.default(self.before) == 0
        assert grub.default(after) == 2
        assert [e.title for e in grub.entries(after)] == [e.title for e in grub.entries(self.before)]

    def test_sets_the_default_before_the_first_entry_where_there_was_none(self) -> None:
        after = grub.prepared("timeout=5\ntitle A\n kernel /a\ntitle B\n kernel /b\n", 1)
        assert after == "timeout=5\ndefault=1\ntitle A\n kernel /a\ntitle B\n kernel /b\n"

    @pytest.mark.parametrize("line", ["default saved", "default 0", "default = 0", " default=0", "default\t0"])
    def test_replaces_every_way_to_write_a_default(self, line: str) -> None:
        assert grub.prepared(f"{line}\ntitle A\ntitle B\n", 1) == "default=1\ntitle A\ntitle B\n"

    def test_keeps_a_default_that_is_right_already(self) -> None:
        assert grub.prepared("default 1\ntitle A\ntitle B\n", 1) == "default 1\ntitle A\ntitle B\n"

    def test_of_two_defaults_one_is_left(self) -> None:
        assert grub.prepared("default=0\ndefault=2\ntitle A\n", 1) == "default=1\ntitle A\n"

    def test_a_line_goes_on_behind_a_backslash(self) -> None:
        before = "default=1 \\\n\ntitle A \\\n of old\nkernel \\\n /a \\\r\n root=/dev/xvda2 \\\n console=hvc0\ninitrd /i\n"
        (entry,) = grub.entries(before)
        assert (entry.kernel, entry.initrd, entry.arguments) == ("/a", "/i", ("root=/dev/xvda2", "console=hvc0"))
        assert grub.default(before) == 1
        after = grub.prepared(before, 0)
        assert after.endswith("kernel \\\n /a \\\r\n root=/dev/sda2 \\\n console=tty0\ninitrd /i\n")
        assert grub.default(after) == 0
        assert grub.with_arguments(after, 0, ["divider=10"]).endswith("console=tty0 divider=10\ninitrd /i\n")

    def test_renames_root_and_resume_and_puts_the_screen_for_xens_console_once(self) -> None:
        after = grub.prepared(self.before, 2)
        kernels = [line.strip() for line in after.split("\n") if line.strip().startswith("kernel")]
        assert kernels == [
            "kernel /vmlinuz-2.6.18-398.el5xen ro root=/dev/sda2 console=tty0 resume=/dev/sda3",
            "kernel /vmlinuz-2.6.18-371.el5 ro root=LABEL=/ rhgb quiet",
            "kernel /vmlinuz-2.6.18-398.el5 ro root=/dev/sda2  console=tty0  rhgb quiet",
        ]
        assert device.names_xen(after) == []

    def test_keeps_other_consoles_with_the_screen_behind_them(self) -> None:
        line = " kernel /v console=tty0 console=hvc0 console=ttyS0,9600n8"
        assert grub.prepared(f"default=0\ntitle A\n{line}\n", 0).split("\n")[2] == (
            " kernel /v console=ttyS0,9600n8 console=tty0"
        )

    def test_leaves_comments_and_everything_else(self) -> None:
        after = grub.prepared(self.before, 2)
        assert len(removed(self.before, after)) == 3
        assert "#boot=/dev/xvda\n" in after

    def test_what_debian_makes_new_entries_from_is_put_right_too(self) -> None:
        before = "## comment root=/dev/xvda1\n# kopt=root=/dev/xvda1 ro console=hvc0\n# kopt_2_6=root=/dev/xvda1\n"
        after = "## comment root=/dev/xvda1\n# kopt=root=/dev/sda1 ro console=tty0\n# kopt_2_6=root=/dev/sda1\n"
        assert grub.prepared(before, 0) == after
        assert grub.prepared(before + "title a\n", 0).startswith("## comment root=/dev/xvda1\n# kopt=root=/dev/sda1")

    def test_renames_the_disk_in_device_map(self) -> None:
        assert leftovers.disks("# devices\n(fd0)\t/dev/fd0\n(hd0)\t/dev/xvda\n") == (
            "# devices\n(fd0)\t/dev/fd0\n(hd0)\t/dev/sda\n"
        )


class TestFstab:
    def test_renames_xen_disks_and_nothing_else(self) -> None:
        before = data("fstab-xvda")
        after = fstab.prepared(before)
        assert added(before, after) == ["/dev/sda1              /boot                   ext3    defaults        1 2\n"]
        told = device.names_xen(after)  # another disk does not move
        assert told == ["/dev/xvdb1\t/data\text3\tnoatime,comment=was-/dev/xvdb1\t1 2"]
        assert "# /dev/xvda5" in after
        assert "LABEL=SWAP-xvda3" in after

    def test_reads_what_is_mounted_where(self) -> None:
        assert fstab.mounts(data("fstab-xvda"))[:2] == [("LABEL=/", "/"), ("/dev/xvda1", "/boot")]

    def test_a_longer_name_is_no_xen_disk(self) -> None:
        assert device.UNKNOWN.renamed("/dev/xvdata /dev/xvda12") == "/dev/xvdata /dev/sda12"


class TestModprobe:
    def test_puts_nics_and_controllers_on_the_new_modules_and_drops_xens(self) -> None:
        after = modprobe.prepared(data("modprobe-xen.conf"), ["eth0", "eth1", "eth2"], "vmxnet3", ["pvscsi", "mptspi"])
        assert after == (
            "alias eth0 vmxnet3\n"
            "alias eth1 vmxnet3\n"
            "# keep: the serial card in slot 2\n"
            "alias char-major-4-70 8250\n"
            "alias scsi_hostadapter pvscsi\n"
            "alias scsi_hostadapter1 mptspi\n"
            "alias snd-card-0 snd-hda-intel\n"
            "alias eth2 vmxnet3\n"
        )
        assert modprobe.leftovers(after) == []

    def test_drops_the_adapters_that_are_too_many(self) -> None:
        after = modprobe.prepared("alias scsi_hostadapter xenblk\nalias scsi_hostadapter1 sata_nv\n", [], "e1000", ["mptspi"])
        assert after == "alias scsi_hostadapter mptspi\n"

    def test_of_two_lines_for_one_nic_one_is_left(self) -> None:
        conf = "alias eth0 xennet\nalias eth0 tg3\n"
        assert modprobe.prepared(conf, ["eth0"], "e1000", []) == "alias eth0 e1000\n"

    def test_drops_another_nic_that_is_on_xens_module_and_keeps_one_that_is_not(self) -> None:
        conf = "alias eth7 xen-vnif\nalias eth8 tg3\n"
        assert modprobe.prepared(conf, [], "e1000", []) == "alias eth8 tg3\n"

    def test_finds_what_is_left_of_xen(self) -> None:
        assert modprobe.leftovers("# xennet\nalias eth0 xen-vnif\n") == ["alias eth0 xen-vnif"]


class TestConsole:
    def test_removes_xens_getty_and_switches_the_screens_on(self) -> None:
        before = data("inittab-el5-xvc0")
        after = console.inittab(before)
        assert removed(before, after) == [
            "co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav\n",
            "#1:2345:respawn:/sbin/mingetty tty1\n",
        ]
        assert added(before, after) == ["1:2345:respawn:/sbin/mingetty tty1\n"]

    def test_adds_a_getty_where_there_is_none_under_an_identity_that_is_free(self) -> None:
        after = console.inittab("si::sysinit:/x\n1:3:respawn:/usr/sbin/daemon\nco:2345:wait:/x hvc0\n", "/sbin/mingetty")
        assert after == "si::sysinit:/x\n1:3:respawn:/usr/sbin/daemon\nt1:2345:respawn:/sbin/mingetty tty1\n"

    def test_under_upstart_nothing_is_added(self) -> None:
        assert console.inittab(data("inittab-el6-upstart")) == data("inittab-el6-upstart")

    def test_root_may_log_in_on_the_screen_and_no_longer_on_xens_console(self) -> None:
        assert console.securetty("tty2\nxvc0\nhvc0") == "tty2\ntty1\n"

    def test_a_list_that_is_right_stays(self) -> None:
        assert console.securetty("tty1\ntty2\n") == "tty1\ntty2\n"


class TestSysconfig:
    def test_the_default_kernel_is_the_ordinary_package(self) -> None:
        before = data("sysconfig-kernel")
        assert added(before, sysconfig.default_kernel(before, "kernel")) == ["DEFAULTKERNEL=kernel\n"]

    def test_a_missing_key_is_added_at_the_end(self) -> None:
        assert sysconfig.default_kernel("UPDATEDEFAULT=yes", "kernel") == "UPDATEDEFAULT=yes\nDEFAULTKERNEL=kernel\n"

    def test_reads_values_with_and_without_quotes_and_the_last_of_two(self) -> None:
        assert sysconfig.values("A='x y'\n B=\"z\"\nC=1 # one\n#D=2\nA=3\n") == {"A": "3", "B": "z", "C": "1"}

    def test_the_boot_disk_is_renamed(self) -> None:
        assert leftovers.disks("boot=/dev/xvda\n#boot=/dev/xvda\n") == "boot=/dev/sda\n#boot=/dev/xvda\n"


class TestIfcfg:
    path = "/etc/sysconfig/network-scripts/ifcfg-eth0"

    def test_reads_mac_and_address(self) -> None:
        found = ifcfg.interface(self.path, data("ifcfg-eth0-hwaddr"))
        assert (found.name, found.mac, found.address, found.dhcp) == ("eth0", "00:16:3e:05:00:00", "10.3.1.254/24", False)

    def test_reads_dhcp(self) -> None:
        found = ifcfg.interface(self.path.replace("eth0", "eth1"), data("ifcfg-eth1-dhcp-no-hwaddr"))
        assert (found.name, found.mac, found.address, found.dhcp) == ("eth1", "", "", True)

    def test_an_address_that_is_none_is_not_guessed(self) -> None:
        assert ifcfg.interface(self.path, "IPADDR=10.3.1.300\nNETMASK=255.255.255.0\n").address == ""

    def test_the_case_of_a_mac_is_no_difference(self) -> None:
        before = data("ifcfg-eth0-hwaddr")
        for written in (before, before.replace("00:16:3E", "00:16:3e")):
            assert ifcfg.prepared(written, "00:16:3e:05:00:00") == written

    def test_a_wrong_mac_is_replaced_in_its_place(self) -> None:
        before = data("ifcfg-eth0-hwaddr")
        after = ifcfg.prepared(before, "00:16:3e:05:00:0a")
        assert after == before.replace("05:00:00", "05:00:0A")

    def test_a_missing_mac_is_added(self) -> None:
        before = data("ifcfg-eth1-dhcp-no-hwaddr")
        assert ifcfg.prepared(before, "00:16:3e:05:00:01") == before + "HWADDR=00:16:3E:05:00:01\n"


def test_xen_names_are_found_in_lines_but_not_in_comments() -> None:
    assert device.names_xen("# /dev/xvda1\n/dev/xvda2 /\nLABEL=SWAP-xvda3 swap\nco:xvc0\n") == ["/dev/xvda2 /", "co:xvc0"]


def test_lvms_filters_look_at_the_new_disks() -> None:
    conf = 'devices {\n    # filter = [ "a|/dev/xvda|" ]\n    filter = [ "a|^/dev/xvda2$|", "r|.*|" ]\n    dir = "/dev"\n}\n'
    assert added(conf, lvm.prepared(conf)) == ['    filter = [ "a|^/dev/sda2$|", "r|.*|" ]\n']
