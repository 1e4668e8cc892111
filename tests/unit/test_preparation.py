"""What is decided for a guest: kernel, edits, modules, and the refusals; and what counts as prepared afterwards."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.check import Check
from hikkoshi.disk import digest
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.errors import BadInput, Refused
from hikkoshi.guest import descent, edits, preparation, prepared, traces
from hikkoshi.guest.facts import GuestFacts, Interface, Kernel, Partition
from hikkoshi.guest.files import clock, extlinux
from hikkoshi.guest.interfaces import pinning
from hikkoshi.guest.preparation import Preparation
from hikkoshi.guest.prepared import Prepared
from hikkoshi.params.folder import GuestFolder
from hikkoshi.steps import prepare

DATA = Path(__file__).parents[1] / "data/guest"
NET = "/etc/sysconfig/network-scripts"
CLAIMS = {
    "15ad:07c0": ("vmw_pvscsi",),
    "1000:0054": ("mptsas",),
    "1000:0030": ("mptspi",),
    "15ad:07b0": ("vmxnet3",),
    "8086:100f": ("e1000",),
}
MACS = {"eth0": "00:16:3e:05:00:00", "eth1": "00:16:3e:05:00:01"}


def kernel(index: int, version: str, **changed: object) -> Kernel:
    values = {
        "index": index,
        "title": f"CentOS ({version})",
        "version": version,
        "image": f"/boot/vmlinuz-{version}",
        "initrd": f"/boot/initrd-{version}.img",
        "xen_only": version.endswith("xen"),
        "initrd_modules": ("ext3", "xenblk"),
        "claims": {} if version.endswith("xen") else CLAIMS,
    }
    return Kernel.model_validate(values | changed)


KERNELS = (kernel(0, "2.6.18-398.el5xen"), kernel(1, "2.6.18-371.el5"), kernel(2, "2.6.18-398.el5"))


def facts(**changed: object) -> GuestFacts:
    files = {
        "/boot/grub/grub.conf": "grub-xen-default.conf",
        "/etc/fstab": "fstab-xvda",
        "/etc/modprobe.conf": "modprobe-xen.conf",
        "/etc/inittab": "inittab-el5-xvc0",
        "/etc/sysconfig/kernel": "sysconfig-kernel",
        f"{NET}/ifcfg-eth0": "ifcfg-eth0-hwaddr",
        f"{NET}/ifcfg-eth1": "ifcfg-eth1-dhcp-no-hwaddr",
    }
    values = {
        "distribution": "centos",
        "release": "5.11",
        "arch": "x86_64",
        "hostname": "gateway",
        "boot_loader": "grub-legacy",
        "boot_config": "/boot/grub/grub.conf",
        "default_kernel": 0,
        "kernels": KERNELS,
        "partitions": (),
        "interfaces": (
            Interface(name="eth0", file=f"{NET}/ifcfg-eth0", mac="00:16:3e:05:00:00"),
            Interface(name="eth1", file=f"{NET}/ifcfg-eth1"),
        ),
        "forwards": True,
        "forwards_because": "",
        "texts": {path: (DATA / name).read_text() for path, name in files.items()},
        "initrd_maker": "/sbin/mkinitrd",
    }
    return GuestFacts.model_validate(values | changed)


def plan(found: GuestFacts, controller: str = "pvscsi", nic_model: str = "vmxnet3") -> Preparation:
    return preparation.plan(found, controller=controller, nic_model=nic_model, macs=MACS)


def prepared_facts(found: GuestFacts, p: Preparation) -> GuestFacts:
    """The same guest after the preparation, as it would be read again."""
    texts = found.texts | {e.path: e.after for e in p.edits if e.after is not None}
    for e in p.edits:
        if e.after is None:
            del texts[e.path]
    done = kernel(p.default, p.kernel, initrd_modules=("ext3", *p.modules))
    kernels = tuple(done if k.index == p.default else k for k in found.kernels)
    nics = tuple(i.model_copy(update={"mac": MACS[i.name]}) for i in found.interfaces)
    new = {"texts": texts, "kernels": kernels, "interfaces": nics, "default_kernel": p.default}
    return found.model_copy(update=new)


class TestKernel:
    def test_the_highest_that_boots_without_xen_is_chosen(self) -> None:
        p = plan(facts())
        assert (p.kernel, p.default, p.package) == ("2.6.18-398.el5", 2, "kernel")
        assert "highest of 2" in str(p.kernel_because)

    @pytest.mark.parametrize(
        ("lower", "higher"),
        [("2.6.18-92.el5", "2.6.18-398.el5"), ("2.6.9-100.EL", "2.6.18-8.el5"), ("2.6.18-8.el5", "2.6.18-8.1.15.el5")],
    )
    def test_versions_are_compared_by_number(self, lower: str, higher: str) -> None:
        assert plan(facts(kernels=(KERNELS[0], kernel(1, higher), kernel(2, lower)))).kernel == higher
        assert plan(facts(kernels=(KERNELS[0], kernel(1, lower), kernel(2, higher)))).kernel == higher

    def test_the_guests_own_default_is_kept_where_it_can_start_on_vmware(self) -> None:
        found = plan(facts(default_kernel=1))
        assert (found.kernel, found.default) == ("2.6.18-371.el5", 1)
        assert "own default" in str(found.kernel_because)

    def test_a_debug_kernel_is_the_last_choice(self) -> None:
        both = (KERNELS[0], kernel(1, "2.6.18-398.el5debug"), kernel(2, "2.6.18-371.el5"))
        assert plan(facts(kernels=both)).kernel == "2.6.18-371.el5"

    def test_of_two_entries_with_one_kernel_the_first_is_booted(self) -> None:
        twins = (kernel(0, "2.6.18-398.el5xen"), kernel(1, "2.6.18-398.el5"), kernel(2, "2.6.18-398.el5"))
        assert plan(facts(kernels=twins)).default == 1

    def test_a_higher_one_without_the_drivers_is_passed_over(self) -> None:
        kernels = (kernel(0, "2.6.18-371.el5"), kernel(1, "2.6.18-398.el5", claims={}))
        assert plan(facts(kernels=kernels)).kernel == "2.6.18-371.el5"

    @pytest.mark.parametrize(
        ("distribution", "release", "arch", "version", "package"),
        [
            ("centos", "5.11", "x86_64", "2.6.18-398.el5xen", "kernel-2.6.18-398.el5.x86_64"),
            ("rhel", "5.8", "i686", "2.6.18-308.el5xen", "kernel-PAE-2.6.18-308.el5.i686"),
            ("rhel", "4.9", "i686", "2.6.9-100.ELxenU", "kernel-smp-2.6.9-100.EL.i686"),
            ("sles", "11", "i686", "2.6.32-xen", "kernel-pae"),
        ],
    )
    def test_only_xen_kernels_is_refused_with_the_package_to_install(
        self, distribution: str, release: str, arch: str, version: str, package: str
    ) -> None:
        found = facts(kernels=(kernel(0, version, xen_only=True),), distribution=distribution, release=release, arch=arch)
        with pytest.raises(BadInput) as e:
            plan(found)
        assert f"install {package};" in e.value.problems[0].remedy

    def test_missing_drivers_are_told_together_with_what_the_kernel_could_drive(self) -> None:
        bare = {"1000:0030": ("mptspi",), "8086:100f": ("e1000",)}
        with pytest.raises(BadInput) as e:
            plan(facts(kernels=(kernel(0, "2.6.18-398.el5", claims=bare),)))
        controller, nic = e.value.problems
        assert "15ad:07c0" in controller.found
        assert "controller: lsilogic" in controller.remedy
        assert "15ad:07b0" in nic.found
        assert "nic: e1000" in nic.remedy

    def test_without_initrd_or_mkinitrd_it_is_refused_and_both_are_told(self) -> None:
        with pytest.raises(BadInput) as e:
            plan(facts(kernels=(kernel(0, "2.6.18-398.el5", initrd=""),), initrd_maker=""))
        assert len(e.value.problems) == 2

    @pytest.mark.parametrize(
        ("version", "package"),
        [
            ("2.6.18-398.el5", "kernel"),
            ("2.6.18-398.el5PAE", "kernel-PAE"),
            ("2.6.9-100.ELsmp", "kernel-smp"),
            ("2.6.32-754.el6.x86_64", "kernel"),
            ("6.1.0-56-amd64", "kernel"),
        ],
    )
    def test_the_package_is_known_by_the_flavour(self, version: str, package: str) -> None:
        assert preparation.package_of(version) == package


class TestModules:
    def test_the_planned_controllers_driver_comes_first_and_the_others_come_too(self) -> None:
        p = plan(facts(), controller="lsisas1068")
        assert p.modules == ("mptsas", "vmw_pvscsi", "mptspi")
        assert p.must_be_in_initrd == ("mptsas",)
        assert p.commands[0] == (
            *("/sbin/mkinitrd", "-f", "-v", "--with=mptsas", "--with=vmw_pvscsi", "--with=mptspi"),
            *("/boot/initrd-2.6.18-398.el5.img", "2.6.18-398.el5"),
        )

    def test_a_driver_that_is_built_in_is_not_asked_for(self) -> None:
        k = kernel(0, "2.6.18-398.el5", claims={"15ad:07b0": ("vmxnet3",)}, builtin=("vmw_pvscsi",))
        p = plan(facts(kernels=(k,)))
        assert p.modules == p.must_be_in_initrd == ()
        assert p.controller_module == "vmw_pvscsi"

    def test_a_module_of_another_name_is_used_by_its_name(self) -> None:
        k = kernel(0, "2.6.18-398.el5", claims=CLAIMS | {"15ad:07c0": ("pvscsi",)})
        assert plan(facts(kernels=(k,))).must_be_in_initrd == ("pvscsi",)

    def test_kudzu_is_switched_off_only_where_it_is_on(self) -> None:
        assert len(plan(facts()).commands) == 1
        assert plan(facts(services=("kudzu",))).commands[1] == ("/sbin/chkconfig", "kudzu", "off")

    @pytest.mark.parametrize(
        ("distribution", "service", "command"),
        [
            ("centos", "xe-linux-distribution", ("/sbin/chkconfig", "xe-linux-distribution", "off")),
            ("debian", "xe-linux-distribution", ("/usr/sbin/update-rc.d", "xe-linux-distribution", "disable")),
            ("debian", "xe-daemon.service", ("/bin/systemctl", "disable", "xe-daemon.service")),
        ],
    )
    def test_services_of_xen_are_switched_off_by_what_switched_them_on(
        self, distribution: str, service: str, command: tuple[str, ...]
    ) -> None:
        assert command in plan(facts(distribution=distribution, services=(service,))).commands


class TestClock:
    """KB 1006427's arguments, for the kernel that is booted."""

    @pytest.mark.parametrize(
        ("release", "arch", "wanted"),
        [
            ("5.11", "i686", ()),
            ("5.4", "i686", ()),
            ("5.3", "i686", ("divider=10", "clocksource=acpi_pm")),
            ("5", "i686", ("clocksource=acpi_pm",)),
            ("4.8", "i686", ("clock=pmtmr", "divider=10")),
            ("4.6", "i686", ("clock=pmtmr",)),
            ("5.3", "x86_64", ()),
        ],
    )
    def test_arguments_go_by_the_release(self, release: str, arch: str, wanted: tuple[str, ...]) -> None:
        assert clock.arguments(facts(release=release, arch=arch)) == wanted

    def test_they_are_given_to_the_kernel_that_is_booted_and_once(self) -> None:
        old = facts(release="5.3", arch="i686")
        done = plan(old)
        (menu,) = (str(e.after) for e in done.edits if e.path == "/boot/grub/grub.conf")
        assert [line for line in menu.split("\n") if "divider=10 clocksource=acpi_pm" in line] == [
            line for line in menu.split("\n") if line.strip().startswith("kernel /vmlinuz-2.6.18-398.el5 ")
        ]
        assert plan(prepared_facts(old, done)).edits == ()

    def test_what_the_administrator_chose_stays(self) -> None:
        old = facts(release="5.0", arch="i686")
        text = old.texts["/boot/grub/grub.conf"].replace(
            "kernel /vmlinuz-2.6.18-398.el5 ", "kernel /vmlinuz-2.6.18-398.el5 clocksource=pit "
        )
        chosen = old.model_copy(update={"texts": old.texts | {"/boot/grub/grub.conf": text}})
        assert all("acpi_pm" not in str(e.after) for e in plan(chosen).edits)

    def test_where_the_source_is_silent_a_person_is_told(self) -> None:
        assert any("64-bit guests of this release" in str(n) for n in plan(facts(release="5.3")).notes)
        assert any("let NTP keep it" in str(n) for n in plan(facts()).notes)


