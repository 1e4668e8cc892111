"""Files of guests with systemd and GRUB 2: read, and changed once, the rest byte for byte."""

import json
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.guest import leftovers
from hikkoshi.guest.files import arguments, grub2, menu, text
from hikkoshi.guest.interfaces import interfaces, pinning

DATA = Path(__file__).parents[1] / "data/guest"
CFG = (DATA / "grub-debian12.cfg").read_text()  # as update-grub of Debian 12 wrote it
TWO_KERNELS = CFG.replace(
    "\tmenuentry 'Debian GNU/Linux, with Linux 6.1.0-56-amd64' ",
    "\tmenuentry 'Older' --class debian $menuentry_id_option 'older-id' {\n"
    "\t\tlinux /boot/vmlinuz-5.10.0-1-amd64 root=/dev/xvda1 ro console=hvc0\n"
    "\t\tinitrd /boot/initrd.img-5.10.0-1-amd64\n\t}\n"
    "\tmenuentry 'Debian GNU/Linux, with Linux 6.1.0-56-amd64' ",
)
MACS = {"eth0": "00:16:3e:05:00:00", "eth1": "00:16:3E:05:00:01"}
RULE = (
    'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{{address}}=="{mac}", ATTR{{dev_id}}=="0x0", '
    'ATTR{{type}}=="1", KERNEL=="eth*", NAME="{name}"'
)
EL8 = "title Linux\nversion 4.18.0-{v}.el8.x86_64\nlinux /vmlinuz-4.18.0-{v}.el8.x86_64\n"
EL8 += "initrd /initramfs-4.18.0-{v}.el8.x86_64.img $tuned_initrd\noptions $kernelopts $tuned_params\n"
ENVIRONMENT = "# GRUB Environment Block\nsaved_entry=abc-4.18.0-80.el8.x86_64\nkernelopts=root=/dev/xvda2 ro console=hvc0 \n"


def block(content: str) -> str:
    return content.ljust(1024, "#")


BLS = {
    "/boot/grub2/grub.cfg": 'set default="${saved_entry}"\ninsmod part_msdos\nblscfg\n',
    "/boot/grub2/grubenv": block(ENVIRONMENT),
    **{f"{menu.ENTRIES}abc-4.18.0-{v}.el8.x86_64.conf": EL8.format(v=v) for v in ("80", "147", "9")},
}


