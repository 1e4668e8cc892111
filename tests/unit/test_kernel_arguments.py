"""A kernel's arguments, wherever a guest keeps them: new names, a console that exists, nothing that only Xen understands."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.guest import device
from hikkoshi.guest.device import Disk
from hikkoshi.guest.files import arguments, console, extlinux, grub, grub2, menu

DATA = Path(__file__).parents[1] / "data/boot"
WORDS = [
    *("ro", "quiet", "root=/dev/xvda1", "console=tty0", "console=hvc0", "console=ttyS0,115200n8", "console=tty1", "xencons=tty"),
    *("earlyprintk=xen", "xen_blkfront.max=64", "resume=/dev/xvda2", 'dyndbg="file', "crashkernel=auto", "console=xvc0,9600"),
]
BLANKS = st.sampled_from([" ", "  ", "\t", " \\\n\t"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ro console=hvc0 quiet", "ro console=tty0 quiet"),
        ("ro console=tty0 console=hvc0 quiet", "ro console=tty0 quiet"),
        ("console=hvc0 console=tty1", "console=tty1"),
        ("console=tty0 console=hvc0 console=ttyS0,115200n8 x=1", "console=ttyS0,115200n8 console=tty0 x=1"),
        ("console=tty1 console=hvc0 console=ttyS0", "console=ttyS0 console=tty1"),
        ("console=ttyS0 ro", "console=ttyS0 console=tty0 ro"),
        ("console=hvc1,38400 ro", "console=tty0 ro"),
        ("console=ttyS0 console=xvc0", "console=ttyS0 console=tty0"),
        ("console=tty0 ro", "console=tty0 ro"),
        ("ro quiet", "ro quiet"),
        ("a  xencons=tty1  b", "a  b"),
        (" earlyprintk=xen quiet", " quiet"),
        ("earlyprintk=xen,keep quiet", "quiet"),
        ("earlyprintk=vga earlycon=xenboot", "earlyprintk=vga"),
        ("clocksource=xen clocksource=tsc", "clocksource=tsc"),
        ("independent_wallclock=1 xen_emul_unplug=never ide0=noprobe hda=noprobe x", "x"),
        ("xen-blkfront.sda_is_xvda=1 xenfb.video=8,800,600 xen_nopv x", "x"),
        ("x selfballooning tmem.selfshrinking=0 noselfshrink", "x"),
        ("rd.driver.pre=xen-blkfront,xen_netfront rd.driver.pre=dm_mod", "rd.driver.pre=dm_mod"),
        ("xenomai.smi=1 mem=4G hda=none", "xenomai.smi=1 mem=4G hda=none"),
        ("root=LABEL=/ rd_LVM_LV=vg/root resume=UUID=x", "root=LABEL=/ rd_LVM_LV=vg/root resume=UUID=x"),
        ("real_root=/dev/xvda3 cryptdevice=/dev/xvda2:c", "real_root=/dev/sda3 cryptdevice=/dev/sda2:c"),
        ("root=/dev/disk/by-path/xen-vbd-51712-part2", "root=/dev/sda2"),
        ("root=ca02 resume=202:3 ro", "root=/dev/sda2 resume=/dev/sda3 ro"),
        ("root=0x302 root=801 root=fd00", "root=/dev/sda2 root=/dev/sda1 root=fd00"),
        ("console=tty console=hvc video=xenfb:800x600", "console=tty"),
        ("console=tty0 \\\n  console=hvc0", "console=tty0"),
    ],
)
def test_arguments_are_put_right(before: str, after: str) -> None:
    assert arguments.prepared(before) == after


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(WORDS), BLANKS), max_size=8))
def test_whatever_they_are_the_last_console_is_the_screens_and_nothing_of_xen_is_left(rows: list[tuple[str, str]]) -> None:
    line = "".join(word + blank for word, blank in rows)
    after = arguments.prepared(line)
    consoles = [w for w in after.split() if w.startswith("console=")]
    assert bool(consoles) == any(w.startswith("console=") for w in line.split())
    assert all(w.startswith("console=tty") for w in consoles)
    assert not consoles or consoles[-1] in ("console=tty0", "console=tty1")
    assert arguments.only_xen(after) == set()
    assert arguments.prepared(after) == after
    plain = " ".join(w for w in line.split() if w != "\\")  # the same with other blanks
    assert [w for w in arguments.prepared(plain).split() if w != "\\"] == [w for w in after.split() if w != "\\"]


def test_only_what_is_of_xen_goes_and_the_rest_keeps_order_and_blanks() -> None:
    before = (DATA / "grub-xen-arguments.conf").read_text()
    after = grub.prepared(before, 0)
    assert "ro root=/dev/mapper/vg_tally-root  rd_LVM_LV=vg_tally/root console=tty0\n" in after
    assert "ro root=/dev/mapper/vg_tally-root single\n" in after
    gone = {"xencons=tty", "earlyprintk=xen", "clocksource=xen", "independent_wallclock=1", "xen_blkfront.max=64"}
    assert arguments.only_xen(before) == gone | {"xen_emul_unplug=never", "ide0=noprobe"}
    assert arguments.only_xen(after) == set()


def test_settings_that_are_joined_exported_or_in_files_of_their_own_are_put_right() -> None:
    after = arguments.settings((DATA / "default-grub-joined").read_text())
    assert after == (
        "GRUB_DEFAULT=0\n"
        "GRUB_TIMEOUT_STYLE=hidden\n"
        'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'
        'GRUB_CMDLINE_LINUX="root=/dev/sda1"\n'
        'GRUB_CMDLINE_LINUX+=" console=tty0"\n'
        'GRUB_CMDLINE_LINUX="${GRUB_CMDLINE_LINUX} console=tty0"\n'
        'GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT="console=tty0"\n'
        "export GRUB_TERMINAL=console\n"
    )
    image = (DATA / "grub.d-cloudimg.cfg").read_text()
    assert 'DEFAULT="console=ttyS0 console=tty1"\n' in arguments.settings(image)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('GRUB_CMDLINE_LINUX="a \\\n  console=hvc0"\n', 'GRUB_CMDLINE_LINUX="a \\\n  console=tty0"\n'),
        (
            "export GRUB_CMDLINE_LINUX='console=hvc0' # console=hvc0\n",
            "export GRUB_CMDLINE_LINUX='console=tty0' # console=hvc0\n",
        ),
        ("GRUB_CMDLINE_LINUX=console=hvc0\n", "GRUB_CMDLINE_LINUX=console=tty0\n"),
        ("GRUB_CMDLINE_LINUX='a'\" console=hvc0\"\n", "GRUB_CMDLINE_LINUX='a'\" console=tty0\"\n"),
        ('DEFAULT_APPEND="resume=/dev/xvda1 console=xvc0"\n', 'DEFAULT_APPEND="resume=/dev/sda1 console=tty0"\n'),
        (
            'default_kernel_opts="quiet console=hvc0"\nroot=/dev/xvda3\n',
            'default_kernel_opts="quiet console=tty0"\nroot=/dev/sda3\n',
        ),
        ('EXTLINUX_ROOT="root=/dev/xvda1"\n', 'EXTLINUX_ROOT="root=/dev/sda1"\n'),
        ("GRUB_DEVICE=/dev/xvda2\n#GRUB_DEVICE=/dev/xvda3\n", "GRUB_DEVICE=/dev/sda2\n#GRUB_DEVICE=/dev/xvda3\n"),
    ],
)
def test_settings_of_every_program_that_writes_menus(before: str, after: str) -> None:
    assert arguments.settings(before) == after
    assert arguments.settings(after) == after


def test_a_serial_port_is_no_last_console_and_a_name_of_grubs_own_for_xens_disk_is_told() -> None:
    after = grub2.prepared((DATA / "grub-serial-last.cfg").read_text(), 0)[0]
    assert "root=/dev/sda1 ro console=ttyS0,115200n8 console=tty0 nvme_core.io_timeout=255\n" in after
    assert device.names_xen(after) == ["set root='(/dev/xvda,msdos1)'"]


def test_an_entry_in_a_file_of_its_own_is_read_and_changed_with_tabs_too() -> None:
    before = (DATA / "entry-tab.conf").read_text()
    after = menu.loader_entry(before)
    assert after == before.replace("root=/dev/xvda2 ro console=hvc0", "root=/dev/sda2 ro console=tty0")
    more = before.replace("initrd /", "initrd /microcode.img\ninitrd /") + "options quiet\n"
    (entry,) = menu.loader_entries({f"{menu.ENTRIES}a.conf": more})
    assert (entry.initrd, entry.arguments[-1]) == ("/initramfs-5.14.0-362.el9.x86_64.img", "quiet")


def test_a_menu_that_keeps_arguments_in_a_variable_is_put_right() -> None:
    before = '  set default_kernelopts="root=/dev/xvda2 ro console=hvc0 "\n'
    assert grub2.prepared(before, 0)[0] == '  set default_kernelopts="root=/dev/sda2 ro console=tty0 "\n'


def test_the_hypervisors_own_arguments_stay() -> None:
    legacy = "title x\n kernel /xen.gz com1=115200 console=com1\n module /vmlinuz-x root=/dev/xvda1 console=xvc0\n"
    assert grub.prepared("default=0\n" + legacy, 0).endswith(legacy.replace("xvda1 console=xvc0", "sda1 console=tty0"))
    newer = " xen_hypervisor /xen.gz console=com1\n xen_module /vmlinuz-x x xen_nopv\n"
    assert grub2.prepared(newer, 0)[0] == newer.replace(" xen_nopv", "")


def test_extlinux_boots_the_chosen_entry_with_its_arguments_put_right() -> None:
    before = (
        "DEFAULT old\nLABEL old\n\tKERNEL /a\n\tAPPEND\tinitrd=/b root=/dev/xvda1 console=hvc0\n"
        "LABEL new\n LINUX /c\n append ro\n"
    )
    assert [(e.kernel, e.initrd, e.arguments) for e in extlinux.entries(before)] == [
        ("/a", "/b", ("root=/dev/xvda1", "console=hvc0")),
        ("/c", "", ("ro",)),
    ]
    after = extlinux.prepared(before, 1, Disk())
    assert extlinux.default(after) == 1
    assert "\tAPPEND\tinitrd=/b root=/dev/sda1 console=tty0\n" in after
    assert extlinux.prepared(after, 1) == after
    assert extlinux.default(extlinux.prepared(before.removeprefix("DEFAULT old\n"), 1)) == 1


def test_menus_and_logins_on_a_serial_port_are_told() -> None:
    texts = {
        "/boot/grub/menu.lst": "serial --unit=0\nterminal --timeout=5 serial console\n",
        "/etc/default/grub": 'GRUB_TERMINAL="serial console"\n',
        "/etc/inittab": "T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n#T1:23:respawn:/sbin/getty -L ttyS1\n",
        "/etc/init/ttyS0.conf": "exec /sbin/getty -L 115200 ttyS0 vt102\n",
    }
    assert [path for path, _ in console.serial(texts)] == list(texts)


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ("GRUB_TERMINAL=serial\n", True),
        ("export GRUB_TERMINAL='serial console'\n", True),
        ('GRUB_TERMINAL_OUTPUT=" serial_com1 gfxterm"\n', True),
        ("GRUB_TERMINAL=console\nGRUB_TERMINAL=serial\n", True),
        ("GRUB_TERMINAL=serial\nGRUB_TERMINAL=console\n", False),
        ('GRUB_TERMINAL="console serial"\n', False),
        ("#GRUB_TERMINAL=serial\n", False),
        ("GRUB_SERIAL_COMMAND='serial --unit=0'\n", False),
    ],
)
def test_a_boot_menu_that_the_settings_put_on_a_serial_port_is_told(settings: str, first: bool) -> None:
    assert bool(console.serial({"/etc/default/grub": settings})) is first


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("terminal_output serial_com0", True),
        ("serial --unit=0; terminal_input serial console", True),
        ("terminal --timeout=5 serial console", True),
        ("# terminal serial", False),
        ("terminal_input console serial", False),
    ],
)
def test_a_menu_that_shows_itself_on_a_serial_port_is_told(line: str, first: bool) -> None:
    assert bool(console.serial({"/boot/grub2/grub.cfg": line + "\n"})) is first


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if true; then linux /vmlinuz console=hvc0; fi\n", "if true; then linux /vmlinuz console=tty0; fi\n"),
        (
            "menuentry 'x; y { linux' { linux /v root=/dev/sda1 console=hvc0; initrd /i; }\n",
            "menuentry 'x; y { linux' { linux /v root=/dev/sda1 console=tty0; initrd /i; }\n",
        ),
        ("\tlinux /vmlinuz \"ro\" 'console=hvc0'\n", '\tlinux /vmlinuz "ro" console=tty0\n'),
        ('set more="quiet console=hvc0"\n', 'set more="quiet console=tty0"\n'),
        ("more='console=xvc0 ro'\n", "more='console=tty0 ro'\n"),
        ("  echo 'Loading linux console=hvc0'\n", "  echo 'Loading linux console=hvc0'\n"),
        ("# linux /v console=hvc0\n", "# linux /v console=hvc0\n"),
        ("set timeout=5\n", "set timeout=5\n"),
    ],
)
def test_a_command_of_grub_2_is_found_wherever_it_stands_and_a_variable_with_a_console(before: str, after: str) -> None:
    assert grub2.custom(before) == after
    assert grub2.custom(after) == after


@pytest.mark.parametrize(
    "word", ["kgdboc=hvc0,115200", "systemd.journald.tty_path=/dev/hvc0", "module_blacklist=xen_blkfront,xen_netfront"]
)
def test_other_words_that_name_xens_console_or_drivers_alone_go(word: str) -> None:
    assert arguments.prepared(f"ro {word} quiet") == "ro quiet"