class TestTools:
    @pytest.mark.parametrize(
        ("distribution", "release", "words"),
        [
            ("debian", "12", "apt-get install open-vm-tools"),
            ("centos", "7.9", "yum install open-vm-tools"),
            ("centos", "5.11", "the repositories of centos 5.11 have no open-vm-tools"),
            ("centos", "6.10", "have no open-vm-tools"),
            ("unknown", "unknown", "have no open-vm-tools"),
        ],
    )
    def test_the_plan_says_where_they_come_from(self, distribution: str, release: str, words: str) -> None:
        assert any(words in str(n) for n in plan(facts(distribution=distribution, release=release)).notes)


class TestEdits:
    def test_every_file_that_has_to_change_changes_and_no_other(self) -> None:
        assert [e.path for e in plan(facts()).edits] == [
            "/boot/grub/grub.conf",
            "/etc/sysconfig/kernel",
            "/etc/fstab",
            "/etc/inittab",
            "/etc/modprobe.conf",
            f"{NET}/ifcfg-eth1",
        ]

    def test_each_names_the_bytes_it_was_made_from(self) -> None:
        for edit in plan(facts()).edits:
            assert edit.before_sha256 == hashlib.sha256(facts().texts[edit.path].encode()).hexdigest()

    def test_old_encodings_come_back_byte_for_byte(self) -> None:
        comment = "# 起動時のマウント\n".encode("euc_jp")
        text = (comment + b"/dev/xvda2 / ext3 defaults 1 1\n").decode("latin-1")
        p = plan(facts(texts=facts().texts | {"/etc/fstab": text}, latin1=("/etc/fstab",)))
        (edit,) = (e for e in p.edits if e.path == "/etc/fstab")
        assert edit.content == comment + b"/dev/sda2 / ext3 defaults 1 1\n"

    def test_lists_of_old_devices_are_moved_away(self) -> None:
        p = plan(facts(texts=facts().texts | {"/etc/blkid/blkid.tab": "<device>/dev/xvda1</device>\n"}))
        assert p.edits[-1].path == "/etc/blkid/blkid.tab"
        assert p.edits[-1].after is None
        assert dict(preparation.diffs(p, facts()))["/etc/blkid/blkid.tab"] == ""

    def test_a_prepared_guest_needs_no_edit(self) -> None:
        p = plan(facts())
        assert plan(prepared_facts(facts(), p)).edits == ()

    def test_the_diff_shows_what_goes_and_what_comes(self) -> None:
        diff = dict(preparation.diffs(plan(facts()), facts()))["/etc/fstab"]
        assert "-/dev/xvda1              /boot" in diff
        assert "+/dev/sda1              /boot" in diff

    def test_a_nic_without_a_file_and_a_file_without_a_nic_are_told(self) -> None:
        p = preparation.plan(
            facts(), controller="pvscsi", nic_model="vmxnet3", macs={"eth0": MACS["eth0"], "eth2": "00:16:3e:05:00:02"}
        )
        assert any("no file of the guest configures eth2" in str(n) for n in p.notes)
        assert any("ifcfg-eth1 configures eth1" in str(n) for n in p.notes)
        assert f"{NET}/ifcfg-eth1" not in [e.path for e in p.edits]

    def test_a_line_that_will_still_name_a_xen_device_is_told(self) -> None:
        assert plan(facts()).leftovers == ("/etc/fstab: /dev/xvdb1\t/data\text3\tnoatime,comment=was-/dev/xvdb1\t1 2",)
        local = facts(texts=facts().texts | {"/etc/rc.d/rc.local": "# /dev/xvda\nhdparm /dev/xvda\n"})
        assert "/etc/rc.d/rc.local: hdparm /dev/xvda" in plan(local).leftovers

    def test_the_same_facts_give_the_same_hash_and_other_ones_another(self) -> None:
        assert plan(facts()).hash == plan(facts()).hash
        assert plan(facts()).hash == Preparation.model_validate_json(plan(facts()).model_dump_json()).hash
        assert plan(facts()).hash != plan(facts(), nic_model="e1000").hash


