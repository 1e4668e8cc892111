"""What a guest calls its disk and what is on it: which partition it means, and what that is called afterwards."""

import runpy
from pathlib import Path

import pytest

from hikkoshi.guest import device, leftovers
from hikkoshi.guest.device import Disk
from hikkoshi.guest.files import arguments, fstab, grub, grub2, lvm

DATA = Path(__file__).parents[1] / "data/boot"
UUID = "1d2f30a4-77aa-4c9b-8f02-6b0e3c9d0e77"


def part(name: str, **known: str) -> dict[str, str]:
    return {"device": f"/dev/{name}", "fstype": "ext4", "label": "", "uuid": "", "partlabel": "", "partuuid": "", **known}


PARTITIONS = [
    part("sda1", label="/boot", uuid=UUID, partuuid="0002f4c3-01"),
    part("sda2", label="my disk", partlabel="root filesystem", mountpoint="/"),
    part("sda3", fstype="LVM2_member"),
    part("vg_a-b/root", uuid="ABCD-1234"),
    part("sda4", partlabel=r"as\x20blkid\x20says"),
]


def disk(vdev: str = "xvda") -> Disk:
    return Disk(PARTITIONS, device.inside(vdev))


@pytest.mark.parametrize(
    ("vdev", "names"),
    [
        ("xvda", {"xvda", "hda", "sda", "vda"}),
        ("hda1", {"xvda", "hda", "sda", "vda"}),
        ("sda", {"xvda", "hda", "sda", "vda", "xvde"}),
        ("sdb2", {"xvdb", "hdb", "sdb", "vdb", "xvdf"}),
        ("sdy", {"xvdy", "hdy", "sdy", "vdy", "xvdac"}),
        ("xvdaa", {"xvdaa", "hdaa", "sdaa", "vdaa"}),
        ("d1p3", {"xvdb", "hdb", "sdb", "vdb"}),
        ("51712", {"xvda", "hda", "sda", "vda"}),
        ("0x801", {"xvda", "hda", "sda", "vda", "xvde"}),
        ("ioemu:hda", set()),
    ],
)
def test_what_linux_may_call_the_disk_that_xen_calls(vdev: str, names: set[str]) -> None:
    assert set(device.inside(vdev)) == names


@pytest.mark.parametrize(
    ("written", "partition"),
    [
        ("/dev/xvda2", "/dev/sda2"),
        ("/dev/hda1", "/dev/sda1"),
        ("/dev/sda3", "/dev/sda3"),
        ("/dev/xvda9", None),
        ("/dev/xvdb1", None),
        ("/dev/xvde1", None),
        ("/dev/hdc", None),
        ("LABEL=/boot", "/dev/sda1"),
        ('LABEL="/boot"', "/dev/sda1"),
        ("'LABEL=/boot'", "/dev/sda1"),
        (r"LABEL=my\040disk", "/dev/sda2"),
        (r"LABEL=my\x20disk", "/dev/sda2"),
        (r"/dev/disk/by-label/my\x20disk", "/dev/sda2"),
        (r"/dev/disk/by-label/\x2fboot", "/dev/sda1"),
        (f"UUID={UUID.upper()}", "/dev/sda1"),
        (f'UUID="{UUID}"', "/dev/sda1"),
        (f"/dev/disk/by-uuid/{UUID}", "/dev/sda1"),
        ("UUID=abcd-1234", "/dev/vg_a-b/root"),
        ("PARTUUID=0002F4C3-01", "/dev/sda1"),
        ("/dev/disk/by-partuuid/0002f4c3-01", "/dev/sda1"),
        (r"PARTLABEL=root\x20filesystem", "/dev/sda2"),
        (r"/dev/disk/by-partlabel/root\x20filesystem", "/dev/sda2"),
        (r"PARTLABEL=as\x20blkid\x20says", "/dev/sda4"),
        ("/dev/mapper/vg_a--b-root", "/dev/vg_a-b/root"),
        ("/dev/vg_a-b/root", "/dev/vg_a-b/root"),
        ("/dev/disk/by-id/dm-name-vg_a--b-root", "/dev/vg_a-b/root"),
        ("/dev/disk/by-path/xen-vbd-51712-part2", "/dev/sda2"),
        ("/dev/disk/by-path/xen-vbd-51714", "/dev/sda2"),  # Xen gave the partition alone
        ("/dev/disk/by-path/xen-vbd-768-part1", "/dev/sda1"),
        ("/dev/disk/by-path/xen-vbd-51728-part1", None),  # of xvdb
        ("/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001-part2", "/dev/sda2"),
        ("/dev/disk/by-id/ata-QEMU_HARDDISK_QM00002-part2", None),
        ("/dev/disk/by-path/pci-0000:00:01.1-ata-1.0-part2", "/dev/sda2"),
        ("/dev/disk/by-path/pci-0000:00:01.1-ata-2-part2", None),
        ("/dev/disk/by-id/scsi-1XEN_disk0-part2", "/dev/sda2"),
        ("/dev/block/202:2", "/dev/sda2"),
        ("/dev/block/3:1", "/dev/sda1"),
        ("/dev/block/202:18", None),  # of xvdb
        ("/dev//xvda2", "/dev/sda2"),
        ("/dev/evms/xvda2", "/dev/sda2"),
        ("/dev/evms/lvm2/vg/root", None),
        ("ID=xen-vbd-51714", "/dev/sda2"),
        ("ID=ata-QEMU_HARDDISK_QM00001-part2", "/dev/sda2"),
        ("/dev/discs/disc0/part2", None),
        ("tmpfs", None),
        ("LABEL=", None),
        ("UUID=", None),
    ],
)
def test_every_way_to_name_a_partition_means_it(written: str, partition: str | None) -> None:
    assert disk().partition(written) == partition