class TestGrub2:
    def test_the_entries_of_submenus_are_entries_too(self) -> None:
        found = grub2.Script(CFG).entries
        assert [e.title for e in found] == [
            "Debian GNU/Linux",
            "Debian GNU/Linux, with Linux 6.1.0-56-amd64",
            "Debian GNU/Linux, with Linux 6.1.0-56-amd64 (recovery mode)",
        ]
        assert found[0].kernel == "/boot/vmlinuz-6.1.0-56-amd64"
        assert found[0].initrd == "/boot/initrd.img-6.1.0-56-amd64"
        assert found[2].arguments == ("root=/dev/xvda1", "ro", "single", "console=hvc0")

    def test_an_entry_that_starts_a_hypervisor_is_told_from_others(self) -> None:
        entry = (
            "menuentry 'Xen' {\n multiboot2 /boot/xen.gz dom0_mem=1G\n"
            " module2 /boot/vmlinuz-6 root=/dev/sda1\n module2 --nounzip /boot/initrd-6\n}\n"
        )
        (found,) = grub2.Script(entry).entries
        assert (found.hypervisor, found.kernel, found.initrd) == (True, "/boot/vmlinuz-6", "/boot/initrd-6")

    @pytest.mark.parametrize(
        ("default", "index"),
        [
            ("0", 0),
            ("1>0", 1),
            ("1>1", 2),
            ("Older", 0),
            ("gnulinux-advanced-6b9c8e0e-7b4f-4d3c-9f59-0d3b5a1c2e01>older-id", 1),
            ("Advanced options for Debian GNU/Linux>Older", 1),
            ("older-id", 0),  # GRUB looks for it among submenus only where they are named
            ("1", 1),
            ("not there", 0),
        ],
    )
    def test_the_default_is_found_by_number_title_and_id(self, default: str, index: int) -> None:
        cfg = TWO_KERNELS.replace('set default="0"', f'set default="{default}"')
        assert grub2.Script(cfg).default == index

    def test_a_saved_default_comes_from_the_environment(self) -> None:
        cfg = TWO_KERNELS.replace('set default="0"', 'set default="${saved_entry}"')
        assert grub2.Script(cfg, {"saved_entry": "1>1"}).default == 2
        assert grub2.Script(cfg, {}).default == 0

    @pytest.mark.parametrize("index", range(4))
    def test_the_wanted_entry_is_booted_afterwards(self, index: int) -> None:
        changed = grub2.prepared(TWO_KERNELS, index)[0]
        assert grub2.Script(changed).default == index
        assert grub2.prepared(changed, index)[0] == changed

    def test_nothing_but_kernel_lines_changes_where_the_default_is_right(self) -> None:
        changed = grub2.prepared(CFG, 0)[0]
        pairs = zip(text.lines(CFG), text.lines(changed), strict=True)
        differ = [(a, b) for a, b in pairs if a != b]
        assert len(differ) == 3
        assert all(a.split()[0] == "linux" for a, _ in differ)
        assert "xvda" not in changed
        assert "hvc0" not in changed

    def test_settings_keep_their_quotes(self) -> None:
        before = "# console=hvc0\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX='root=/dev/xvda1 console=hvc0' # mine\n"
        assert arguments.settings(before) == before.replace("'root=/dev/xvda1 console=hvc0'", "'root=/dev/sda1 console=tty0'")

    def test_an_environment_block_keeps_its_size(self) -> None:
        before = block(ENVIRONMENT)
        after = grub2.with_arguments(before)
        assert len(after) == 1024
        assert grub2.environment(after)["kernelopts"].split() == ["root=/dev/sda2", "ro", "console=tty0"]
        assert grub2.environment(after)["saved_entry"] == "abc-4.18.0-80.el8.x86_64"
        assert grub2.with_arguments(after) == after

    def test_what_is_no_environment_block_stays(self) -> None:
        assert grub2.with_arguments("kernelopts=root=/dev/xvda2\n") == "kernelopts=root=/dev/xvda2\n"

    @given(st.text(max_size=300))
    def test_any_text_is_read_without_an_error(self, content: str) -> None:
        grub2.environment(content)
        script = grub2.Script(content, {}, menu.loader_entries({f"{menu.ENTRIES}x.conf": content}))
        assert 0 <= script.default <= len(script.entries)

    @given(st.lists(st.sampled_from(text.lines(TWO_KERNELS)), max_size=60).map("".join), st.integers(min_value=0, max_value=5))
    def test_a_menu_prepared_twice_is_the_menu_prepared_once(self, cfg: str, index: int) -> None:
        once, _ = grub2.prepared(cfg, index)
        assert grub2.prepared(once, index)[0] == once


class TestLoaderEntries:
    def test_the_newest_comes_first(self) -> None:
        found = menu.MENUS["/boot/grub2/grub.cfg"].entries(BLS, "/boot/grub2/grub.cfg")
        assert [e.kernel.split("-")[2] for e in found] == ["147.el8.x86_64", "80.el8.x86_64", "9.el8.x86_64"]
        assert found[0].initrd == "/initramfs-4.18.0-147.el8.x86_64.img"

    def test_the_environment_names_the_one_that_is_booted(self) -> None:
        assert menu.MENUS["/boot/grub2/grub.cfg"].default(BLS, "/boot/grub2/grub.cfg") == 1
        without = {p: t for p, t in BLS.items() if not p.endswith("grubenv")}
        assert menu.MENUS["/boot/grub2/grub.cfg"].default(without, "/boot/grub2/grub.cfg") == 0

    def test_their_options_are_put_right(self) -> None:
        conf = "title x\noptions root=/dev/xvda1 ro console=hvc0\n"
        assert menu.loader_entry(conf) == "title x\noptions root=/dev/sda1 ro console=tty0\n"