def test_the_table_shows_drivers_and_kernel_before_and_after() -> None:
    rows = {r["what"]: r for r in prepare.rows(plan(facts()))}
    assert rows["kernel"]["planned"] == "2.6.18-398.el5"
    assert rows["controller pvscsi"]["why"] == "not in the initrd today"


class TestInitrd:
    def test_it_is_made_again_where_a_driver_is_missing_or_what_it_is_made_of_changes(self) -> None:
        assert plan(facts()).rebuilds
        done = prepared_facts(facts(), plan(facts()))
        assert not plan(done).rebuilds
        assert plan(done).commands == ()
        texts = done.texts | {"/etc/fstab": "/dev/xvda2 / ext3 defaults 1 1\n"}
        assert plan(done.model_copy(update={"texts": texts})).rebuilds

    def test_a_second_preparation_does_nothing_at_all(self) -> None:
        again = plan(prepared_facts(facts(), plan(facts())))
        assert (again.edits, again.commands, again.boot_loader) == ((), (), "")


def test_rpms_environment_is_removed_for_rpm_to_make_it_again() -> None:
    found = plan(facts(rpm_environment=("/var/lib/rpm/__db.001", "/var/lib/rpm/__db.002")))
    assert ("/bin/rm", "-f", "/var/lib/rpm/__db.001", "/var/lib/rpm/__db.002") in found.commands