@pytest.mark.parametrize(
    ("vdev", "written", "afterwards"),
    [
        ("xvda", "/dev/xvda2", "/dev/sda2"),
        ("xvda", "/dev/xvda12", "/dev/sda12"),
        ("hda", "/dev/hda2", "/dev/sda2"),
        ("sda", "/dev/xvde3", "/dev/sda3"),
        ("sda", "/dev/sda3", "/dev/sda3"),
        ("xvda", "/dev/xvde3", "/dev/xvde3"),  # another disk
        ("xvdb", "/dev/xvdb1", "/dev/sda1"),
        ("xvda", "/dev/xvda*", "/dev/sda*"),
        ("xvda", "/dev/disk/by-path/xen-vbd-51712-part3,discard", "/dev/sda3,discard"),
        ("xvda", f"UUID={UUID}", f"UUID={UUID}"),
        ("xvda", "/dev/mapper/vg_a--b-root", "/dev/mapper/vg_a--b-root"),
        ("xvda", "/dev/disk/by-id/lvm-pv-uuid-x-part1", "/dev/disk/by-id/lvm-pv-uuid-x-part1"),
        ("xvda", "/dev/xvdata /dev/xvda1x", "/dev/xvdata /dev/xvda1x"),
        ("xvda", "cryptdevice=/dev/xvda3:root", "cryptdevice=/dev/sda3:root"),
    ],
)
def test_what_it_is_called_afterwards(vdev: str, written: str, afterwards: str) -> None:
    assert disk(vdev).renamed(written) == afterwards
    assert disk(vdev).renamed(afterwards) == afterwards


def test_a_root_on_the_whole_disk_is_the_partition_that_it_becomes() -> None:
    bare = Disk([part("sda1", mountpoint="/"), part("sda2", fstype="swap")], device.inside("xvda1"))
    bare.learn("/dev/xvda", "/dev/sda1")
    assert fstab.prepared("/dev/xvda / ext4 defaults 0 1\n/dev/xvdb none swap sw 0 0\n", bare) == (
        "/dev/sda1 / ext4 defaults 0 1\n/dev/xvdb none swap sw 0 0\n"
    )
    assert bare.partition("/dev/xvda") == "/dev/sda1"
    assert arguments.prepared("root=/dev/xvda ro", bare) == "root=/dev/sda1 ro"
    assert leftovers.disks("RESUME=/dev/hda\n", bare) == "RESUME=/dev/sda1\n"  # by another of its names
    assert leftovers.disks("(hd0) /dev/xvda\n", bare, whole=True) == "(hd0) /dev/sda\n"


