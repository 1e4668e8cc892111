"""Which subvolume of a btrfs is a guest's root. A part of the worker, and of what makes a rehearsed guest speak: of their `g`."""

# mypy: ignore-errors

import contextlib
import re
import stat

NAMES = 5000  # of the topmost folder, that are looked at
TABLE = 1 << 16  # bytes of an fstab that are read


def root(g, device):
    """The subvolume that calls itself the root in its own fstab; empty for the default one. Leaves nothing mounted.

    The default one is what is mounted where nothing else is said, as by a guest whose fstab names none. A snapshot of the root
    has the root's fstab, which names another subvolume than the snapshot.
    """
    g.mount_ro(device, "/")
    said = {"": named(g, "")} if is_file(g, "/etc/fstab") else {}
    g.umount_all()
    if said.get("") == "":
        return ""
    g.mount_options("subvolid=5,ro", device, "/")  # which holds all the others
    names = [name for name in (*said.values(), *g.ls("/")[:NAMES]) if "," not in name]
    there = [name for name in names if is_file(g, f"/{name}/etc/fstab")]
    said.update((name, named(g, name)) for name in there)
    g.umount_all()
    own = [name for name in there if said[name] == name]
    silent = [name for name in said if not said[name]]
    return next(iter([*own, *([""] if "" in said else []), *silent, *there]), "")


def named(g, name):
    """The subvolume that the fstab in this one gives as the root; empty where it gives none."""
    table = g.pread(f"/{name}/etc/fstab".replace("//", "/"), TABLE, 0).decode("latin-1")
    rows = [row.split() for row in table.splitlines()]
    options = next((row[3] for row in rows if len(row) > 3 and row[1] == "/" and row[0][0] != "#"), "")
    found = dict(re.findall(r"(?:^|,)(subvol(?:id)?)=([^,]+)", options))
    if "subvolid" in found and "subvol" not in found:
        with contextlib.suppress(RuntimeError):  # an appliance without btrfs' own program
            ids = {str(v["btrfssubvolume_id"]): v["btrfssubvolume_path"] for v in g.btrfs_subvolume_list("/")}
            return ids.get(found["subvolid"], "")
    return found.get("subvol", "").strip("/")


def is_file(g, path):
    """Whether it is a regular file in the end."""
    try:
        return stat.S_ISREG(g.statns(path)["st_mode"])
    except RuntimeError:
        return False