@pytest.mark.parametrize(
    ("packer", "systemd", "asked"),
    [
        ("zstd", True, ("--compress", "zstd -q -1 -T0")),
        ("gzip", True, ("--compress", "gzip -n -1")),
        ("xz", True, ("--compress", "xz --check=crc32 -0")),
        ("", True, ()),
        ("zstd", False, ()),
    ],
)
def test_dracut_packs_in_the_form_that_was_there_and_quickly(packer: str, systemd: bool, asked: tuple[str, ...]) -> None:
    kernels = (*KERNELS[:2], kernel(2, "2.6.18-398.el5", initrd_packer=packer))
    (made,) = plan(facts(kernels=kernels, initrd_maker="/usr/bin/dracut", systemd=systemd)).commands[:1]
    end = ("/boot/initrd-2.6.18-398.el5.img", "2.6.18-398.el5")
    assert made == ("/usr/bin/dracut", "-f", "--add-drivers", "vmw_pvscsi mptsas mptspi", *asked, *end)


class TestSelinux:
    def test_labels_are_asked_for_where_something_was_written_from_outside(self) -> None:
        found = plan(facts(selinux=True))
        assert [e.after for e in found.edits if e.path == "/.autorelabel"] == [""]

    def test_and_only_there(self) -> None:
        assert "/.autorelabel" not in [e.path for e in plan(facts()).edits]
        done = prepared_facts(facts(), plan(facts())).model_copy(update={"selinux": True})
        assert plan(done).edits == ()