def test_where_fstab_has_a_label_the_menus_root_is_the_partition_all_the_same() -> None:
    assert arguments.prepared("root=/dev/xvda ro resume=/dev/xvda9", disk()) == "root=/dev/sda2 ro resume=/dev/sda9"


def test_the_root_tells_what_the_disk_is_called_where_nobody_else_does() -> None:
    told = Disk(PARTITIONS)
    told.learn("/dev/xvde2", "/dev/sda2")
    assert told.renamed("/dev/xvde1 /dev/xvdf1") == "/dev/sda1 /dev/xvdf1"
    serial = disk()
    serial.learn("/dev/disk/by-id/scsi-36001405-part2", "/dev/sda2")
    assert serial.renamed("resume=/dev/disk/by-id/scsi-36001405-part1") == "resume=/dev/sda1"
    copied = disk()
    copied.learn("/dev/xvdb2", "/dev/sda2")  # the configuration says xvda
    assert copied.renamed("/dev/xvdb1") == "/dev/xvdb1"


def test_enterprise_linux_6_counts_from_e() -> None:
    parts = [part("sda1", mountpoint="/"), part("sda3", fstype="swap")]
    known = Disk(parts, device.inside("sda1"))
    table = fstab.prepared((DATA / "fstab-xvde").read_text(), known)
    assert [line.split()[0] for line in table.splitlines()] == ["/dev/sda1", "/dev/sda3", "tmpfs"]
    menu = grub.prepared((DATA / "grub-xvde.conf").read_text(), 0, known)
    assert "ro root=/dev/sda1 rd_NO_PLYMOUTH console=tty0 crashkernel=auto\n" in menu
    assert leftovers.disks((DATA / "device.map-xvde").read_text(), known, whole=True) == "(hd0)     /dev/sda\n"
    other = Disk(parts, device.inside("xvda"))  # the letters do not fit: nothing is guessed, all of it is told
    assert len(device.names_xen(fstab.prepared((DATA / "fstab-xvde").read_text(), other))) == 2


def test_ide_names_become_the_new_ones_and_a_cd_drive_stays() -> None:
    known = Disk([part("sda1", fstype="swap"), part("sda2", mountpoint="/")], device.inside("hda"))
    before = (DATA / "fstab-ide").read_text()
    table = fstab.prepared(before, known)
    assert table == before.replace("/dev/hda", "/dev/sda")
    assert ("/dev/sda1", "swap") in fstab.mounts(table)
    menu = grub.prepared((DATA / "menu-ide.lst").read_text(), 0, known)
    assert "# kopt=root=/dev/sda2 ro\n" in menu
    assert "# defoptions=console=tty0\n" in menu
    assert "bigmem root=/dev/sda2 ro console=tty0 resume=/dev/sda1\n" in menu
    assert device.names_xen(table + menu) == []
    assert leftovers.disks("RESUME=/dev/hda1\n", known) == "RESUME=/dev/sda1\n"


