"""Opens a guest's disk inside libguestfs' appliance: reads what it is told, changes what it is told, and reads again.

A program of its own, with nothing but the standard library and guestfs, because libguestfs' binding exists only for the
system's own Python. One JSON object comes in on standard input; JSON objects go out, one a line: any number of
{"progress": [done, total, text]}, then {"result": …} or {"error": {"kind": …, …}}.

The guest's file systems are mounted by the appliance's kernel, never by the host's, and whatever is read from them is
bounded. The disk's format is always given as raw: a guest can write any header to its own disk.

Secrets in the guest's files do not leave this program: words stand in their places, and what is written gets them back. Whatever
is compared or hashed is compared and hashed with these words.
"""

import base64
import contextlib
import fnmatch
import hashlib
import json
import re
import runpy
import shlex
import shutil
import signal
import stat
import sys
from pathlib import Path

import guestfs

MEMORY_MB = 640
TEXT = 1 << 20  # bytes of one text
TEXTS = 800  # number of texts
ALL_TEXTS = 16 << 20  # bytes of them all
FILES = 100  # number of files that are fetched
ALL_FILES = 1 << 30  # bytes of them all; what one may have is said by whoever asks for it
ROOM = 256 << 20  # bytes that stay free where they are fetched to
LISTING = 5000  # names that a pattern may match
LINUX = ("ext2", "ext3", "ext4", "xfs", "reiserfs", "btrfs", "jfs")
NEEDED = ("/", "/boot", "/boot/efi", "/usr", "/var", "/etc", "/lib", "/sbin", "/opt", "/tmp")

_VOLUMES = runpy.run_path(str(Path(__file__).parent / "inside" / "volumes.py"))
Wrong, volumes, boot_from, trim = (_VOLUMES[name] for name in ("Wrong", "volumes", "boot_from", "trim"))
_PATHS = runpy.run_path(str(Path(__file__).parent / "inside" / "paths.py"))
named, end = _PATHS["named"], _PATHS["end"]
root_of = runpy.run_path(str(Path(__file__).parent / "inside" / "subvolumes.py"))["root"]


def say(**message):
    """Tell the parent."""
    print(json.dumps(message), flush=True)


def main():
    """Do the job on standard input."""
    job = json.load(sys.stdin)
    own = runpy.run_path(job["redaction"])["Redactor"]()  # this Python does not know the package
    job["disk_of"] = runpy.run_path(job["devices"])["Disk"]
    job["bring"] = runpy.run_path(job["installer"])["bring"]
    signal.alarm(job["seconds"])  # the default action ends us; libguestfs then ends its machine
    total = 6 if (apply := job["op"] == "apply") else 3
    try:
        say(progress=[0, total, "starting the appliance"])
        g = launch(job, readonly=not apply)
        say(progress=[1, total, "mounting by the guest's own fstab"])
        partitions = volumes(g, job)
        if apply:
            check(g, partitions)
        mount(g, job, partitions, readonly=not apply)
        outcome = {"names": job["names"], "further": job["further"]}
        if apply:
            say(progress=[2, total, "changing files"])
            texts(g, job, own)  # all, in the survey's order: the same words stand for the same secrets
            outcome["kept"], outcome["ran"] = change(g, job, own, lambda text: say(progress=[3, total, text]))
            if job["boot_loader"] == "extlinux":
                boot_from(g, partitions)
            trim(g)
            say(progress=[4, total, "reading everything again"])
            g.umount_all()  # what is read next has been on the disk
            mount(g, {**job, "names": ()}, partitions, readonly=True)  # by the new fstab
            outcome["kept"] = {path: kept_digest(g, job, own, path) for path in outcome["kept"]}
        say(progress=[total - 1, total, "reading"])
        outcome.update(collect(g, job, own), partitions=[{k: v for k, v in p.items() if k != "at"} for p in partitions])
        g.umount_all()
        g.shutdown()
        g.close()
    except Wrong as e:
        say(error=e.report)
    except RuntimeError as e:  # what guestfs raises
        say(error={"kind": "appliance", "found": str(e)})
    else:
        say(result=outcome)


