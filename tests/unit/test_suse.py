"""A guest of SUSE's: its menu names the device in each path, its initrds have no suffix, and a file says what they hold."""

import base64
from pathlib import Path
from typing import Any

import pytest

from hikkoshi.errors import BadInput
from hikkoshi.guest import edits, inspection, preparation
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.files import modprobe, sysconfig
from hikkoshi.guest.preparation import Preparation

DATA = Path(__file__).parents[1] / "data"
ORDINARY, XEN = "3.0.101-63-default", "3.0.101-63-xen"
TEXTS = {
    "/boot/grub/menu.lst": "boot/suse-menu.lst",
    "/etc/SuSE-release": "boot/suse-release",
    "/etc/sysconfig/kernel": "boot/suse-sysconfig-kernel",
}
FSTAB = b"/dev/xvda1 swap swap defaults 0 0\n/dev/disk/by-id/scsi-1XEN_disk0-part2 / ext3 acl,user_xattr 1 1\n"


def raw(folder: Path, **texts: bytes) -> dict[str, Any]:
    """A worker's result."""
    (folder / "alias").write_bytes((DATA / "guest/modules.alias-el5-with-tools").read_bytes())
    (folder / "initrd").write_bytes((DATA / "guest/initrd-el5-xenblk.img").read_bytes())
    known = {path: (DATA / name).read_bytes() for path, name in TEXTS.items()} | {"/etc/fstab": FSTAB} | texts
    return {
        "texts": {path: base64.b64encode(content).decode() for path, content in known.items()},
        "files": {f"/lib/modules/{ORDINARY}/modules.alias": "alias", f"/boot/initrd-{ORDINARY}": "initrd"},
        "present": [f"/boot/vmlinuz-{ORDINARY}", f"/boot/vmlinuz-{XEN}", "/sbin/mkinitrd", "/sbin/mingetty"],
        "program": base64.b64encode(b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\0").decode(),
        "secrets": 0,
        "partitions": [
            {"device": "/dev/sda1", "bytes": 1 << 20, "fstype": "swap", "mountpoint": "swap"},
            {"device": "/dev/sda2", "bytes": 1 << 20, "fstype": "ext3", "mountpoint": "/"},
        ],
        "names": ["xvda", "hda", "sda", "vda"],
    }


def facts(folder: Path, **texts: bytes) -> GuestFacts:
    return inspection.facts(raw(folder, **texts), folder, "grub-legacy", "dunlin.img")


def planned(found: GuestFacts) -> Preparation:
    return preparation.plan(found, controller="pvscsi", nic_model="vmxnet3", macs={})


def test_its_kernels_and_initrds_are_found(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert (found.distribution, found.release) == ("sles", "11.4")
    assert [(k.version, k.xen_only, k.initrd) for k in found.kernels] == [
        (ORDINARY, False, f"/boot/initrd-{ORDINARY}"),
        (XEN, True, ""),
    ]
    assert found.getty == "/sbin/mingetty"


def test_its_own_mkinitrd_makes_an_initrd_with_the_new_controllers_driver(tmp_path: Path) -> None:
    made = planned(facts(tmp_path))
    assert made.package == "kernel-default"
    (command,) = made.commands
    assert command == ("/sbin/mkinitrd", "-k", f"vmlinuz-{ORDINARY}", "-i", f"initrd-{ORDINARY}")
    after = {e.path: e.after or "" for e in made.edits}
    values = sysconfig.values(after["/etc/sysconfig/kernel"])
    modules = values["INITRD_MODULES"].split()
    assert set(made.modules) < set(modules)
    assert modules[-5:] == ["processor", "thermal", "fan", "jbd", "ext3"]
    assert values["DOMU_INITRD_MODULES"] == ""
    assert "DEFAULTKERNEL" not in values
    assert "/etc/fstab" in after
    menu = after["/boot/grub/menu.lst"]
    assert "root=/dev/sda2 resume=/dev/sda1 splash=silent showopts console=tty0\n" in menu
    assert "root=/dev/sda2 resume=/dev/sda1 splash=silent showopts\n" in menu  # Xen's entry, by-id
    assert made.leftovers == ()


def test_a_second_preparation_changes_nothing(tmp_path: Path) -> None:
    found = facts(tmp_path)
    texts = found.texts | {e.path: e.after or "" for e in planned(found).edits}
    kernels = tuple(k.model_copy(update={"initrd_modules": planned(found).modules}) for k in found.kernels)
    again = planned(found.model_copy(update={"texts": texts, "kernels": kernels}))
    assert (again.edits, again.commands) == ((), ())


def test_without_its_initrd_it_is_refused(tmp_path: Path) -> None:
    result = raw(tmp_path)
    del result["files"][f"/boot/initrd-{ORDINARY}"]
    with pytest.raises(BadInput) as e:
        planned(inspection.facts(result, tmp_path, "grub-legacy", "dunlin.img"))
    assert f"mkinitrd -k vmlinuz-{ORDINARY} -i initrd-{ORDINARY}" in e.value.problems[0].remedy


@pytest.mark.parametrize(
    ("release", "named"),
    [
        (b"SUSE Linux Enterprise Server 10 (i586)\nVERSION = 10\n", ("sles", "10")),
        (b"openSUSE 11.4 (x86_64)\nVERSION = 11.4\nCODENAME = Celadon\n", ("opensuse", "11.4")),
        (b"SUSE LINUX Enterprise Server 9 (i586)\nVERSION = 9\nPATCHLEVEL = 0\n", ("sles", "9")),
        (b"SuSE Linux 9.3 (i586)\nVERSION = 9.3\n", ("suse", "9.3")),
    ],
)
def test_every_release_of_suses_is_named(tmp_path: Path, release: bytes, named: tuple[str, str]) -> None:
    found = facts(tmp_path, **{"/etc/SuSE-release": release})
    assert (found.distribution, found.release) == named


def test_a_menu_that_names_links_means_what_they_lead_to(tmp_path: Path) -> None:
    menu = b"default 0\ntitle Linux\n kernel (hd0,1)/boot/vmlinuz root=/dev/xvda2\n initrd (hd0,1)/boot/initrd\n"
    result = raw(tmp_path, **{"/boot/grub/menu.lst": menu})
    result["present"] += ["/boot/vmlinuz", "/boot/initrd"]
    result["links"] = {"/boot/vmlinuz": f"/boot/vmlinuz-{ORDINARY}", "/boot/initrd": f"/boot/initrd-{ORDINARY}"}
    (kernel,) = inspection.facts(result, tmp_path, "grub-legacy", "dunlin.img").kernels
    assert (kernel.version, kernel.initrd) == (ORDINARY, f"/boot/initrd-{ORDINARY}")
    result["links"] = {"/boot/vmlinuz": "/boot/vmlinuz"}  # a file of no known version
    with pytest.raises(BadInput, match="offers no kernel"):
        inspection.facts(result, tmp_path, "grub-legacy", "dunlin.img")


def test_a_login_that_is_masked_or_on_a_serial_port_is_told(tmp_path: Path) -> None:
    result = raw(tmp_path)
    result["present"].append("/etc/systemd/system/getty@tty1.service")
    result["present"].append("/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service")
    found = inspection.facts(result, tmp_path, "grub-legacy", "dunlin.img")
    assert {"screen-login-masked", "serial-first"} <= {n.code for n in found.warnings}
    assert found.services == ()


def test_lists_of_modules_lose_xens_and_keep_the_rest() -> None:
    before = "INITRD_MODULES='xen-blkfront mptspi'\nMODULES_LOADED_ON_BOOT=xennet # x\nDOMU_INITRD_MODULES=\"xennet ext3\"\n"
    after = sysconfig.initrd_modules(before, ["vmw_pvscsi", "mptspi"])
    assert after == ('INITRD_MODULES="vmw_pvscsi mptspi"\nMODULES_LOADED_ON_BOOT="" # x\nDOMU_INITRD_MODULES="ext3"\n')
    assert sysconfig.initrd_modules(after, ["vmw_pvscsi", "mptspi"]) == after
    assert modprobe.of_xen("xen-blkfront")


def test_its_own_places_are_looked_into(tmp_path: Path) -> None:
    result = raw(
        tmp_path,
        **{
            "/etc/HOSTNAME": b"dunlin.example\n",
            "/etc/default/grub_installdevice": b"/dev/xvda\nactivate\n",
            "/etc/modprobe.conf.local": b"alias eth0 xennet\noptions e1000 debug=1\n",
            "/etc/modprobe.d/own.conf": b"alias eth1 xen-vnif\n# alias eth2 xennet\nblacklist pcspkr\n",
            "/etc/modprobe.d/other.conf": b"blacklist pcspkr\n",
        },
    )
    result["present"] += ["/etc/init.d/rc3.d/S05xe-linux-distribution", "/etc/init.d/rc3.d/S50xend"]
    found = inspection.facts(result, tmp_path, "grub-legacy", "dunlin.img")
    assert (found.hostname, found.services) == ("dunlin.example", ("xe-linux-distribution",))
    assert "/etc/modprobe.d/other.conf" not in found.texts
    after = {e.path: e.after for e in planned(found).edits}
    assert after["/etc/default/grub_installdevice"] == "/dev/sda\nactivate\n"
    assert after["/etc/modprobe.conf.local"] == "# alias eth0 xennet\noptions e1000 debug=1\n"
    assert after["/etc/modprobe.d/own.conf"] == "# alias eth1 xen-vnif\n# alias eth2 xennet\nblacklist pcspkr\n"
    assert {"/etc/HOSTNAME", "/etc/modprobe.d/*", "/etc/modprobe.conf.local", "/etc/default/grub_installdevice"} <= set(
        inspection.TEXTS
    )


def of_version(folder: Path, version: str, **texts: bytes) -> dict[str, Any]:
    """The worker's result where the ordinary kernel has another version."""
    menu = (DATA / "boot/suse-menu.lst").read_bytes().replace(ORDINARY.encode(), version.encode())
    result = raw(folder, **{"/boot/grub/menu.lst": menu, **texts})
    result["present"] = [path.replace(ORDINARY, version) for path in result["present"]]
    result["files"] = {path.replace(ORDINARY, version): name for path, name in result["files"].items()}
    return result


@pytest.mark.parametrize(
    ("version", "package"),
    [
        ("2.6.16.60-0.21-smp", "kernel-smp"),
        ("3.0.101-63-vanilla", "kernel-vanilla"),
        ("3.0.101-63-pae", "kernel-pae"),
        ("5.3.18-150300.59-preempt", "kernel-preempt"),
        ("2.6.5-7.97-bigsmp", "kernel-bigsmp"),
        ("2.6.18-398.el5PAE", "kernel-PAE"),
        ("2.6.9-89.ELsmp", "kernel-smp"),
        ("4.18.0-80.el8.x86_64", "kernel"),
    ],
)
def test_the_package_of_a_kernel_has_its_flavour(version: str, package: str) -> None:
    assert edits.package_of(version) == package


@pytest.mark.parametrize("version", ["2.6.16.60-0.21-xenpae", "3.0.101-63-xen", "2.6.9-89.ELxenU", "2.6.18-8-xen0"])
def test_a_kernel_of_xens_own_is_known_without_its_settings_too(tmp_path: Path, version: str) -> None:
    found = inspection.facts(of_version(tmp_path, version), tmp_path, "grub-legacy", "dunlin.img")
    assert [k.xen_only for k in found.kernels] == [True, True]


@pytest.mark.parametrize(
    ("release", "package"),
    [
        (b"SUSE Linux Enterprise Server 10 (i586)\nVERSION = 10\n", "kernel-bigsmp"),
        (b"SUSE LINUX Enterprise Server 9 (i586)\nVERSION = 9\n", "kernel-bigsmp"),
        (b"SUSE Linux Enterprise Server 11 (i586)\nVERSION = 11\n", "kernel-pae"),
    ],
)
def test_a_guest_of_32_bits_is_told_of_the_kernel_that_its_release_has(tmp_path: Path, release: bytes, package: str) -> None:
    result = of_version(tmp_path, "2.6.16.60-0.21-xenpae", **{"/etc/SuSE-release": release})
    result["program"] = base64.b64encode(b"\x7fELF\x01\x01" + bytes(12) + b"\x03\0").decode()
    with pytest.raises(BadInput) as e:
        planned(inspection.facts(result, tmp_path, "grub-legacy", "dunlin.img"))
    assert f"zypper install {package};" in e.value.problems[0].remedy


@pytest.mark.parametrize("maker", ["/sbin/mkinitrd", "/usr/bin/dracut"])
def test_a_file_of_suses_without_a_list_of_modules_gets_no_setting_of_red_hats(tmp_path: Path, maker: str) -> None:
    result = raw(tmp_path, **{"/etc/sysconfig/kernel": b'MODULES_LOADED_ON_BOOT=""\nSKIP_RUNNING_KERNEL="no"\n'})
    result["present"] = [p for p in result["present"] if p != "/sbin/mkinitrd"] + [maker]
    made = planned(inspection.facts(result, tmp_path, "grub-legacy", "dunlin.img"))
    after = next((e.after or "" for e in made.edits if e.path == "/etc/sysconfig/kernel"), "")
    assert "DEFAULTKERNEL" not in after
    assert ("INITRD_MODULES=" in after) == (maker == "/sbin/mkinitrd")  # dracut is told elsewhere


def test_the_menu_of_enterprise_linux_9_is_surveyed_and_boots_what_can_be_driven(tmp_path: Path) -> None:
    old, new = "5.14.0-362.el9.x86_64", "5.14.0-503.el9.x86_64"
    entry = "title Rocky ({0})\nversion {0}\nlinux /boot/vmlinuz-{0}\ninitrd /boot/initrd-{0}\noptions root=/dev/xvda2 ro\n"
    block = f"# GRUB Environment Block\nsaved_entry=m-{new}\n".ljust(1024, "#")
    texts = {f"/boot/loader/entries/m-{v}.conf": entry.format(v).encode() for v in (old, new)}
    texts |= {"/boot/grub2/grub.cfg": (DATA / "boot/el8-grub.cfg").read_bytes(), "/boot/grub2/grubenv": block.encode()}
    result = raw(tmp_path, **texts)
    del result["texts"]["/boot/grub/menu.lst"], result["texts"]["/etc/SuSE-release"]
    result["present"] = [f"/boot/vmlinuz-{old}", f"/boot/vmlinuz-{new}", "/usr/bin/dracut"]
    result["files"] = {f"/boot/initrd-{v}": "initrd" for v in (old, new)} | {f"/lib/modules/{old}/modules.alias": "alias"}
    found = inspection.facts(result, tmp_path, "grub2", "dunlin.img")
    assert [(k.version, k.index) for k in found.kernels] == [(new, 0), (old, 1)]
    assert found.default_kernel == 0
    made = planned(found)
    assert (made.kernel, made.default) == (old, 1)  # the newer one has no driver
    (env,) = (e.after or "" for e in made.edits if e.path == "/boot/grub2/grubenv")
    assert f"saved_entry=m-{old}\n" in env
    result["texts"] |= {e.path: base64.b64encode(e.content or b"").decode() for e in made.edits}
    assert inspection.facts(result, tmp_path, "grub2", "dunlin.img").default_kernel == made.default
