r"""What a guest calls its disk and all that is on it: by which partition it means, and by what that is called afterwards.

A guest has one disk here, and it becomes /dev/sda on every controller that vSphere offers. Before, Linux called it by what
Xen's configuration says and by its own driver: the disk sda of the configuration is sda under a kernel of Xen's own, xvda for
most others, and xvde for Enterprise Linux 6 and its kin, which count from e on.

The worker runs in the system's own Python, of 3.6 as well, and loads this file by itself: nothing but the standard library here.

Sources: Linux, drivers/block/xen-blkfront.c (xlvbd_init_blk_queue, xen_translate_vdev); Xen, docs/man/xen-vbd-interface(7);
fstab(5), blkid(8), systemd's rules 60-persistent-storage.rules and udev-builtin-path_id.c.
"""

import re

NEW = "/dev/sda"
ORDINARY = ("xvda", "hda", "sda", "vda")  # where nobody said what Xen's configuration calls the disk
_KINDS = ("xvd", "hd", "sd", "vd")
# a device that is bound to the machine it is in, in the middle of any text
_BOUND = re.compile(
    r"/dev/+(?:(?:evms/)?(?:(?:xvd|[hsv]d)[a-z]{1,2})\d{0,3}(?![A-Za-z0-9_])|block/\d+:\d+(?!\d)"
    r"|disk/by-(?:path|id)/(?!dm-|lvm-pv|md-)[\w.:+@=#\\-]*\w)|(?<![\w.-])ID=(?!dm-|lvm-pv|md-)[\w.:+@=#\\-]*\w"
)
_LABELS = re.compile(
    r"LABEL=(?:\"[^\"]*\"|'[^']*'|\S+)|/dev/(?:mapper|disk/by-(?:part)?label)/\S+"
)  # may look like a disk's name
_TOLD = re.compile(  # what is still bound to Xen, or to a disk that does not move, in a line that is no comment
    r"/dev/+vd[a-z]|/dev/+(?:hd[a-z]|sd[b-z])(?:\d|\b)|dev-(?:xvd[a-z]|hd[a-z]\d)|(?<![\w/.-])xen/(?:xvd|\d)"
    r"|(?:/dev/(?:\S*/)?|/sys/(?:\S*/)?|(?<![\w/.-]))xvd(?:[a-z]{1,2}\d*(?:p\d+)?)?(?![A-Za-z0-9_])"
    r"|/dev/disk/by-(?:path|id)/(?!dm-|lvm-pv|md-)|\bxen-v(?:bd|if)-|/dev/(?:evms|discs|ide|scsi|block)/"
    r"|\b[xh]vc(?:\d+\b|[*?\[])|\bearlyprintk=(?:\w+,)*xen"
)
_OPTICAL = re.compile(r"iso9660|\budf\b|\bcd-?(?:r|w|\d|\b)|\bdvd")


def inside(vdev: str) -> "tuple[str, ...]":
    """What Linux may call the disk that Xen's configuration calls `vdev`; nothing where that is no known form."""
    if re.match(r"\d+$|0x[0-9a-fA-F]+$", vdev):
        vdev = named(int(vdev, 0))
    match = re.match(r"(xvd|sd|hd)([a-z]{1,2})\d*$|d(\d+)(?:p\d+)?$", vdev)
    if match is None:
        return ()
    kind, letters = (match[1], match[2]) if match[1] else ("xvd", _letters(int(match[3])))
    later = ["xvd" + _letters(_index(letters) + 4)] if kind == "sd" else []
    return tuple(dict.fromkeys([kind + letters, *(k + letters for k in _KINDS), *later]))


def names_xen(text: str) -> "list[str]":
    """The lines, comments aside, that name a Xen console, or a disk by a name that it does not have on the new machine."""
    lines = [line.strip() for line in text.split("\n") if not line.lstrip().startswith(("#", ";"))]
    return [line for line in lines if _TOLD.search(_LABELS.sub("", line)) and not ("/dev/hd" in line and optical(line))]


def optical(line: str) -> bool:
    """Whether a line of fstab is about a drive for CDs or DVDs, by its place or its kinds of file systems."""
    return bool(_OPTICAL.search(line))


