r"""What a guest calls its disks and all that is on them: by which partition it means, and by what that is called afterwards.

A guest's first disk becomes /dev/sda on every controller that vSphere offers, the next one /dev/sdb. Before, Linux called each
by what Xen's configuration says and by its own driver: the disk sda of the configuration is sda under a kernel of Xen's own,
xvda for most others, and xvde for Enterprise Linux 6 and its kin, which count from e on.

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
    match = re.match(r"(xvd|sd|hd|vd)([a-z]{1,2})\d*$|d(\d+)(?:p\d+)?$", vdev)
    if match is None:
        return ()
    kind, letters = (match[1], match[2]) if match[1] else ("xvd", lettered(int(match[3])))
    later = ["xvd" + lettered(_index(letters) + 4)] if kind == "sd" else []
    return tuple(dict.fromkeys([kind + letters, *(k + letters for k in _KINDS), *later]))


def new(place: int) -> str:
    """What the guest's disk of this place, from 0, is called on the new machine."""
    return "/dev/sd" + lettered(place)


def place(vdev: str) -> "tuple[int, str]":
    """Where a disk of Xen's configuration stands among the others: xvda is before xvdb, d0 before d1."""
    match = re.match(r"(xvd|sd|hd|vd)([a-z]{1,2})$|(d)(\d+)$", vdev)
    if match is None:
        return 0, vdev
    return (_index(match[2]), match[1]) if match[1] else (int(match[4]), match[3])


def names_xen(text: str, disks: int = 1) -> "list[str]":
    """The lines, comments aside, that name a Xen console, or a disk by a name that none of so many has on the new machine."""
    others = "|".join(lettered(n) for n in range(1, disks))
    ours = re.compile(f"/dev/+sd(?:{others})(?![a-z])" if others else "(?!)")
    lines = [line.strip() for line in text.split("\n") if not line.lstrip().startswith(("#", ";"))]
    told = [line for line in lines if _TOLD.search(ours.sub("", _LABELS.sub("", line)))]
    return [line for line in told if not ("/dev/hd" in line and optical(line))]


def optical(line: str) -> bool:
    """Whether a line of fstab is about a drive for CDs or DVDs, by its place or its kinds of file systems."""
    return bool(_OPTICAL.search(line))