def test_lines_of_fstab_that_are_torn_are_told_and_keep_their_bytes() -> None:
    before = (DATA / "fstab-torn").read_bytes().decode()
    assert fstab.prepared(before) == before.replace("/dev/xvda", "/dev/sda")
    assert [point for _, point in fstab.mounts(before) if point in ("/", "/boot", "swap", "/data")] == [
        "/",
        "/boot",
        "swap",
        "/data",
    ]
    assert [line.split()[0] for line in fstab.odd(before)] == [f'UUID="{UUID}"', "/mnt/only-a-place"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/dev/xvdb1 /data ext3 defaults 1 2", True),
        ("/dev/sdb1 /data ext3 defaults 1 2", True),
        ("/dev/hda3 /data ext3 defaults 1 2", True),
        ("/dev/hdc /media/cdrom0 udf,iso9660 user,noauto 0 0", False),
        ("/dev/disk/by-path/xen-vbd-51728 /data ext3", True),
        ("/dev/disk/by-id/scsi-1XEN_disk1-part1 /data ext3", True),
        ("/dev/disk/by-id/dm-name-vg-data /data ext3", False),
        ("LABEL=SWAP-xvda3 swap swap", False),
        ("What=/dev/xvdb1", True),
        ("Requires=dev-xvdb1.swap", True),
        ('KERNEL=="xvdb1", SYMLINK+="asm1"', True),
        ("set root='(xen/xvda,msdos1)'", True),
        ("set root='xen/xvdb,gpt2'", True),
        ("search --hint='xen/51728' --fs-uuid --set=root 1", True),
        ("kernel /boot/xen/1", False),
        ("set root='(hd0,msdos1)'", False),
        ("h0:2345:respawn:/sbin/getty 38400 hvc1", True),
        ("# /dev/xvdb1", False),
        ('blacklist { devnode "^(xvd|vd)" }', True),
        ('ORACLEASM_SCANORDER="xvd"', True),
        ("ORACLEASM_SCANEXCLUDE=xvd", True),
        ("echo noop > /sys/block/xvda/queue/scheduler", True),
        ("echo noop > /sys/class/block/xvdb/queue/scheduler", True),
        ("for d in xvda xvdb; do :; done", True),
        ('ENV{ID_PATH}=="xen-vbd-51712"', True),
        ("DEVICE /dev/xvd?1", True),
        ("/dev/discs/disc0/part2 / ext3", True),
        ("/dev/ide/host0/bus0/target0/lun0/part2 / ext3", True),
        ("/dev/block/8:17 /data ext3", True),
        ("/dev/evms/lvm2/vg/root / ext3", True),
        ("/dev//xvdb1 /data ext3", True),
        ('ACTIVE_CONSOLES="/dev/hvc[0-1]"', True),
        ("LABEL=xvda2 /data ext3", False),
        ('LABEL="/xvda" /data ext3', False),
        ("/dev/disk/by-label/xvda2 /data ext3", False),
        ("/dev/mapper/xvda2 /data ext3", False),
        ("/dev/xvdata/root / ext3", False),
        ("UUID=1 /mnt/xvdb1 ext3", False),
        ("/dev/hda /media/cdrecorder auto user,noauto 0 0", False),
    ],
)
def test_old_names_are_told(line: str, told: bool) -> None:
    assert device.names_xen(line) == ([line] if told else [])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/dev/block/202:2 / ext3 d 1 1", "/dev/sda2 / ext3 d 1 1"),
        ("/dev//xvda2 / ext3 d 1 1", "/dev/sda2 / ext3 d 1 1"),
        ("ID=xen-vbd-51714 / ext3 d 1 1", "/dev/sda2 / ext3 d 1 1"),
        ("/dev/evms/xvda2 / ext3 d 1 1", "/dev/sda2 / ext3 d 1 1"),
        ("UUID=xen-vbd-51714 / ext3 d 1 1", "UUID=xen-vbd-51714 / ext3 d 1 1"),
        # a drive for CDs, and the whole of a disk that has partitions
        *(
            (line, line)
            for line in (
                *("/dev/hda /media/cdrom udf,iso9660 noauto", "/dev/hda /cdrom auto ro 0 0", "/dev/hda /media/cdrw auto ro"),
                *(
                    "/dev/hda /media/dvd auto ro",
                    "/dev/hdc /cd iso9660 ro",
                    "/dev/xvda /data ext3 d 1 2",
                    "/dev/hda none swap sw",
                ),
            )
        ),
        ("/dev/hda1 /media/usb vfat noauto", "/dev/sda1 /media/usb vfat noauto"),
        # devices among the options
        ("/dev/xvda2 /x btrfs device=/dev/xvda2,device=/dev/xvda3", "/dev/sda2 /x btrfs device=/dev/sda2,device=/dev/sda3"),
        ("LABEL=x /x ext4 ro,journal_path=/dev/xvda3,sync", "LABEL=x /x ext4 ro,journal_path=/dev/sda3,sync"),
        ("/dev/xvda2 /x xfs logdev=/dev/xvda3,rtdev=/dev/xvda4", "/dev/sda2 /x xfs logdev=/dev/sda3,rtdev=/dev/sda4"),
        ("/dev/xvda2 /x ext4 x-systemd.requires=/dev/xvda3 0 0", "/dev/sda2 /x ext4 x-systemd.requires=/dev/sda3 0 0"),
        ("UUID=1 /x xfs logdev=/dev/xvdb1", "UUID=1 /x xfs logdev=/dev/xvdb1"),
        # of another machine
        ("nas:/dev/xvda2 /x nfs ro", "nas:/dev/xvda2 /x nfs ro"),
        ("sshfs#u@h:/dev/xvda2 /x fuse ro", "sshfs#u@h:/dev/xvda2 /x fuse ro"),
        ("/dev/xvda / ext3 d 1 1", "/dev/sda2 / ext3 d 1 1"),
    ],
)
def test_a_line_of_fstab_means_the_same_afterwards(before: str, after: str) -> None:
    assert fstab.prepared(before + "\n", disk()) == after + "\n"
    assert fstab.prepared(after + "\n", disk()) == after + "\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("set root='xen/xvda,msdos1'", "set root='hd0,msdos1'"),
        ("set root=(xen/xvda)", "set root=(hd0)"),
        ("  search --hint='xen/51712,gpt2' --fs-uuid --set=root 1", "  search --hint='hd0,gpt2' --fs-uuid --set=root 1"),
        ("set root='xen/xvdb,msdos1'", "set root='xen/xvdb,msdos1'"),
        ("set root='hd0,msdos1'", "set root='hd0,msdos1'"),
        ("linux /vmlinuz \\\n  root=/dev/xvda2 \\\n  console=hvc0", "linux /vmlinuz \\\n  root=/dev/sda2 \\\n  console=tty0"),
    ],
)
def test_grub_2_finds_its_disk_by_the_bios(before: str, after: str) -> None:
    assert grub2.custom(before, disk()) == after
    assert grub2.custom(after, disk()) == after