class TestDebian:
    """A guest with systemd and initramfs-tools."""

    def guest(self, initrd: tuple[str, ...], **texts: str) -> GuestFacts:
        only = kernel(0, "6.1.0-56-amd64", initrd="/boot/initrd.img-6.1.0-56-amd64", initrd_modules=initrd)
        return facts(
            distribution="debian",
            release="12",
            boot_loader="grub2",
            boot_config="/boot/grub/grub.cfg",
            kernels=(only.model_copy(update={"scsi_disk": "sd_mod"}),),
            interfaces=tuple(Interface(name=n, file="/etc/network/interfaces") for n in MACS),
            texts={
                "/boot/grub/grub.cfg": (DATA / "grub-debian12.cfg").read_text(),
                "/etc/fstab": "/dev/xvda1 / ext4 defaults 0 1\n",
                "/etc/initramfs-tools/modules": "# list\n",
                **texts,
            },
            systemd=True,
            initrd_maker="/usr/sbin/update-initramfs",
        )

    every = ("vmw_pvscsi", "sd_mod", "mptsas", "mptspi")

    def test_nics_are_tied_to_their_macs_and_stepped_aside_where_the_kernel_uses_their_names(self) -> None:
        found = plan(self.guest(self.every))
        paths = [e.path for e in found.edits]
        assert pinning.link_path("eth0") in paths
        assert pinning.UNIT in paths
        assert ("/bin/systemctl", "enable", "name-nics-by-mac.service") in found.commands

    def test_names_that_the_kernel_does_not_use_need_no_stepping_aside(self) -> None:
        macs = {"enX0": "00:16:3e:05:00:00"}
        found = preparation.plan(self.guest(self.every), controller="pvscsi", nic_model="vmxnet3", macs=macs)
        assert pinning.link_path("enX0") in [e.path for e in found.edits]
        assert pinning.UNIT not in [e.path for e in found.edits]

    def test_an_initrd_that_holds_every_driver_stays(self) -> None:
        assert not plan(self.guest(self.every)).rebuilds

    def test_a_small_one_is_made_again_with_the_drivers_entered_for_good(self) -> None:
        found = plan(self.guest(("ext4", "xen_blkfront")))
        quick = ("/usr/bin/env", "COMPRESSLEVEL=1")  # what the guest's own file says wins
        assert found.commands[0] == (*quick, "/usr/sbin/update-initramfs", "-u", "-k", "6.1.0-56-amd64")
        (modules,) = (e for e in found.edits if e.path == "/etc/initramfs-tools/modules")
        assert modules.after == "# list\nvmw_pvscsi\nsd_mod\nmptsas\nmptspi\n"
        assert found.must_be_in_initrd == ("vmw_pvscsi", "sd_mod")

    def test_it_is_made_again_where_it_waits_for_a_swap_by_its_old_name(self) -> None:
        conf = {"/etc/initramfs-tools/conf.d/resume": "RESUME=/dev/xvda2\n"}
        assert plan(self.guest(self.every, **conf)).rebuilds

    def test_of_several_disks_no_file_names_one_by_a_letter_that_may_be_anothers_or_it_is_told(self) -> None:
        """Swap that is encrypted anew at each start would take the place of whatever has the letter then."""
        written = {
            "/etc/crypttab": "swap1 /dev/xvdb1 /dev/urandom swap\nswap2 /dev/xvdc /dev/urandom swap\n",
            "/etc/mdadm/mdadm.conf": "DEVICE /dev/xvdb1\n",
            "/etc/lvm/lvm.conf": 'devices {\n filter = [ "a|^/dev/xvda2$|", "r|.*|" ]\n}\n',
        }
        partitions = (
            Partition(device="/dev/sda1", bytes=1, fstype="ext4", mountpoint="/"),
            Partition(device="/dev/sdb1", bytes=1, fstype="", partuuid="ab-01"),
        )
        several = {"partitions": partitions, "further_disks": (("xvdb",), ("xvdc",)), "disk_names": ("xvda",)}
        found = plan(self.guest(self.every, **written).model_copy(update=several))
        (table,) = [e.after for e in found.edits if e.path == "/etc/crypttab"]
        left = "swap2 /dev/sdc /dev/urandom swap"
        assert table == f"swap1 /dev/disk/by-partuuid/ab-01 /dev/urandom swap\n{left}\n"
        told = [n.facts["line"] for n in found.notes if n.code == "disk-by-letter"]
        assert sorted(told) == sorted(['filter = [ "a|^/dev/sda2$|", "r|.*|" ]', left, "DEVICE /dev/sdb1"])
        alone = plan(self.guest(self.every, **written).model_copy(update={"partitions": partitions[:1]}))
        assert "disk-by-letter" not in [n.code for n in alone.notes]

    def test_xens_console_is_given_up(self) -> None:
        found = plan(self.guest(self.every).model_copy(update={"services": ("serial-getty@hvc0.service",)}))
        assert ("/bin/systemctl", "disable", "serial-getty@hvc0.service") in found.commands

    def test_before_systemd_udevs_rules_are_made_where_there_are_none(self) -> None:
        old = self.guest(self.every).model_copy(update={"systemd": False})
        (made,) = (e for e in plan(old).edits if e.path == pinning.RULES)
        assert made.before_sha256 is None
        assert pinning.read({pinning.RULES: str(made.after)}) == MACS
        assert pinning.UNIT not in [e.path for e in plan(old).edits]

    def test_where_ifcfg_files_tie_the_names_no_rules_are_made(self) -> None:
        assert pinning.RULES not in [e.path for e in plan(facts()).edits]

    def test_a_second_preparation_does_nothing(self) -> None:
        before = self.guest(self.every)
        done = plan(before)
        texts = before.texts | {e.path: str(e.after) for e in done.edits}
        again = plan(before.model_copy(update={"texts": texts, "pinned": pinning.read(texts)}))
        assert (again.edits, again.commands) == ((), ())

    def test_the_advice_names_debians_own_tools(self) -> None:
        xen = kernel(0, "2.6.26-2-xen-amd64", xen_only=True)
        with pytest.raises(BadInput, match="apt-get install linux-image-amd64"):
            plan(self.guest(()).model_copy(update={"kernels": (xen,)}))