class Disk:
    """The disk of a guest. `partitions` are as the worker describes them; `names` are those of the whole disk, as `inside`
    gives them, and are learnt from its root where nobody knows."""

    def __init__(self, partitions: "list[dict[str, str]]" = [], names: "tuple[str, ...]" = ()) -> None:  # noqa: B006
        self.partitions, self._known, self._said = partitions, bool(names), names[:1]
        self._own = set(names or ORDINARY)
        self._bare = {}  # type: dict[str, str]  # names of the whole disk that mean its one file system
        self.root = next((p["device"] for p in partitions if p.get("mountpoint") == "/"), "")

    @property
    def names(self) -> "tuple[str, ...]":
        """What the guest may call the whole disk in /dev, the new name too."""
        return tuple(sorted({"sda", *(n for n in self._own if "/" not in n)}))

    def learn(self, spec: str, root: str) -> None:
        """The guest's fstab calls its root, which is the partition `root`, `spec`: so the whole disk's name is known.

        A disk without a partition table is its one file system: `/dev/xvda` is then a partition afterwards.
        """
        self.root = root
        stem, number = _split(spec)
        if not stem or not root.startswith(NEW):
            return
        if number and root == NEW + number and (not self._known or "/" in stem):
            self._own.add(stem)
        elif not number and (not self._known or self._is_own(stem)):
            self._own.add(stem)
            self._bare = dict.fromkeys(self._own, root)

    def _is_own(self, stem: str) -> bool:
        if stem in self._own:
            return True
        # of emulated disks the first is hda, whatever its bus
        told = re.search(r"QEMU_HARDDISK_QM0000(\d)$|-ata-(\d)(?:\.0)?$|XEN\w*disk(\d)$|-ide-0:0$", stem)
        if told is None:
            return False
        index = int(told[1] or told[2] or 1) - 1 if told[3] is None else int(told[3])
        return "hd" + _letters(index) in self._own

    def is_called(self, word: str) -> bool:
        """Whether a word names the disk, or a partition of it, as Xen's configuration does."""
        return _split(word)[0] in self._said

    def is_whole(self, word: str) -> bool:
        """Whether a word means all of the disk, and no partition that it becomes."""
        stem, number = _split(word)
        return bool(stem) and self._is_own(stem) and not number and stem not in self._bare

    def numbered(self, number: int) -> "list[str]":
        """What else a partition of the disk was called by: links of its numbers, and of Xen's."""
        found = []
        for kind, letters in (re.findall(r"(xvd|hd)([a-z]+)$", name)[0] for name in self.names if name.startswith(("xvd", "hd"))):
            index = _index(letters)
            major, minor = (202, index << 4) if kind == "xvd" else ((3, 22)[index // 2 % 2], index % 2 << 6)
            whole = major << 8 | minor
            links = (f"block/{major}:{minor + number}", f"disk/by-path/xen-vbd-{whole}-part{number}")
            found += [f"/dev/{link}" for link in (*links, f"disk/by-path/xen-vbd-{whole + number}") if minor < 256]
        return found

    def afterwards(self, word: str, whole: bool = False, root: bool = False) -> str:
        """The new name of a device; the same word where that is bound to no machine, or is none of this disk.

        `whole` where a whole disk is meant, as by a boot loader; `root` where the root is, as by a kernel.
        """
        stem, number = _split(word)
        if not stem or not self._is_own(stem):
            return word
        if number or whole:
            return NEW + number
        return self._bare.get(stem) or (self.root if root and self.root.startswith(NEW) else NEW)

    def renamed(self, text: str, whole: bool = False, root: bool = False) -> str:
        """`renamed('root=/dev/xvda2') == 'root=/dev/sda2'`; LABEL=, UUID= and LVM's names stay as they are."""
        return _BOUND.sub(lambda match: self.afterwards(match[0], whole, root), text)

    def in_grub(self, text: str) -> str:
        """A text with the first disk of a BIOS, as GRUB calls it, for this disk as GRUB calls it under Xen: xen/xvda."""

        def first(match: "re.Match[str]") -> str:
            name = named(int(match[1])) if match[1].isdigit() else match[1]
            return "hd0" if self.afterwards("/dev/" + name, whole=True) == NEW else match[0]

        return re.sub(r"(?<![\w/.-])xen/(xvd[a-z]+|\d{3,9})(?!\w)", first, text)

    def partition(self, spec: str) -> "str | None":
        """The device, by its new name, that a word of fstab, crypttab or a kernel's arguments means; None where there is none."""
        key, value = _tag(spec)
        if key:
            return self._tagged(key, value)
        plain = unescaped(spec)
        mapped = re.match(r"/dev/(?:mapper/|disk/by-id/dm-name-)(.+)$", plain)
        device = "/dev/" + _mapped(mapped[1]) if mapped else self.afterwards(plain)
        return next((p["device"] for p in self.partitions if p["device"] == device), None)

    def lacks(self, spec: str) -> bool:
        """Whether a word names a label or UUID that is on none of the partitions; not where one of these hides others."""
        key, value = _tag(spec)
        if not key or any(p.get("fstype") in ("crypto_LUKS", "linux_raid_member") for p in self.partitions):
            return False
        return any(p.get(key) for p in self.partitions) and self._tagged(key, value) is None

    def _tagged(self, key: str, value: str) -> "str | None":
        def forms(word: str) -> "set[str]":  # blkid, too, writes a name for udev
            either = {word, unescaped(word)}
            return {form.lower() for form in either} if key.endswith("uuid") else either

        return next((p["device"] for p in self.partitions if p.get(key) and forms(p[key]) & forms(value)), None)


UNKNOWN = Disk()  # of which nobody knows anything


def unescaped(word: str) -> str:
    r"""A word of fstab, or a link of udev's, as it is meant: `my\040disk` and `my\x20disk` have a blank."""
    octal = re.sub(r"\\([0-3][0-7]{2})", lambda m: chr(int(m[1], 8)), word)
    return re.sub(r"(?:\\x[0-9a-fA-F]{2})+", lambda m: bytes.fromhex(m[0].replace("\\x", "")).decode("utf-8", "replace"), octal)


def _tag(spec: str) -> "tuple[str, str]":
    """`LABEL=/boot` and `/dev/disk/by-label/boot`: the key, in small letters, and its value; ("", "") for what is neither."""
    tag = re.match(r"(LABEL|UUID|PARTLABEL|PARTUUID)=(.*)$", spec.strip("\"'"))
    link = re.match(r"/dev/disk/by-(label|uuid|partlabel|partuuid)/(.+)$", unescaped(spec))
    return (tag[1].lower(), tag[2].strip("\"'")) if tag else (link[1], link[2]) if link else ("", "")


def _mapped(name: str) -> str:
    """The volume that the device mapper calls `vg_a--b-root`: it doubles the hyphens of each of the two names."""
    return "/".join(part.replace("\0", "-") for part in name.replace("--", "\0").split("-"))


def _split(word: str) -> "tuple[str, str]":
    """The whole disk's name and the partition's number, empty where it is all of it: `/dev/xvda2` is ('xvda', '2')."""
    word = re.sub(r"^/dev/+(?:evms/)?", "/dev/", re.sub("^ID=", "/dev/disk/by-id/", word))
    match = re.match(r"/dev/((?:xvd|[hsv]d)[a-z]{1,2})(\d*)$", word)
    if match:
        return match[1], match[2]
    link = re.match(r"/dev/disk/(by-(?:path|id)/(?!dm-|lvm-pv|md-).+?)(?:-part(\d+))?$", word)
    numbers = re.match(r"/dev/block/(\d{1,3}):(\d{1,3})$", word)
    xen = re.match(r"by-(?:path|id)/xen-vbd-(\d{1,10})$", link[1]) if link else None
    if xen or numbers:
        stem, number = _split("/dev/" + named(int(xen[1]) if xen else int(numbers[1]) << 8 | int(numbers[2]) if numbers else 0))
        return stem, (link[2] if link else "") or number
    return (link[1], link[2] or "") if link else ("", "")


def named(number: int) -> str:
    """What Xen's number of a virtual disk, or a kernel's of a device, means: 51714 is xvda2; empty for no known one."""
    if number & 1 << 28:
        kind, disk, part = "xvd", number >> 8 & 0xFFFFF, number & 0xFF
    else:
        major, minor = number >> 8, number & 0xFF
        hd = {3: 0, 22: 2, 33: 4, 34: 6, 56: 8, 57: 10, 88: 12, 89: 14, 90: 16, 91: 18}
        sd = {8: 0, **{m: m - 64 for m in range(65, 72)}, **{m: m - 120 for m in range(128, 136)}}
        if major in hd:
            kind, disk, part = "hd", hd[major] + (minor >> 6), minor & 63
        elif major in sd or major == 202:
            kind, disk, part = "sd" if major in sd else "xvd", 16 * sd.get(major, 0) + (minor >> 4), minor & 15
        else:
            return ""
    return kind + _letters(disk) + (str(part) if part else "") if disk < 702 else ""


def _letters(index: int) -> str:
    """0 is a, 25 is z, 26 is aa."""
    return (_letters(index // 26 - 1) if index > 25 else "") + chr(97 + index % 26)


def _index(letters: str) -> int:
    index = 0
    for letter in letters:
        index = 26 * index + ord(letter) - 96
    return index - 1