def test_a_drive_for_cds_stays_where_nobody_knows_the_partitions_too() -> None:
    line = "/dev/hda /media/cdrom0 udf,iso9660 user,noauto 0 0\n"
    assert fstab.prepared(line, Disk([], device.inside("xvda"))) == line


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        *((f"{spec} /x ext3 d 0 0", True) for spec in ("/dev/cciss/c0d0p1", "/dev/sda9", "/dev/vg_b/data", "ID=x", "LABEL=x")),
        *(
            (f"{spec} /x ext3 d 0 0", False)
            for spec in ("/dev/sda1", "/dev/vg_a-b/root", "/dev/mapper/x", "/dev/md0", "LABEL=/boot")
        ),
        *((f"{spec} /x auto noauto 0 0", False) for spec in ("/dev/fd0", "/dev/sr0", "/dev/cdrom", "tmpfs")),
        ("/dev/hdc /media/cdrom iso9660 ro", False),
        ("# /dev/cciss/c0d0p1 /x ext3", False),
    ],
)
def test_a_device_that_is_on_no_disk_that_moves_is_told(line: str, unknown: bool) -> None:
    assert fstab.unknown(line + "\n", disk()) == ([line] if unknown else [])


@pytest.mark.parametrize("spec", ["UUID=9-9", "/dev/disk/by-uuid/9-9", 'LABEL="x"', "/dev/disk/by-label/x", "PARTUUID=7-1"])
@pytest.mark.parametrize("other", ["ext4", "crypto_LUKS", "linux_raid_member"])
def test_a_label_that_no_partition_has_is_told_unless_it_may_be_within_one(spec: str, other: str) -> None:
    ours = {"device": "/dev/sda1", "fstype": "ext4", "label": "/", "uuid": "1-2", "partuuid": "7-0"}
    found = Disk([ours, {"device": "/dev/sda2", "fstype": other}])
    line = f"{spec} /x ext3 d 0 0"
    assert fstab.unknown(line + "\n", found) == ([line] if other == "ext4" else [])
    assert fstab.unknown(line + "\n", Disk([{"device": "/dev/sda1", "fstype": "ext4"}])) == []  # of a survey that kept none