class TestUefi:
    def efi(self, *loaders: str) -> GuestFacts:
        return facts(boot_loader="uefi", efi_loaders=loaders)

    def test_the_boot_loader_is_put_where_a_new_machine_looks_for_one(self) -> None:
        found = plan(self.efi("/boot/efi/EFI/BOOT/fbx64.efi", "/boot/efi/EFI/a/grubx64.efi", "/boot/efi/EFI/centos/grubx64.efi"))
        assert found.commands[-2:] == (
            ("/bin/mkdir", "-p", "/boot/efi/EFI/BOOT"),
            ("/bin/cp", "/boot/efi/EFI/centos/grubx64.efi", "/boot/efi/EFI/BOOT/BOOTX64.EFI"),
        )
        assert found.boot_loader == ""

    def test_one_that_is_there_stays(self) -> None:
        same = plan(facts()).commands
        assert plan(self.efi("/boot/efi/EFI/Boot/bootx64.efi", "/boot/efi/EFI/centos/grubx64.efi")).commands == same

    @pytest.mark.parametrize("loaders", [(), ("/boot/efi/EFI/debian/fwupdx64.efi",)])
    def test_a_disk_without_one_is_refused(self, loaders: tuple[str, ...]) -> None:
        with pytest.raises(BadInput, match="grub-install --removable") as e:
            plan(self.efi(*loaders))
        assert e.value.problems[0].code == "no-efi-loader"


class TestBootLoader:
    def test_a_disk_that_has_none_gets_one_with_a_menu_of_its_own(self) -> None:
        kernels = (KERNELS[0], kernel(1, "2.6.18-398.el5", arguments=("ro", "root=/dev/xvda1", "console=hvc0")))
        found = plan(facts(boot_loader="none", kernels=kernels))
        assert (found.boot_loader, found.default) == ("extlinux", 0)
        (made,) = (e for e in found.edits if e.path == extlinux.CONF)
        assert made.before_sha256 is None
        assert "  append ro root=/dev/sda1 console=tty0\n" in str(made.after)
        assert "  linux /boot/vmlinuz-2.6.18-398.el5\n" in str(made.after)

    def test_paths_are_those_of_the_file_system_that_holds_boot(self) -> None:
        own = (Partition(device="/dev/sda1", bytes=1, fstype="ext3", mountpoint="/boot"),)
        found = plan(facts(boot_loader="none", partitions=own))
        (made,) = (e for e in found.edits if e.path == extlinux.CONF)
        assert "  linux /vmlinuz-2.6.18-398.el5\n" in str(made.after)

    def test_it_is_shown_in_the_plan(self) -> None:
        rows = {r["what"]: r["planned"] for r in prepare.rows(plan(facts(boot_loader="none")))}
        assert rows["boot loader"] == "extlinux"

    def test_a_disk_that_has_one_keeps_it(self) -> None:
        assert plan(facts()).boot_loader == ""


class TestProofs:
    """Each promise, broken alone, is the one check that turns red."""

    def result(self, **changed: object) -> Prepared:
        p = plan(facts())
        kept = {e.path: e.before_sha256 for e in p.edits} | {p.initrd: "0" * 64}
        identity = Identity(bytes=1, mtime_ns=1, sample_sha256="")
        values = {
            "preparation": p.hash,
            "source": identity,
            "disk": identity,
            "facts": prepared_facts(facts(), p),
            "kept": kept,
            "initrd_modules_before": (),
            "initrd_modules_after": (),
            "accelerator": "tcg",
            "seconds": 1.0,
        }
        return Prepared.model_validate(values | changed)

    def red(self, result: Prepared) -> list[str]:
        return [c.title for c in prepared._proofs(result, plan(facts())) if not c]

    def changed(self, **changes: object) -> Prepared:
        return self.result(facts=prepared_facts(facts(), plan(facts())).model_copy(update=changes))

    def test_all_are_green_when_all_is_done(self) -> None:
        assert self.red(self.result()) == []

    def test_the_boot_menu(self) -> None:
        assert self.red(self.changed(default_kernel=0)) == ["the boot menu starts the ordinary kernel"]

    def test_the_initrd(self) -> None:
        kernels = (*KERNELS[:2], kernel(2, "2.6.18-398.el5", initrd_modules=("ext3", "mptspi")))
        assert self.red(self.changed(kernels=kernels)) == ["the initrd holds the disk's driver"]

    def test_the_modules_claims(self) -> None:
        k = kernel(2, "2.6.18-398.el5", initrd_modules=("vmw_pvscsi",), claims={"15ad:07b0": ("vmxnet3",)})
        assert self.red(self.changed(kernels=(*KERNELS[:2], k))) == ["the kernel's modules claim the planned hardware"]

    def test_a_file_that_is_not_as_planned(self) -> None:
        texts = prepared_facts(facts(), plan(facts())).texts
        changed = self.changed(texts=texts | {"/etc/inittab": texts["/etc/inittab"] + "# one more\n"})
        assert self.red(changed) == ["every file is as planned"]

    def test_a_xen_disk_that_is_left(self) -> None:
        texts = prepared_facts(facts(), plan(facts())).texts
        changed = self.changed(texts=texts | {"/etc/fstab": texts["/etc/fstab"] + "/dev/xvdb1 /x ext3\n"})
        assert self.red(changed) == ["every file is as planned", "nothing of Xen is left but what the plan told"]

    def test_a_nic_on_another_mac(self) -> None:
        nics = (facts().interfaces[0], facts().interfaces[1].model_copy(update={"mac": "00:16:3e:ff:ff:ff"}))
        assert self.red(self.changed(interfaces=nics)) == ["every NIC is tied to its MAC"]

    def test_a_nic_that_the_guest_uses_and_nothing_ties_to_its_mac(self) -> None:
        loose = (*facts().interfaces[:1], Interface(name="eth1", file="/etc/network/interfaces"))
        assert self.red(self.changed(interfaces=loose)) == ["every NIC is tied to its MAC"]

    def test_an_original_that_was_not_kept(self) -> None:
        kept = {e.path: e.before_sha256 for e in plan(facts()).edits}
        assert self.red(self.result(kept=kept)) == ["the originals are kept in /.pre-migration"]
        kept[plan(facts()).initrd] = "0" * 64
        assert self.red(self.result(kept=kept | {"/etc/fstab": "1" * 64})) == ["the originals are kept in /.pre-migration"]


