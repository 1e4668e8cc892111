"""Stand-alone: makes a guest of a disk that holds a Debian root file system, or that gets one. Reads a JSON object from its
standard input, and says nothing.

Run by any Python 3 that has libguestfs' `guestfs` module, not necessarily ours: standard library only.
"""

# mypy: ignore-errors

import json
import re
import sys

SUBVOLUMES = {"/": "@", "/home": "@home"}  # of btrfs, by where each is mounted
# programs in the appliance do not see libguestfs' names: there /dev/sda may be the appliance's own disk
DISK = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_hd0"
OWNERS_ONLY = ("/etc/netplan/", "/etc/NetworkManager/")  # what others may read, these programs refuse or tell of
MENU = """default         0
timeout         2
# kopt=root={system} ro console=hvc0

title           Debian GNU/Linux, kernel {version}
root            (hd0,0)
kernel          {kernel} root={system} ro console=hvc0
initrd          /boot/initrd.img-{version}
"""


def main():
    """Do the job on standard input."""
    import guestfs  # noqa: PLC0415 - the package's own Python does not know it

    job = json.load(sys.stdin)
    g = guestfs.GuestFS(python_return_dict=True)
    g.set_backend("direct")
    g.set_backend_settings(["force_tcg"])
    g.set_network(False)
    g.set_memsize(1024)
    g.add_drive(job["disk"], format="raw", cachemode="unsafe")
    if job["tree"]:
        g.add_drive(job["tree"], format="raw", readonly=True)
    g.launch()
    efi, whole = job["firmware"] == "efi", bool(job["sectors"])
    number = divide(g, job["sectors"], efi) if whole else 0
    root = f"/dev/sda{number}" if whole else "/dev/sda"
    if job["tree"]:
        fill(g, job["file_system"], root, number)
    attach(g, job["file_system"], root)
    if efi:
        g.command(["mkfs.vfat", "-n", "ESP", f"{DISK}-part1"])
        g.mkdir_p("/boot/efi")
        g.mount("/dev/sda1", "/boot/efi")
    maps = {path: content for path, content in job["files"].items() if path.startswith("/boot/grub/")}  # of devices not here
    for path, content in job["files"].items():
        if path not in maps:
            g.mkdir_p(path.rpartition("/")[0])
            g.write(path, content)
        if path.startswith(OWNERS_ONLY):
            g.chmod(0o600, path)
    for argv in job["commands"]:
        g.command(argv)
    kernel = g.glob_expand("/boot/vmlinuz-*")[0]
    version = kernel.split("-", 1)[1]
    if job["small"]:
        g.mv("/boot/small.img", f"/boot/initrd.img-{version}")
    g.rm_f("/boot/small.img")
    if whole:
        where = ["--target=x86_64-efi", "--efi-directory=/boot/efi", "--no-nvram"] if efi else ["--target=i386-pc", DISK]
        g.command(["grub-install", *where])
        g.command(["update-grub"])
        menu = g.read_file("/boot/grub/grub.cfg").decode()
        g.write("/boot/grub/grub.cfg", re.sub(r"root=UUID=\S+", "root=" + job["system"], menu))
        for path, content in maps.items():
            g.write(path, content)
    else:
        g.rm_f("/boot/grub/grub.cfg")
        g.mkdir_p("/boot/grub")
        g.write("/boot/grub/menu.lst", MENU.format(system=job["system"], version=version, kernel=kernel))
    g.umount_all()
    g.shutdown()


def divide(g, sectors, efi):
    """Partitions of these sizes from 1 MiB on; the number of the root's."""
    g.part_init("/dev/sda", "gpt" if efi else "mbr")
    start = 2048
    for size in sectors:
        g.part_add("/dev/sda", "p", start, start + size - 1)
        start += size
    if efi:
        g.part_set_gpt_type("/dev/sda", 1, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
        return 2
    g.part_set_mbr_id("/dev/sda", 2, 0x82)
    g.part_set_bootable("/dev/sda", 1, True)
    return 1


def fill(g, file_system, root, number):
    """Make the file system by the guest's own program, and copy the tree, the second disk, into it."""
    g.mount_ro("/dev/sdb", "/")
    g.command([f"mkfs.{file_system}", "-f", f"{DISK}-part{number}"])
    g.umount_all()
    g.mkmountpoint("/from")
    g.mkmountpoint("/to")
    g.mount_ro("/dev/sdb", "/from")
    g.mount(root, "/to")
    place = "/to"
    if file_system == "btrfs":
        for name in SUBVOLUMES.values():
            g.btrfs_subvolume_create(f"/to/{name}")
        place += f"/{SUBVOLUMES['/']}"
    for name in g.ls("/from"):
        if name != "lost+found":
            g.cp_a(f"/from/{name}", f"{place}/")
    g.umount_all()
    g.rmmountpoint("/to")
    g.rmmountpoint("/from")


def attach(g, file_system, root):
    """Mount the root."""
    if file_system == "btrfs":
        g.mount_options(f"subvol={SUBVOLUMES['/']}", root, "/")
    else:
        g.mount(root, "/")


if __name__ == "__main__":
    main()