def lettered(index: int) -> str:
    """0 is a, 25 is z, 26 is aa."""
    return (lettered(index // 26 - 1) if index > 25 else "") + chr(97 + index % 26)


def _index(letters: str) -> int:
    index = 0
    for letter in letters:
        index = 26 * index + ord(letter) - 96
    return index - 1


class Disk:
    """The disks of a guest. `partitions` are as the worker describes them; `names` are those of the first whole disk, as `inside`
    gives them, and are learnt from its root where nobody knows; `further` are those of each other disk."""

    def __init__(
        self,
        partitions: "list[dict[str, str]]" = [],  # noqa: B006
        names: "tuple[str, ...]" = (),
        further: "tuple[tuple[str, ...], ...]" = (),
    ) -> None:
        self.partitions, self._known = partitions, bool(names)
        self._said = {own[0] for own in (names, *further) if own}
        self.disks = [new(n) for n in range(1 + len(further))]
        self._own = {}  # type: dict[str, str]
        # a disk's own name comes before what another one may be called by another driver
        each = [list(own) for own in (names or ORDINARY, *further)]
        ranked = [(rank, n) for n, own in enumerate(each) for rank in range(len(own))]
        for rank, n in sorted(ranked):
            if rank == 1 and further:
                for there in self.disks:
                    self._own.setdefault(there[5:], there)
            self._own.setdefault(each[n][rank], self.disks[n])
        self.finds_uuids = False  # whether the guest's initrd understands root=UUID=
        self._bare = {}  # type: dict[str, str]  # names of a whole disk that mean its one file system
        self._devices = {p["device"] for p in partitions}
        self.root = next((p["device"] for p in partitions if p.get("mountpoint") == "/"), "")

    def called(self, disk: str) -> "tuple[str, ...]":
        """What the guest may call one whole disk in /dev, its new name too."""
        return tuple(sorted({disk[5:], *(n for n, there in self._own.items() if "/" not in n and there == disk)}))

    def learn(self, spec: str, root: str) -> None:
        """The guest's fstab calls its root, which is the partition `root`, `spec`: so the whole disk's name is known.

        A disk without a partition table is its one file system: `/dev/xvda` is then a partition afterwards.
        """
        self.root = root
        stem, number = _split(spec)
        disk, own = split(root)
        if not stem or not disk:
            return
        if number and number == own and (not self._known or "/" in stem):
            self._own[stem] = disk
        elif not number and (not self._known or self._moved(stem)):
            self._own[stem] = disk
            self._bare = {name: root for name, there in self._own.items() if there == disk}

    def _moved(self, stem: str) -> str:
        """The new name of the disk that this one is; empty for none of the guest's."""
        if stem in self._own:
            return self._own[stem]
        # of emulated disks the first is hda, whatever its bus
        told = re.search(r"QEMU_HARDDISK_QM0000(\d)$|-ata-(\d)(?:\.0)?$|XEN\w*disk(\d)$|-ide-0:0$", stem)
        if told is None:
            return ""
        index = int(told[1] or told[2] or 1) - 1 if told[3] is None else int(told[3])
        return self._own.get("hd" + lettered(index), "")

    def is_called(self, word: str) -> bool:
        """Whether a word names the disk, or a partition of it, as Xen's configuration does."""
        return _split(word)[0] in self._said

    def is_whole(self, word: str) -> bool:
        """Whether a word means all of a disk, and no partition that it becomes, and no file system that it is."""
        stem, number = _split(word)
        there = self._moved(stem) if stem else ""
        return bool(there) and not number and stem not in self._bare and there not in self._devices

    def numbered(self, device: str) -> "list[str]":
        """What else a partition, by its new name, was called by: links of its disk's numbers, and of Xen's."""
        found = []
        disk, word = split(device)
        number = int(word or 0)
        for kind, own in (re.findall(r"(xvd|hd)([a-z]+)$", n)[0] for n in self.called(disk) if n.startswith(("xvd", "hd"))):
            index = _index(own)
            major, minor = (202, index << 4) if kind == "xvd" else ((3, 22)[index // 2 % 2], index % 2 << 6)
            whole = major << 8 | minor
            links = (f"block/{major}:{minor + number}", f"disk/by-path/xen-vbd-{whole}-part{number}")
            found += [f"/dev/{link}" for link in (*links, f"disk/by-path/xen-vbd-{whole + number}") if minor < 256]
        return found

    def afterwards(self, word: str, whole: bool = False, root: bool = False) -> str:
        """The new name of a device; the same word where that is bound to no machine, or is of no disk of the guest's.

        `whole` where a whole disk is meant, as by a boot loader; `root` where the root is, as by a kernel.
        """
        stem, number = _split(word)
        there = self._moved(stem) if stem else ""
        if not there:
            return word
        if number or whole:
            return there + number
        of_root = self.root if root and split(self.root)[0] and there not in self._devices else there
        return self._bare.get(stem) or of_root

    def lasting(self, text: str) -> str:
        """The same device by its UUID, where there are several disks: which of them the kernel finds first may change at any
        start, since Linux 5.1 looks at all of them at once. What has no UUID, or shares it, stays as it is."""
        device = text.strip()
        uuid = self._alone(device, "uuid") if split(device)[0] else ""
        return text.replace(device, f"UUID={uuid}") if uuid else text

    def steady(self, text: str) -> str:
        """A text in which udev's links stand for partitions, and for disks without any, where there are several disks: by what
        udev finds in the partition table, else on them. What has neither keeps its letter, which may be another disk's one day.
        """

        def link(match: "re.Match[str]") -> str:
            tags = ((key, self._alone(match[0], key)) for key in ("partuuid", "uuid"))
            return next((f"/dev/disk/by-{key}/{tag}" for key, tag in tags if tag), match[0])

        return re.sub(r"/dev/sd[a-z]{1,2}\d*(?![\w*?\[])", link, text)

    def _alone(self, device: str, key: str) -> str:
        """The UUID of a partition that no other one has; empty where there is none, or but one disk, whose name is sure."""
        found = next((p[key] for p in self.partitions if p["device"] == device and p.get(key)), "")
        return found if len(self.disks) > 1 and sum(p.get(key) == found for p in self.partitions) == 1 else ""

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
        device = re.sub(r"^/dev/md/(?:d?)(?=\d+$)", "/dev/md", device)
        return device if device in self._devices else None

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


def split(device: str) -> "tuple[str, str]":
    """The disk's new name and the partition's number: `/dev/sdb2` is ('/dev/sdb', '2'); empty for what is on no disk alone."""
    match = re.match(r"(/dev/sd[a-z]{1,2})(\d*)$", device)
    return (match[1], match[2]) if match else ("", "")


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
    return kind + lettered(disk) + (str(part) if part else "") if disk < 702 else ""