def launch(job, readonly):
    """The running appliance with the job's disks, each as its `at`: /dev/sda, /dev/sdb …, without any network."""
    g = guestfs.GuestFS(python_return_dict=True)
    g.set_backend("direct")
    g.set_backend_settings(["force_tcg"] if job["accelerator"] == "tcg" else [])
    g.set_network(False)
    g.set_memsize(MEMORY_MB)
    g.set_tmpdir(job["folder"])
    # the copy is synced by the parent when all is done; until then nobody relies on it
    how = {"readonly": True} if readonly else {"readonly": False, "cachemode": "unsafe", "discard": "besteffort"}
    for disk in job["disks"]:
        g.add_drive(disk["path"], format="raw", **how)
    g.launch()
    return g


def check(g, partitions):
    """The file systems' own check, which also replays a journal; what it cannot mend by itself stops everything."""
    for p in partitions:
        if p["fstype"] in ("ext2", "ext3", "ext4") and (status := g.fsck(p["fstype"], p["at"])) & ~3:
            raise Wrong("fsck", path=p["device"], found=f"fsck ended with {status}")


def mount(g, job, partitions, readonly):
    """Mount what the guest's own fstab says, and tell each partition its place."""
    attach = g.mount_ro if readonly else g.mount
    disk = job["disk_of"](partitions, tuple(job["names"]), tuple(map(tuple, job["further"])))
    table, there = find_root(g, disk, partitions)
    if there and not readonly:
        g.umount_all()
        there = None
    locked = [p["device"] for p in partitions if p["fstype"] == "crypto_LUKS"]
    if table is None:
        seen = locked or [f"{p['device']} {p['fstype'] or 'unknown'}" for p in partitions]
        raise Wrong("crypto_LUKS" if locked else "no-root", found=", ".join(seen))
    by_device = {p["device"]: p for p in partitions}
    for p in partitions:
        p["mountpoint"] = ""
    for spec, point, options in sorted(table, key=lambda row: row[1]):
        found = by_device.get(disk.partition(spec))
        if found and (point == "swap" or point.startswith("/")):
            found["mountpoint"] = found["mountpoint"] or point
        if point not in NEEDED or (point == "/" and there):
            continue
        part = re.search(r"(?:^|,)(subvol(?:id)?=[^,]+)", options)  # of btrfs; the root's: see `attached`
        part = (found or {}).get("subvolume") and f"subvol={found['subvolume']}" if point == "/" else part and part.group(1)
        if found and part:
            g.mount_options(part + (",ro" if readonly else ""), found["at"], point)
        elif found and found["fstype"] in (LINUX if point != "/boot/efi" else ("vfat",)):
            attach(found["at"], point)
        elif spec.strip("\"'").startswith(("/dev/", "LABEL=", "UUID=", "PARTLABEL=", "PARTUUID=")):
            kind = f", a {found['fstype'] or 'unknown'}" if found else f"; encrypted: {', '.join(locked)}" if locked else ""
            raise Wrong("missing-device" if found or not locked else "crypto_LUKS", found=f"{point} is on {spec}{kind}")


def find_root(g, disk, partitions):
    """The fstab of the file system that calls itself the root, and that file system, which stays mounted to be read; of one that
    is taken for the root all the same, only the fstab. (None, None) where there is none.

    One that was found before is looked at first.
    """
    best, no_fstab = None, ""
    for p in sorted(partitions, key=lambda p: p.get("mountpoint") != "/"):
        if p["fstype"] not in LINUX or not attached(g, p):
            continue
        if is_file(g, "/etc/fstab"):
            table = [row.split() for row in text(g, "/etc/fstab").decode("latin-1").splitlines()]
            table = [row for row in table if len(row) > 1 and not row[0].startswith("#")][:64]
            table = [(row[0], "swap" if row[2:3] == ["swap"] else row[1], "".join(row[3:4])) for row in table]
            roots = [row[0] for row in table if row[1] == "/"]
            if [disk.partition(spec) for spec in roots] == [p["device"]]:
                return table, p
            if roots and best is None:
                best = [*[row for row in table if row[1] != "/"], (p["device"], "/", "")], roots[0], p["device"]
        elif g.is_dir("/etc") and g.is_dir("/sbin"):
            no_fstab = p["device"]
        g.umount_all()
    if best is None and no_fstab:
        raise Wrong("no-fstab", found=f"{no_fstab} has /etc and /sbin, but no usable /etc/fstab")
    if best is None:
        return None, None
    disk.learn(*best[1:])  # where the root is, it calls the disk so
    return best[0], None