DIGEST = "d" * 64  # of the source, by the survey


@dataclass(frozen=True)
class Planned:
    """What a plan says of the copy."""

    preparation: Preparation = field(default_factory=lambda: plan(facts()))
    source_digest: str = DIGEST


class TestComplete:
    """Complete means this preparation of this source in this file, not that a file exists."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> GuestFolder:
        return GuestFolder(tmp_path / "gateway")

    @pytest.fixture
    def done(self, tmp_path: Path, folder: GuestFolder) -> tuple[Path, Path]:
        source, copy = tmp_path / "source.img", folder.prepared_copy
        copy.parent.mkdir(parents=True)
        for path, byte in ((source, b"s"), (copy, b"c")):
            path.write_bytes(byte * (3 << 20))
        known = {"source": Identity.of(Origin.whole(source)), "disk": Identity.of(Origin.whole(copy))}
        result = TestProofs().result(**known, source_digest=DIGEST)
        result.save(folder)
        return source, copy

    def check(self, folder: GuestFolder, done: tuple[Path, Path]) -> Check:
        return prepared.complete(folder, Planned(), Origin.whole(done[0]))

    def test_a_finished_copy_is_recognised(self, folder: GuestFolder, done: tuple[Path, Path]) -> None:
        assert self.check(folder, done)
        assert all(prepared.verify(folder, plan(facts())))

    def test_no_copy(self, folder: GuestFolder, done: tuple[Path, Path]) -> None:
        done[1].unlink()
        assert self.check(folder, done).found == "there is no copy"
        assert not all(prepared.verify(folder, plan(facts())))

    def test_a_copy_without_a_result(self, folder: GuestFolder, done: tuple[Path, Path]) -> None:
        folder.prepared.unlink()
        assert self.check(folder, done).found == "a copy without prepared.json"

    def test_a_result_that_cannot_be_read(self, folder: GuestFolder, done: tuple[Path, Path]) -> None:
        folder.prepared.write_text("{")
        assert self.check(folder, done).found == "prepared.json cannot be read"

    def test_another_plan(self, folder: GuestFolder, done: tuple[Path, Path]) -> None:
        other = plan(facts(), nic_model="e1000")
        assert prepared.complete(folder, Planned(other), Origin.whole(done[0])).found == "the copy was made by another plan"

    @pytest.mark.parametrize("which", [0, 1])
    def test_a_change_that_kept_the_size_is_seen(self, folder: GuestFolder, done: tuple[Path, Path], which: int) -> None:
        with done[which].open("r+b") as f:
            f.seek(2_000_000)
            f.write(b"!")
        assert not self.check(folder, done)

    def test_other_bytes_with_the_same_size_and_time_are_seen(self, folder: GuestFolder, done: tuple[Path, Path]) -> None:
        status = done[1].stat()
        done[1].write_bytes(b"c" * (1 << 20) + b"x" * (status.st_size - (1 << 20)))
        os.utime(done[1], ns=(status.st_atime_ns, status.st_mtime_ns))
        assert "changed" in self.check(folder, done).found
        assert "changed" in prepared.verify(folder, plan(facts()))[0].found

    def test_a_copy_of_another_source_than_the_plan_is_of_is_not_the_planned_one(
        self, folder: GuestFolder, done: tuple[Path, Path]
    ) -> None:
        other = prepared.complete(folder, Planned(source_digest="0" * 64), Origin.whole(done[0]))
        assert other.found == "the copy is of another source than survey and plan are"
        assert "run 30-prepare and all that follows" in other.remedy
        old = Prepared.load(folder).model_copy(update={"source_digest": ""})
        old.save(folder)
        assert "does not say of which source" in self.check(folder, done).found

    def test_after_a_write_to_the_source_it_begins_again_with_survey_and_plan(
        self, folder: GuestFolder, done: tuple[Path, Path]
    ) -> None:
        done[0].write_bytes(b"t" * (3 << 20))
        assert self.check(folder, done).found == traces.WRITTEN
        assert "hikkoshi run gateway --from 10 --apply" in self.check(folder, done).remedy

    def test_a_source_that_cannot_be_read_is_no_completion(self, folder: GuestFolder, done: tuple[Path, Path]) -> None:
        done[0].unlink()
        assert not self.check(folder, done)


@given(size=st.integers(0, 5000), at=st.integers(0, 4999))
def test_every_byte_of_a_small_file_counts_for_its_identity(size: int, at: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("identity") / "disk"
    path.write_bytes(bytes(size))
    before = Identity.of(Origin.whole(path))
    if at < size:
        path.write_bytes(bytes(at) + b"!" + bytes(size - at - 1))
        assert Identity.of(Origin.whole(path)).sample_sha256 != before.sample_sha256


def test_the_preflight_tells_a_missing_source(tmp_path: Path) -> None:
    red = [c for c in prepared.checks(Origin.whole(tmp_path / "none.img"), GuestFolder(tmp_path / "g")) if not c]
    assert "the source disk can be read" in [c.title for c in red]


def test_too_little_room_is_refused_before_anything_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, folder = tmp_path / "source.img", GuestFolder(tmp_path / "g")
    source.write_bytes(b"x" * 4096)
    monkeypatch.setattr(prepared, "SPARE", 1 << 60)
    with pytest.raises(Refused, match="room for the copy"):
        prepared.start(Origin.whole(source), folder, plan(facts()), DIGEST)
    assert list(folder.disks.iterdir()) == []
    assert "there is room for the copy" in [c.title for c in prepared.checks(Origin.whole(source), folder) if not c]


def test_a_missing_source_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="source disk cannot be read"):
        prepared.start(Origin.whole(tmp_path / "none.img"), GuestFolder(tmp_path / "g"), plan(facts()), DIGEST)
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_nobody_surveyed_are_not_prepared(tmp_path: Path) -> None:
    source, folder = tmp_path / "source.img", GuestFolder(tmp_path / "gateway")
    source.write_bytes(b"as surveyed ".ljust(65536, b".") + bytes(65536))
    surveyed, status = digest.content(source), source.stat()
    source.write_bytes(b"written since".ljust(65536, b".") + bytes(65536))
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))  # the same size and time of last change
    with pytest.raises(Refused, match="not the one that was surveyed") as e:
        prepared.start(Origin.whole(source), folder, plan(facts()), surveyed)
    assert digest.content(source) in e.value.problems[0].found
    assert "hikkoshi run gateway --from 10 --apply" in e.value.problems[0].remedy
    assert [p for p in folder.rglob("*") if p.is_file()] == [], "nothing is kept"


def test_a_vmdk_is_held_against_the_source_that_was_surveyed_step_by_step(tmp_path: Path) -> None:
    copy = Identity(bytes=1, mtime_ns=1, sample_sha256="e" * 64)

    def found() -> str:
        return descent.chain(GuestFolder(tmp_path), Planned()).found

    assert found() == "there is no prepared copy"
    assert descent.chain(GuestFolder(tmp_path), None).found == "there is no plan"
    made = TestProofs().result(source=copy, source_digest=DIGEST, disk=copy)
    made.save(tmp_path)
    assert found() == "there is no VMDK"
    vmdk = Conversion(
        vmdk="g.vmdk",
        vmdk_bytes=1,
        vmdk_sha256="a" * 64,
        vmdk_sha1="b" * 40,
        virtual_bytes=1,
        copy_bytes=1,
        copy_digest="c" * 64,
        copy_identity=copy,
        level="fast",
        threads=1,
        qemu_img="7.2",
        seconds=1,
        samples=(),
    )
    vmdk.save(tmp_path)
    assert descent.chain(GuestFolder(tmp_path), Planned())
    assert found() == f"content digest {DIGEST}"
    vmdk.model_copy(update={"copy_identity": None}).save(tmp_path)
    assert found() == "the VMDK is of another copy", "of an earlier version: 40-convert reads the copy and writes it down"
    for other in ({"sample_sha256": "f" * 64}, {"mtime_ns": 2}):  # two disks can have the same samples
        vmdk.model_copy(update={"copy_identity": copy.model_copy(update=other)}).save(tmp_path)
        assert found() == "the VMDK is of another copy"
    made.model_copy(update={"source_digest": "0" * 64}).save(tmp_path)
    assert found() == "the copy is of another source"


@pytest.mark.parametrize(
    ("distribution", "release", "maker", "takes"),
    [
        ("centos", "5.11", "/sbin/mkinitrd", True),
        ("centos", "4.9", "/sbin/mkinitrd", False),
        ("sles", "11.4", "/sbin/mkinitrd", True),
        ("sles", "9", "/sbin/mkinitrd", False),
        ("debian", "12", "/usr/sbin/update-initramfs", True),
        ("fedora", "rawhide", "/usr/bin/dracut", True),
    ],
)
def test_a_kernel_is_given_its_root_by_uuid_where_its_initrd_takes_that(
    distribution: str, release: str, maker: str, takes: bool
) -> None:
    assert edits.disk(facts(distribution=distribution, release=release, initrd_maker=maker)).finds_uuids is takes