class TestRules:
    def test_a_rule_of_another_mac_is_replaced(self) -> None:
        before = "# kept\n" + RULE.format(mac="00:16:3e:ff:00:09", name="eth0") + "\n"
        after = pinning.rules(before, MACS)
        assert pinning.read({pinning.RULES: after}) == {name: mac.lower() for name, mac in MACS.items()}
        assert after.startswith("# kept\n")

    def test_a_rule_that_is_right_stays_as_it_is(self) -> None:
        right = RULE.format(mac="00:16:3e:05:00:00", name="eth0") + "\n"
        assert text.lines(pinning.rules(right, MACS))[0] == right

    def test_a_rule_for_xens_driver_alone_goes(self) -> None:
        before = RULE.format(mac="00:16:3e:05:00:00", name="eth0").replace('DRIVERS=="?*"', 'DRIVERS=="xennet"')
        assert "xennet" not in pinning.rules(before + "\n", MACS)

    def test_a_rule_for_another_nic_stays(self) -> None:
        other = RULE.format(mac="00:16:3e:ff:00:09", name="eth7") + "\n"
        assert other in pinning.rules(other, MACS)

    @given(
        st.lists(
            st.sampled_from(
                [
                    "# comment\n",
                    "\n",
                    *(
                        RULE.format(mac=mac, name=name) + "\n"
                        for mac in (*MACS.values(), "00:16:3e:ff:00:09")
                        for name in (*MACS, "eth7")
                    ),
                ]
            )
            | st.text(max_size=30),
            max_size=12,
        ).map("".join)
    )
    def test_rules_written_twice_are_the_rules_written_once(self, before: str) -> None:
        once = pinning.rules(before, MACS)
        assert pinning.rules(once, MACS) == once


class TestLinks:
    def test_what_is_written_is_what_is_read(self) -> None:
        texts = {pinning.link_path(name): pinning.link(name, mac) for name, mac in MACS.items()}
        assert pinning.read(texts) == {name: mac.lower() for name, mac in MACS.items()}

    def test_a_link_file_of_the_guests_own_counts(self) -> None:
        own = "[Match]\nMACAddress=00-16-3E-05-00-00\n[Link]\nName=lan\n"
        assert pinning.read({"/etc/systemd/network/70-lan.link": own}) == {"lan": "00:16:3e:05:00:00"}


class TestSwap:
    """The script that gives NICs their names, run with a /sys and an `ip` of its own."""

    IP = """#!/bin/sh
# ip link set dev OLD name NEW, as the kernel does it: not to a name that is taken
[ "$3" = dev ] && [ "$5" = name ] || exit 0
[ -e "$NET/$6" ] && { echo "RTNETLINK answers: File exists" >&2; exit 2; }
mv "$NET/$4" "$NET/$6"
"""

    def run(self, folder: Path, there: dict[str, str], macs: dict[str, str]) -> tuple[dict[str, str], bool]:
        """Names by MAC afterwards, and whether udev was asked to look again."""
        net, tools = folder / "net", folder / "bin"
        for name, mac in there.items():
            (net / name / "device").mkdir(parents=True)
            (net / name / "address").write_text(mac + "\n")
        tools.mkdir()
        (tools / "ip").write_text(self.IP)
        (tools / "udevadm").write_text(f"#!/bin/sh\ntouch {shlex.quote(str(folder / 'asked'))}\n")
        for program in tools.iterdir():
            program.chmod(0o755)
        script = pinning.script(macs).replace("net=/sys/class/net", f"net={net}")
        environment = {"PATH": f"{tools}:/usr/bin:/bin", "NET": str(net)}
        done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return {(p / "address").read_text().strip(): p.name for p in net.iterdir()}, (folder / "asked").exists()

    @settings(deadline=None, max_examples=40)
    @given(order=st.permutations(range(5)), extra=st.booleans())
    def test_whatever_the_order_on_the_bus_every_nic_gets_its_name(
        self, tmp_path_factory: pytest.TempPathFactory, order: list[int], extra: bool
    ) -> None:
        macs = {f"eth{n}": f"00:16:3e:05:00:0{n}" for n in range(5)}
        there = {f"eth{place}": f"00:16:3e:05:00:0{n}" for place, n in enumerate(order)}
        if extra:  # one that nobody planned has the first name
            there = {f"eth{int(name[3:]) + 1}": mac for name, mac in there.items()} | {"eth0": "00:50:56:00:00:01"}
        names, asked = self.run(tmp_path_factory.mktemp("swap"), there, macs)
        assert {names[mac]: mac for mac in macs.values()} == macs
        assert asked == (there != macs)

    def test_names_that_systemd_gave_are_replaced(self, tmp_path: Path) -> None:
        there = {"ens192": "00:16:3e:05:00:01", "ens224": "00:16:3e:05:00:00"}
        macs = {"eth0": "00:16:3e:05:00:00", "eth1": "00:16:3e:05:00:01"}
        names, _ = self.run(tmp_path, there, macs)
        assert names == {mac: name for name, mac in macs.items()}

    def test_a_nic_that_is_missing_does_not_stop_the_others(self, tmp_path: Path) -> None:
        names, _ = self.run(tmp_path, {"ens192": "00:16:3e:05:00:01"}, {k: v.lower() for k, v in MACS.items()})
        assert names == {"00:16:3e:05:00:01": "eth1"}