def attached(g, p):
    """Whether a file system can be mounted, to be read: of btrfs the subvolume that is the root."""
    p["subvolume"] = ""
    try:
        if p["fstype"] == "btrfs" and (name := root_of(g, p["at"])):
            p["subvolume"] = name
            g.mount_options(f"subvol={name},ro", p["at"], "/")
        else:
            g.mount_ro(p["at"], "/")
    except RuntimeError:
        g.umount_all()
        return False
    return True


def bounded(found, limit, path, what="", unit="bytes"):
    """Stops everything where something is larger than anything reasonable."""
    facts = {"path": path, "found": f"{what} {found} {unit}".strip(), "expected": f"at most {limit} {unit}"}
    if found > limit:
        raise Wrong("too-large" if unit == "bytes" else "too-many", **facts)


def text(g, path):
    """The bytes of a small file; `pread` is a hundred times quicker than `read_file`, which starts a process."""
    size = g.statns(path)["st_size"]
    bounded(size, TEXT, path)
    return g.pread(path, size, 0) if size else b""


def hidden(g, own, path, place=""):
    """The bytes of a small file without its secrets; `place` is where it is kept, if that is elsewhere."""
    try:
        return own.redact(path, text(g, place or path))
    except ValueError:
        raise Wrong("secrets", path=path) from None


def kept_digest(g, job, own, path):
    """SHA-256 of what is kept of a file; an initrd may have any size."""
    place = job["kept"] + path
    if path in {edit["path"] for edit in job["edits"]}:
        return hashlib.sha256(hidden(g, own, path, place)).hexdigest()
    return g.checksum("sha256", place)


def is_file(g, path):
    """Whether it is a regular file in the end; anything else could hang whoever reads it."""
    try:
        return stat.S_ISREG(g.statns(path)["st_mode"])
    except RuntimeError:  # a link that leads nowhere
        return False


def matching(g, patterns, limit):
    """The regular files that the patterns name."""
    found = []
    for pattern, paths in named(g, patterns, LISTING):
        if len(paths) > LISTING:
            raise Wrong("too-many", path=pattern, found=f"{len(paths)} names", expected=f"at most {LISTING}")
        found += [p for p in paths if is_file(g, p)]
    if len(found) > limit:
        raise Wrong("too-many", path=", ".join(patterns), found=f"{len(found)} files", expected=f"at most {limit}")
    return found


def texts(g, job, own):
    """Texts by their path, without their secrets; the links to them, which would be changed twice, and where each leads."""
    paths = dict.fromkeys(matching(g, job["texts"], TEXTS))
    known = {}
    links = {p: at for p in paths if stat.S_ISLNK(g.lstatns(p)["st_mode"]) and (at := end(g, p, known)) in paths}
    found = {}
    for path in (p for p in paths if p not in links):
        found[path] = hidden(g, own, path)
        bounded(sum(map(len, found.values())), ALL_TEXTS, "its configuration files", "all of them together")
    return found, links


def collect(g, job, own):
    """Texts by their path; the paths of fetched files with their names in the parent's folder; which paths exist."""
    found, links = texts(g, job, own)
    files, total = {}, 0
    for pattern, limit in job["files"].items():
        for path in matching(g, [pattern], FILES):
            size = g.filesize(path)
            bounded(size, limit, path)
            total += size
            bounded(total, ALL_FILES, pattern, "all that is fetched")
            bounded(len(files) + 1, FILES, pattern, unit="files")
            if (free := shutil.disk_usage(job["folder"]).free) < size + ROOM:
                raise Wrong("no-room", path=job["folder"], found=f"{free} bytes free", expected=f"{size + ROOM}")
            files[path] = f"file-{len(files)}"
            g.download(path, f"{job['folder']}/{files[path]}")
    present = [p for _, paths in named(g, job["present"], LISTING) for p in paths[:LISTING]]
    asked = [p for p in present if any(fnmatch.fnmatchcase(p, pattern) for pattern in job["links"])]
    known = {}
    ends = {p: end(g, p, known) for p in asked}
    there = {at for at in {*ends.values()} if is_file(g, at)}
    links |= {p: at for p, at in ends.items() if at in there}
    scripts = [p for p in (*found, *links) if any(fnmatch.fnmatchcase(p, pattern) for pattern in job["scripts"])]
    head = next((p for p in ("/sbin/init", "/bin/bash", "/bin/sh") if is_file(g, p)), None)
    return {
        "texts": {p: base64.b64encode(content).decode() for p, content in found.items()},
        "secrets": len(own.tokens),
        "files": files,
        "present": present,
        "links": links,
        "plain": [p for p in scripts if not g.statns(p)["st_mode"] & 0o111],
        "program": base64.b64encode(g.pread(head, 20, 0) if head else b"").decode(),
    }