@pytest.mark.parametrize(
    ("vdev", "before", "after"),
    [
        ("xvda", "DEVICE /dev/xvd*", "DEVICE /dev/sd*"),
        ("xvda", "DEVICE /dev/xvd[a-z]*", "DEVICE /dev/sd[a-z]*"),
        ("xvda", "DEVICE /dev/xvd?1", "DEVICE /dev/sd?1"),
        ("xvda", "DEVICE /dev/xvd[a-d][12] # all", "DEVICE /dev/sd[a-d][12] # all"),
        ("hda", "DEVICE /dev/hd*[0-9] /dev/md*", "DEVICE /dev/sd*[0-9] /dev/md*"),
        ("sda", "DEVICE /dev/xvd[e-h]1", "DEVICE /dev/sda1"),  # Enterprise Linux 6 counts from e
        ("xvda", "DEVICE /dev/xvda*", "DEVICE /dev/sda*"),
        ("xvda", "DEVICE /dev/xvd[b-d]1", "DEVICE /dev/xvd[b-d]1"),  # of other disks: it is told
        ("xvda", "DEVICE /dev/sd*", "DEVICE /dev/sd*"),
        ("xvda", "DEVICE partitions", "DEVICE partitions"),
        ("xvda", "# DEVICE /dev/xvd*", "# DEVICE /dev/xvd*"),
    ],
)
def test_patterns_of_mdadms_mean_the_same_partitions_afterwards(vdev: str, before: str, after: str) -> None:
    assert leftovers.disks(before, disk(vdev)) == after
    assert leftovers.disks(after, disk(vdev)) == after


def test_the_worker_loads_it_by_itself() -> None:
    alone = runpy.run_path(device.__file__)["Disk"](PARTITIONS, ())
    assert alone.partition("/dev/xvda2") == "/dev/sda2"


SEVERAL_NAMES = (device.inside("xvdb"), device.inside("xvdd"), device.inside("hde"))
SEVERAL = Disk(
    [
        part("sda1", mountpoint="/", uuid="1111"),
        part("sdb", fstype="swap", uuid="2222"),
        part("sdc1", uuid="3333"),
        part("sdc2", uuid="4444"),
        part("sdd", uuid="4444"),
        part("vault/old", uuid="5555"),
    ],
    device.inside("xvda"),
    SEVERAL_NAMES,
)


@pytest.mark.parametrize(
    ("written", "afterwards"),
    [
        ("/dev/xvda1", "/dev/sda1"),
        ("/dev/xvdb", "/dev/sdb"),
        ("/dev/xvdd1", "/dev/sdc1"),
        ("/dev/disk/by-path/xen-vbd-51761", "/dev/sdc1"),
        ("/dev/hde", "/dev/sdd"),
        ("/dev/xvdc1", "/dev/xvdc1"),
        ("/dev/vault/old", "/dev/vault/old"),
    ],
)
def test_each_of_several_disks_has_its_new_name_and_keeps_it(written: str, afterwards: str) -> None:
    assert SEVERAL.renamed(written) == afterwards
    assert SEVERAL.renamed(afterwards) == afterwards


def test_with_several_disks_fstab_finds_each_by_its_uuid() -> None:
    table = "/dev/xvda1 / ext3 defaults 1 1\n/dev/xvdb swap swap sw 0 0\n/dev/xvdd1 /srv ext3 defaults 1 2\n"
    after = fstab.prepared(table, SEVERAL)
    assert after == "UUID=1111 / ext3 defaults 1 1\nUUID=2222 swap swap sw 0 0\nUUID=3333 /srv ext3 defaults 1 2\n"
    assert fstab.prepared(after, SEVERAL) == after
    assert [SEVERAL.partition(row.split()[0]) for row in after.splitlines()] == ["/dev/sda1", "/dev/sdb", "/dev/sdc1"]
    assert fstab.prepared("/dev/hde /old ext3 noauto 0 0\n", SEVERAL) == "/dev/sdd /old ext3 noauto 0 0\n"  # two share its UUID


def test_the_kernel_is_given_a_uuid_only_where_the_initrd_understands_it() -> None:
    line = "linux /vmlinuz root=/dev/xvda1 ro resume=/dev/xvdb"
    assert arguments.prepared(line, SEVERAL) == "linux /vmlinuz root=/dev/sda1 ro resume=/dev/sdb"
    newer = Disk(SEVERAL.partitions, device.inside("xvda"), (device.inside("xvdb"),))
    newer.finds_uuids = True
    assert arguments.prepared(line, newer) == "linux /vmlinuz root=UUID=1111 ro resume=UUID=2222"