LAUGHS = "".join(  # 9 to the power of 9 letters, where aliases are followed
    f"{key}: &{key} [{', '.join(['x' if key == 'a' else f'*{chr(ord(key) - 1)}'] * 9)}]\n" for key in "abcdefghi"
)
LAUGHS += "network: {ethernets: {eth0: {set-name: *i}}}\n"


class TestInterfaces:
    def seen(self, path: str, content: str) -> list[tuple[str, str, str, bool]]:
        nics, warnings = interfaces.found({path: content})
        assert {w.code for w in warnings} <= {"mac-in-file", "address-odd"}
        return [(n.name, n.mac, n.address, n.dhcp) for n in nics]

    def test_ifupdown(self) -> None:
        content = (
            "auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet static\n  address 10.0.0.5\n"
            "  netmask 255.255.255.0\n  hwaddress ether 00:16:3E:00:00:01\niface eth0 inet6 auto\n"
            "iface eth0:1 inet static\n  address 10.0.0.6/24\nauto eth1\niface eth1 inet dhcp\n"
        )
        assert self.seen("/etc/network/interfaces", content) == [("eth0", "", "10.0.0.5/24", False), ("eth1", "", "", True)]

    def test_netplan(self) -> None:
        content = (
            "network:\n  version: 2\n  ethernets:\n    nic0:\n      match: {macaddress: '00:16:3E:00:00:01'}\n"
            "      set-name: eth0\n      addresses: [fd00::1/64, 10.0.0.5/24]\n    eth1:\n      dhcp4: true\n"
        )
        assert self.seen("/etc/netplan/01.yaml", content) == [
            ("eth0", "00:16:3e:00:00:01", "10.0.0.5/24", False),
            ("eth1", "", "", True),
        ]

    def test_networkd(self) -> None:
        content = "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.5/24\nAddress=fd00::1/64\n"
        assert self.seen("/etc/systemd/network/lan.network", content) == [("eth0", "", "10.0.0.5/24", False)]
        assert self.seen("/etc/systemd/network/x.network", "[Match]\nName=e*\n[Network]\nDHCP=yes\n") == [("", "", "", True)]

    def test_network_manager(self) -> None:
        content = "[connection]\ninterface-name=eth0\n[ethernet]\nmac-address=00:16:3E:00:00:01\n"
        content += "[ipv4]\nmethod=manual\naddress1=10.0.0.5/24,10.0.0.1\n"
        path = "/etc/NetworkManager/system-connections/lan.nmconnection"
        assert self.seen(path, content) == [("eth0", "00:16:3e:00:00:01", "10.0.0.5/24", False)]

    @pytest.mark.parametrize(
        ("path", "content"),
        [
            ("/etc/netplan/01.yaml", "network: ]["),
            ("/etc/netplan/01.yaml", "- a list\n"),
            ("/etc/netplan/01.yaml", "network: {ethernets: {eth0: [a list]}}\n"),
            ("/etc/netplan/01.yaml", "network: {ethernets: eth0}\n"),
            ("/etc/netplan/01.yaml", "network: {ethernets: {eth0: {match: [a]}}}\n"),
            ("/etc/netplan/01.yaml", "network: &a {ethernets: *a}\n"),
            ("/etc/netplan/01.yaml", LAUGHS),
            ("/etc/netplan/01.yaml", "[" * 60_000),
            ("/etc/netplan/01.yaml", "{a: " * 15_000),
            ("/etc/netplan/01.yaml", "- " * 30_000),
            ("/etc/netplan/01.yaml", "network:\n" + "  a: b\n" * 9_000),
            ("/etc/netplan/01.yaml", "#" * 70_000),
            ("/etc/systemd/network/x.network", "no section\n"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_told_and_the_others_count(self, path: str, content: str) -> None:
        other = {"/etc/network/interfaces": "iface eth0 inet dhcp\n"}
        begun = time.process_time()
        nics, (warning,) = interfaces.found({path: content, **other})
        assert time.process_time() - begun < 20  # of ours; what a guest wrote to make it hang takes for ever
        assert [n.name for n in nics] == ["eth0"]
        assert str(warning).startswith(f"{path} cannot be read: ")

    @pytest.mark.parametrize(
        "options",
        ["addresses: 5", "addresses: {a: b}", "addresses: [[a], {b: c}, 10.0.0.5/24]", "dhcp4: [yes]", "set-name: {a: b}"],
    )
    def test_a_value_of_another_kind_than_netplan_writes_counts_as_none(self, options: str) -> None:
        content = f"network: {{ethernets: {{eth0: {{{options}}}}}}}\n"
        address = "10.0.0.5/24" if "10.0.0.5" in options else ""
        assert self.seen("/etc/netplan/01.yaml", content) == [("eth0", "", address, False)]

    @given(
        st.recursive(
            st.text(max_size=5) | st.booleans() | st.integers() | st.none(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["eth0", "match", "macaddress", "addresses", "dhcp4", "set-name"]), inner)
            ),
        )
    )
    def test_no_shape_of_netplan_stops_the_survey(self, tree: object) -> None:
        interfaces.found({"/etc/netplan/a.yaml": json.dumps({"network": {"ethernets": tree}})})

    @given(
        st.sampled_from(["/etc/network/interfaces", "/etc/netplan/a.yaml", "/etc/systemd/network/a.network"]),
        st.text(max_size=200),
    )
    def test_no_file_stops_the_survey(self, path: str, content: str) -> None:
        interfaces.found({path: content})


class TestLeftovers:
    def test_the_swap_that_a_hibernated_system_would_wake_from_has_its_new_name(self) -> None:
        assert leftovers.disks("# RESUME=/dev/xvda2\nRESUME=/dev/xvda2\n") == "# RESUME=/dev/xvda2\nRESUME=/dev/sda2\n"
        assert leftovers.disks("RESUME=UUID=1234\n") == "RESUME=UUID=1234\n"

    def test_encrypted_disks_have_their_new_names(self) -> None:
        assert leftovers.disks("# xvda\nswap /dev/xvda2 /dev/urandom swap\n").endswith("swap /dev/sda2 /dev/urandom swap\n")

    def test_xens_clock_is_switched_off_and_other_settings_stay(self) -> None:
        before = "net.ipv4.ip_forward = 1\nxen.independent_wallclock=1\n"
        once = leftovers.sysctl(before)
        assert once == "net.ipv4.ip_forward = 1\n# xen.independent_wallclock=1\n"
        assert leftovers.sysctl(once) == once

    def test_xens_modules_are_no_longer_loaded(self) -> None:
        before = "# list\nloop\nxen-netfront\nxenfs\n"
        once = leftovers.loaded(before)
        assert once == "# list\nloop\n# xen-netfront\n# xenfs\n"
        assert leftovers.loaded(once) == once

    def test_the_screens_driver_is_no_longer_that_of_xens_frame_buffer(self) -> None:
        before = 'Section "Device"\n\tDriver      "fbdev"\nEndSection\n'
        assert leftovers.xorg(before, "vesa") == before.replace("fbdev", "vesa")
        assert leftovers.xorg(before.replace("fbdev", "nv"), "vesa") == before.replace("fbdev", "nv")

    def test_modules_are_added_that_are_not_there(self) -> None:
        before = "# list\next4\nvmw_pvscsi\n"
        assert leftovers.modules(before, ["vmw_pvscsi", "sd_mod"]) == before + "sd_mod\n"
        assert leftovers.modules(before, ["vmw_pvscsi"]) == before
