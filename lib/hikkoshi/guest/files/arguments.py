r"""A kernel's arguments: the disks' new names, a last console that the new machine has, and nothing that only Xen understands.

Sources: Linux, Documentation/admin-guide/kernel-parameters.txt and serial-console.rst (the last console= is /dev/console);
Red Hat's and SUSE's kernels of Xen's own (xencons, independent_wallclock); dracut.cmdline(7).
"""

import re

from hikkoshi.guest.device import UNKNOWN, Disk, named, split
from hikkoshi.guest.files import text

# a word goes on behind an escaped character, and a line that goes on in the next one is a blank
_PIECES = re.compile(r"(?:\s|\\\r?\n)+|(?:\\(?!\r?\n)|[^\s\\])+")
_CONSOLE = re.compile(r"console=(?!$)")
_XEN_CONSOLE = re.compile(r"console=(?:/dev/)?(?:[xh]vc\d*|xen\w*)(?:,\S*)?$")
_SCREEN = re.compile(r"console=(?:/dev/)?tty\d*(?:,\S*)?$")
# a device by its numbers, as LILO wrote it, and old kernels of Xen's took it: root=ca01, resume=202:2
_NUMBERS = re.compile(r"((?:real_)?root|resume)=(?:(\d{1,3}):(\d{1,3})|(?:0x)?([0-9a-fA-F]{3,4}))$")
_XEN_MODULES = r"xen[-_]\w+(?:[,:]xen[-_]\w+)*"
_XEN_ONLY = re.compile(
    r"""(?:
    xen(?!omai)[\w-]*(?:\.[\w-]+)?(?:=\S*)?             # xencons, xen_emul_unplug, xen_blkfront.max, xenfb.video …
    |(?:early(?:printk|con))=(?:\w+,)*xen\S*|video=xenfb\S*
    |clock(?:source)?=xen|independent_wallclock(?:=\S*)?
    |(?:no)?(?:selfballooning|selfshrink)|(?:no)?tmem(?:\.\w+)?(?:=\S*)?
    |(?:blkfront|netfront|pcifront|netloop|pciback|blkback|netback|blktap)\.\S+
    |(?:ide\d|hd[a-t])=noprobe                          # in the way of Xen's drivers beside emulated disks
    |(?:kgdboc|systemd\.journald\.tty_path)=(?:/dev/)?[xh]vc\S*
    |(?:rd\.driver\.(?:pre|post|blacklist)|rd_?(?:NO_)?(?:loaddriver|blacklist)|mod(?:probe\.|ule_)blacklist)="""
    + _XEN_MODULES
    + r""")$""",
    re.X,
)
# settings that hold arguments, of the programs that write menus: grub-mkconfig's, YaST's, extlinux-update's, Alpine's
_SETTING = re.compile(
    r"^([ \t]*(?:export[ \t]+)?"
    r"(?:GRUB_CMDLINE_LINUX\w*|\w*APPEND\w*|EXTLINUX_(?:PARAMETERS|ROOT)|default_kernel_opts)[ \t]*\+?=[ \t]*)"
    r"((?:\"(?:\\[\s\S]|[^\"\\])*\"|'[^']*'|\\[\s\S]|[^\s\"'\\;#])+)",
    re.M,
)
_QUOTED = re.compile(r"(\"|')((?:\\[\s\S]|(?!\1)[^\\])*)(\1)|()((?:\\[\s\S]|[^\s\"'\\])+)()")


def prepared(line: str, disk: Disk = UNKNOWN) -> str:
    """The arguments in a text, whatever else is in it; what stays keeps its order and its blanks.

    Xen's consoles go. Where the last of the others is none of the screen's, a serial port say, which the new machine may not
    have, then the screen's is put behind it: the last one is where init and single user mode speak.
    """
    pieces = _PIECES.findall(line)
    consoles = [n for n, piece in enumerate(pieces) if _CONSOLE.match(piece)]
    kept = [n for n in consoles if not _XEN_CONSOLE.match(pieces[n])]
    gone = {n for n, piece in enumerate(pieces) if _XEN_ONLY.match(piece)} | set(consoles) - set(kept)
    if consoles and not (kept and _SCREEN.match(pieces[kept[-1]])):
        screens = [n for n in kept if _SCREEN.match(pieces[n])]
        screen = pieces[screens[-1]] if screens else "console=tty0"
        gone |= {n for n in kept if pieces[n] == screen}
        last = next((n for n in consoles if n > max(kept, default=-1)), consoles[-1])
        pieces[last] = screen if last in gone else f"{pieces[last]} {screen}"
        gone.discard(last)
    out: list[str] = []
    words = 0
    for n, piece in enumerate(pieces):
        blank = not piece.strip("\\ \t\r\n")
        if n in gone:
            if words and not out[-1].strip("\\ \t\r\n"):
                out.pop()  # the blank before the word that goes
        elif not (blank and n - 1 in gone and not words):  # where no word is before it, the blank behind it
            words += not blank
            out.append(piece if blank else _renamed(piece, disk))
    return "".join(out)


def _renamed(word: str, disk: Disk) -> str:
    numbers = _NUMBERS.match(word)
    if numbers is None:
        key, equals, device = disk.renamed(word, root=word.startswith(("root=", "real_root="))).partition("=")
        return key + equals + (disk.lasting(device) if disk.finds_uuids and key in ("root", "resume") else device)
    number = int(numbers[2]) << 8 | int(numbers[3]) if numbers[2] else int(numbers[4], 16)
    new = disk.afterwards("/dev/" + named(number), root=numbers[1] != "resume")
    return f"{numbers[1]}={new}" if split(new)[0] in disk.disks else word


def settings(content: str, disk: Disk = UNKNOWN) -> str:
    """A file of shell settings, from which menus are made: arguments put right in those that hold some, however they are
    quoted, joined with `+=` or spread over lines; in all others the disks' new names."""

    def change(match: re.Match[str]) -> str:
        def inner(piece: re.Match[str]) -> str:
            quote, value = piece[1] or "", piece[2] if piece[1] else piece[5]
            return quote + prepared(value, disk) + quote

        return match[1] + _QUOTED.sub(inner, match[2])

    new = _SETTING.sub(change, content)
    return text.edit(new, lambda body: body if body.lstrip().startswith("#") else disk.renamed(body))


def only_xen(content: str) -> set[str]:
    """The words in a text that only mean something under Xen."""
    lines = (line for line in content.split("\n") if not re.match(r"\s*#(?! \w+=)", line))
    return {word for line in lines for word in re.split(r"[\s\"']+", line) if _XEN_ONLY.match(word)}
