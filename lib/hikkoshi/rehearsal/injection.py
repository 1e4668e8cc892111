"""Stand-alone: puts a file into a guest's root file system and a line at the end of its /etc/inittab.

Run by any Python 3 that has libguestfs' `guestfs` module, not necessarily ours: standard library only. Reads a JSON object
from its standard input:

    {"disk": PATH, "format": "qcow2", "kvm": false, "path": "/file-in-guest", "content": TEXT, "inittab": LINE}

and writes one to its standard output: {"root": "/dev/sda2"}, or {"problem": SENTENCE, "found": WORDS}.
"""

# mypy: ignore-errors

import json
import sys


def main():
    """Carry out the wish on standard input; returns the answer."""
    import guestfs  # noqa: PLC0415 - that it is missing is an answer too

    wish = json.load(sys.stdin)

    g = guestfs.GuestFS(python_return_dict=True)
    g.set_backend("direct")
    if not wish["kvm"]:
        g.set_backend_settings(["force_tcg"])  # without it the appliance dies where KVM is there and broken
    g.set_network(False)
    g.add_drive_opts(wish["disk"], format=wish["format"], cachemode="unsafe")  # the overlay is thrown away
    g.launch()
    root = find_root(g)
    if root is None:
        return {"problem": "no file system with /etc/fstab was found on the disk", "found": str(g.list_partitions())}
    if not g.is_file("/etc/inittab", followsymlinks=True):
        return {"problem": "the guest has no /etc/inittab: it does not start by SysV init", "found": root}
    g.write(wish["path"], wish["content"])
    g.chmod(0o755, wish["path"])
    before = g.read_file("/etc/inittab").decode("latin-1")
    g.write("/etc/inittab", (before.rstrip("\n") + "\n" + wish["inittab"] + "\n").encode("latin-1"))
    g.shutdown()
    return {"root": root}


def find_root(g):
    """The device whose file system holds /etc/fstab, left mounted for writing; None where there is none."""
    for device in [*g.list_partitions(), *g.lvs(), *g.list_devices()]:
        if g.vfs_type(device) not in ("ext2", "ext3", "ext4", "xfs", "reiserfs"):
            continue
        g.mount(device, "/")
        if g.is_file("/etc/fstab"):
            return device
        g.umount_all()
    return None


if __name__ == "__main__":
    try:
        answer = main()
    except (ImportError, RuntimeError) as e:
        answer = {"problem": "the guest's disk could not be opened by libguestfs", "found": str(e)}
    json.dump(answer, sys.stdout)