def unchanged(g, job, own):
    """The guest's files are what the plan was made from, and there is room for the new initrd."""
    now = {e["path"]: hidden(g, own, e["path"]) if is_file(g, e["path"]) else None for e in job["edits"]}
    now = {path: content if content is None else hashlib.sha256(content).hexdigest() for path, content in now.items()}
    if differ := [edit["path"] for edit in job["edits"] if now[edit["path"]] != edit["before_sha256"]]:
        raise Wrong("changed", found=", ".join(differ))
    if initrd := job["initrd"]:
        need = 9 * g.filesize(initrd) // 4 + (2 << 20)  # the new one beside the old one, which is packed better; the kept one
        for folder in (initrd.rsplit("/", 1)[0] or "/", "/"):
            room = g.statvfs(folder)
            if (free := room["bfree"] * room["bsize"]) < need:
                raise Wrong("space", path=folder, found=f"{free} bytes free", expected=f"{need}")


def change(g, job, own, tell):
    """Make the edits, keep what was there, bring and run what is added, run the commands; gives the paths kept, and what ran.

    Nothing is touched if a file is not what the plan was made from. Files are written in place: owner, mode, label stay.
    """
    unchanged(g, job, own)
    kept = []

    def keep(path):
        g.mkdir_p((job["kept"] + path).rpartition("/")[0])
        g.cp_a(end(g, path, {}), job["kept"] + path)
        kept.append(path)

    for edit in job["edits"]:
        if edit["before_sha256"] is not None:
            keep(edit["path"])
        elif g.is_symlink(edit["path"]) or g.is_dir(edit["path"]):  # to /dev/null, say: whatever is written there is lost
            g.mkdir_p((job["kept"] + edit["path"]).rpartition("/")[0])
            g.mv(edit["path"], job["kept"] + edit["path"])
        if edit["after"] is None:
            g.rm(edit["path"])
        else:
            with contextlib.suppress(RuntimeError):  # there already, by a link
                g.mkdir_p(edit["path"].rpartition("/")[0] or "/")
            g.write(edit["path"], own.restore(base64.b64decode(edit["after"])))
    if job["initrd"]:
        keep(job["initrd"])
        with contextlib.suppress(RuntimeError):  # mkinitrd of Enterprise Linux 5 wants a loop device, that of 3 an ext2 one
            g.filesystem_available("ext2")  # which loads it where no other driver is called so
            g.modprobe("loop")
    ran, failed = job["bring"](g, job, own, tell)  # before the initrd is made, which then has what these changed
    if failed:
        raise Wrong(**failed)
    run(g, job["commands"], tell)
    return kept, ran


def run(g, commands, tell):
    """Run programs of the guest until one fails. They are one script: for each call, libguestfs mounts five file systems."""
    told = [" ".join(argv) for argv in commands]
    lines = [" ".join(map(shlex.quote, argv)) for argv in commands]
    if not commands:
        return
    tell("in the guest: " + "; ".join(told))
    try:
        g.command(["/bin/sh", "-c", "\n".join(f"{line} || {{ echo command {n} >&2; exit 1; }}" for n, line in enumerate(lines))])
    except RuntimeError as e:
        words, _, n = str(e).rstrip().rpartition("command ")
        path = told[int(n)] if n in map(str, range(len(told))) else told[0]
        raise Wrong("command", path=path, found=(words or n)[-2000:].rstrip()) from None


if __name__ == "__main__":
    main()