def test_disks_that_changed_places_are_told_apart_and_put_right_once() -> None:
    swapped = Disk([part("sda1", mountpoint="/"), part("sdb1")], device.inside("xvdb"), (device.inside("xvda"),))
    assert swapped.renamed("/dev/xvdb1 /dev/xvda1") == "/dev/sda1 /dev/sdb1"
    assert swapped.renamed("/dev/sda1 /dev/sdb1") == "/dev/sda1 /dev/sdb1"


def test_lines_that_name_disks_which_moved_too_are_not_told_as_left_over() -> None:
    lines = "/dev/sdb1 /b\n/dev/sdc1 /c\n/dev/xvdb1 /d\n"
    assert device.names_xen(lines) == ["/dev/sdb1 /b", "/dev/sdc1 /c", "/dev/xvdb1 /d"]
    assert device.names_xen(lines, 2) == ["/dev/sdc1 /c", "/dev/xvdb1 /d"]


def test_mdadm_and_lvm_look_at_every_disk_by_its_new_name() -> None:
    raid = Disk([part("sda1"), part("sdb1")], device.inside("xvda"), (device.inside("xvdc"),))
    assert leftovers.disks("DEVICE /dev/xvda1 /dev/xvdc1\n", raid) == "DEVICE /dev/sda1 /dev/sdb1\n"
    assert leftovers.disks("DEVICE /dev/xvd[ac]1\n", raid) == "DEVICE /dev/sda1 /dev/sdb1\n"
    own = Disk([part("sda1", fstype="LVM2_member"), part("sdb", fstype="LVM2_member")], raid.called("/dev/sda"), (("xvdc",),))
    before = 'devices { filter = [ "a|/dev/xvda1|", "a|/dev/xvdc$|", "r|.*|" ] }\n'
    assert lvm.prepared(before, own) == 'devices { filter = [ "a|/dev/sda1|", "a|/dev/sdb$|", "r|.*|" ] }\n'
    assert lvm.prepared(lvm.prepared(before, own), own) == lvm.prepared(before, own)


STEADY = Disk(
    [
        part("sda1", mountpoint="/", uuid="1111", partuuid="ab-01"),
        part("sdb1", fstype="", partuuid="cd-01"),
        part("sdb2", fstype="", partuuid="ab-01"),
        part("sdc", fstype="crypto_LUKS", uuid="3333"),
    ],
    device.inside("xvda"),
    (device.inside("xvdb"), device.inside("xvdc")),
)


@pytest.mark.parametrize(
    ("written", "afterwards"),
    [
        ("swap0 /dev/sdb1 /dev/urandom swap", "swap0 /dev/disk/by-partuuid/cd-01 /dev/urandom swap"),
        ("data /dev/sdc none luks", "data /dev/disk/by-uuid/3333 none luks"),
        ("raw /dev/sdb2", "raw /dev/sdb2"),  # another one has the same
        ("raw /dev/sdd", "raw /dev/sdd"),
        ("RESUME=/dev/sdb1", "RESUME=/dev/disk/by-partuuid/cd-01"),
        ("DEVICE /dev/sd*", "DEVICE /dev/sd*"),
        ("DEVICE /dev/sdb[12]", "DEVICE /dev/sdb[12]"),
    ],
)
def test_of_several_disks_a_link_stands_for_a_letter(written: str, afterwards: str) -> None:
    assert STEADY.steady(written) == afterwards
    assert STEADY.steady(afterwards) == afterwards
    assert Disk(STEADY.partitions[:1], device.inside("xvda")).steady(written) == written


def test_a_drive_for_cds_stays_where_a_disk_without_a_table_has_its_name() -> None:
    line = "/dev/hdd /media/cdrom0 iso9660,udf user,noauto 0 0\n/dev/xvdd /srv ext3 defaults 0 2\n"
    alone = Disk([*SEVERAL.partitions[:2], part("sdc", uuid="3333")], device.inside("xvda"), SEVERAL_NAMES[:2])
    assert fstab.prepared(line, alone) == line.replace("/dev/xvdd", "UUID=3333")
