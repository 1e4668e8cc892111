"""Stand-alone: makes throw-away overlays of a guest's disks speak: what it says goes to the serial port.

Run by any Python 3 that has libguestfs' `guestfs` module, not necessarily ours: standard library only. Reads a JSON object
from its standard input:

    {"disk": PATH, "further": [PATH …], "format": "qcow2", "kvm": false, "witness": SCRIPT, "path": "/file-in-guest",
     "more": ARGUMENTS}

and writes one to its standard output: {"root": "/dev/sda2", "changed": [SENTENCE …]}, or {"code": CODE, "problem": SENTENCE,
"found": WORDS}. With an empty script only the kernel is made to write to the serial port, where the boot loader is GRUB 2.
"""

# mypy: ignore-errors

import json
import re
import runpy
import sys
from pathlib import Path

root_of = runpy.run_path(str(Path(__file__).parents[1] / "guest" / "inside" / "subvolumes.py"))["root"]
PORT = "ttyS0"
LINUX = ("ext2", "ext3", "ext4", "xfs", "reiserfs", "btrfs", "jfs")
# init starts an entry after all `wait` entries above it, so after the start scripts of the run level, network included
INITTAB = "hk:2345:once:/bin/sh {path}"
UPSTART = "start on stopped rc RUNLEVEL=[2345]\nexec /bin/sh {path}\n"
SYSTEMD = """\
[Unit]
Description=what this machine is, for the rehearsal
After=network.target

[Service]
Type=idle
ExecStart=/bin/sh {path}
"""


def main():
    """Carry out the wish on standard input; returns the answer."""
    import guestfs  # noqa: PLC0415 - that it is missing is an answer too

    wish = json.load(sys.stdin)
    g = guestfs.GuestFS(python_return_dict=True)
    g.set_backend("direct")
    if not wish["kvm"]:
        g.set_backend_settings(["force_tcg"])  # without it the appliance dies where KVM is there and broken
    g.set_network(False)
    for disk in (wish["disk"], *wish["further"]):
        g.add_drive_opts(disk, format=wish["format"], cachemode="unsafe")  # the overlay is thrown away
    g.launch()
    devices = [*g.list_partitions(), *g.list_md_devices(), *g.lvs(), *g.list_devices()]
    root = find_root(g, devices)
    if root is None:
        return {
            "code": "witness-no-fstab",
            "problem": "no file system with /etc/fstab was found on the disk",
            "found": str(devices),
        }
    changed = []
    if wish["witness"]:
        started = start(g, wish["path"])
        if started is None:
            return {
                "code": "witness-no-init",
                "problem": "the guest starts by no init that is known: SysV, upstart or systemd",
                "found": root,
            }
        g.write(wish["path"], wish["witness"])
        g.chmod(0o755, wish["path"])
        changed.append(f"{wish['path']}, started by {started}")
    changed += speak(g, [d for d in devices if d != root], wish["more"])
    g.shutdown()
    return {"root": root, "changed": changed}


def find_root(g, devices):
    """The device whose file system holds /etc/fstab, left mounted for writing; None where there is none."""
    for device in devices:
        if g.vfs_type(device) not in LINUX:
            continue
        name = root_of(g, device) if g.vfs_type(device) == "btrfs" else ""
        if name:
            g.mount_options(f"subvol={name}", device, "/")
        else:
            g.mount(device, "/")
        if g.is_file("/etc/fstab"):
            return device
        g.umount_all()
    return None


def start(g, path):
    """Have the script started when the system is up; gives the file that does it, None where no init is known."""
    if any(g.is_file(f"{lib}/systemd/systemd", followsymlinks=True) for lib in ("/lib", "/usr/lib")):
        unit = "/etc/systemd/system/hikkoshi-witness.service"
        g.write(unit, SYSTEMD.format(path=path))
        g.mkdir_p("/etc/systemd/system/multi-user.target.wants")
        g.ln_sf(unit, "/etc/systemd/system/multi-user.target.wants/hikkoshi-witness.service")
        return unit
    if g.is_file("/etc/init/rc.conf", followsymlinks=True):
        g.write("/etc/init/hikkoshi-witness.conf", UPSTART.format(path=path))
        return "/etc/init/hikkoshi-witness.conf"
    if g.is_file("/etc/inittab", followsymlinks=True):
        before = g.read_file("/etc/inittab").decode("latin-1")
        line = INITTAB.format(path=path)
        g.write("/etc/inittab", (before.rstrip("\n") + "\n" + line + "\n").encode("latin-1"))
        return "/etc/inittab"
    return None


def speak(g, others, wanted):
    """Have the kernel write to the serial port too, where GRUB 2 switches the screen to graphics, and give it the arguments that
    are wanted; gives what was changed."""
    menus = find_menus(g)
    for device in others:
        if menus or g.vfs_type(device) not in LINUX:
            continue
        g.mount(device, "/boot")
        menus = find_menus(g)
        if not menus:
            g.umount("/boot")
    for path in menus:
        text = g.read_file(path).decode("latin-1")
        more = rf"\1 console=tty0 console={PORT} {wanted}".rstrip()
        g.write(path, re.sub(r"^(\s*(?:linux(?:16|efi)?|options)\s.*?)[ \t]*$", more, text, flags=re.M).encode("latin-1"))
    return [f"{path}: console={PORT} {wanted}".rstrip() for path in menus]


def find_menus(g):
    """GRUB 2's menus."""
    patterns = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/loader/entries/*.conf")
    return [path for pattern in patterns for path in g.glob_expand(pattern)[:100]]


if __name__ == "__main__":
    try:
        answer = main()
    except (ImportError, RuntimeError) as e:
        answer = {
            "code": "witness-disk-unopened",
            "problem": "the guest's disk could not be opened by libguestfs",
            "found": str(e),
        }
    json.dump(answer, sys.stdout)
