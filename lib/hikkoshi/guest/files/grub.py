"""GRUB legacy: its menu (grub.conf), and what has to change in it.

Source: GRUB 0.97, stage2/stage2.c (get_line_from_config) and stage2/cmdline.c.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hikkoshi.guest.device import UNKNOWN, Disk
from hikkoshi.guest.files import arguments, text

# from comments like `# kopt=root=/dev/xvda1 ro` Debian's update-grub makes new entries
_DEBIAN = re.compile(r"# (?:kopt|defoptions|xenkopt)\w*=")
_BLANK = r"(?:\s|\\\r?\n)"  # a line goes on behind a backslash


@dataclass(frozen=True)
class Entry:
    """One entry of the menu, paths as GRUB sees them: relative to the file system that `root` names."""

    index: int
    title: str
    root: str  # (hd0,0)
    kernel: str  # /vmlinuz-2.6.18-398.el5
    initrd: str  # /initrd-2.6.18-398.el5.img, or empty
    arguments: tuple[str, ...]
    hypervisor: bool  # the entry starts a Xen hypervisor, which then loads the kernel as a module
    identity: str = ""  # another name than the title by which the default may mean it


def _command(body: str) -> tuple[str, str]:
    """First word and rest of a line; `default=0`, `default 0` and `default = 0` are the same to GRUB."""
    match = re.match(r"\s*([^\s=#]+)(?:\s*=\s*|\s+|$)(.*)$", re.sub(r"\\\r?\n", " ", body))
    return (match[1].lower(), match[2].strip()) if match else ("", "")


def entries(menu: str) -> list[Entry]:
    """The menu's entries in order; one without a kernel (chainloader, another system) has an empty `kernel`."""
    top_root = ""
    found: list[dict[str, list[str]]] = []
    for line in text.logical(menu):
        name, rest = _command(text.parts(line)[0])
        if name == "title":
            found.append({"title": [rest]})
        elif found:
            found[-1].setdefault(name, []).append(rest)
        elif name == "root":
            top_root = rest
    return [_entry(index, commands, top_root) for index, commands in enumerate(found)]


def _entry(index: int, commands: dict[str, list[str]], top_root: str) -> Entry:
    kernel = [w for w in commands.get("kernel", [""])[0].split() if not w.startswith("--")]
    modules = [m.split() for m in commands.get("module", []) if m]
    initrd = commands.get("initrd", [""])[0].split()[:1]
    hypervisor = bool(kernel) and kernel[0].rsplit("/", 1)[-1].startswith("xen") and bool(modules)
    if hypervisor:
        kernel, initrd = modules[0], (modules[1][:1] if len(modules) > 1 else [])
    root = (commands.get("root") or commands.get("rootnoverify") or [top_root])[0]
    return Entry(
        index, commands["title"][0], root, kernel[0] if kernel else "", initrd[0] if initrd else "", tuple(kernel[1:]), hypervisor
    )


def default(menu: str) -> int:
    """The index of the entry that is booted: the first where the menu does not say, or says `saved`. The last word counts."""
    found = 0
    for line in text.logical(menu):
        name, rest = _command(text.parts(line)[0])
        if name == "title":
            break
        if name == "default":
            number = re.match(r"\d{1,6}", rest)
            found = int(number[0]) if number else 0
    return found


def prepared(menu: str, index: int, disk: Disk = UNKNOWN) -> str:
    """The menu that boots entry `index`, with every kernel's arguments put right.

    Every entry is changed: none of them will see a Xen disk again.
    """
    return text.edit(_with_default(menu, index), lambda body: _line(body, disk), text.logical)


def _with_default(menu: str, index: int) -> str:
    out: list[str] = []
    done = titles = False
    for line in text.logical(menu):
        body, end = text.parts(line)
        name, rest = _command(body)
        if name == "title" and not titles:
            titles = True
            if not done:
                out.append(f"default={index}{text.ending(menu)}")
        elif name == "default" and not titles:
            if done:
                continue  # GRUB would take the last one
            done = True
            if rest != str(index):
                body = f"default={index}"
        out.append(body + end)
    return "".join(out)


def _line(body: str, disk: Disk) -> str:
    if comment := _DEBIAN.match(body):
        return comment[0] + arguments.prepared(body[comment.end() :], disk)
    if _command(body)[0] not in ("kernel", "module"):
        return body
    return behind_path(body, rf"\s*\w+(?:\s*={_BLANK}*|{_BLANK}+)(?:--\S+{_BLANK}+)*", disk)


def behind_path(body: str, command: str, disk: Disk) -> str:
    """A line that loads a kernel with what stands behind its path put right; a hypervisor's own arguments stay."""
    start = re.match(command + r"\S+", body)
    if start is None or start[0].rsplit("/", 1)[-1].startswith("xen"):
        return body
    return start[0] + arguments.prepared(body[start.end() :], disk)


def in_script(line: str, commands: Sequence[str], disk: Disk) -> str:
    """A line of GRUB 2's script, with every command that loads a kernel put right, wherever it stands: behind `then`, or `{`."""
    before = r"(?:(?:'[^']*'|\"(?:\\.|[^\"\\])*\"|[^'\"])*?(?:\{|\bthen|\belse|\bdo)(?=\s))?\s*"
    head = re.compile(rf"{before}(?=(?:{'|'.join(commands)})\s)")

    def change(piece: re.Match[str]) -> str:
        start = head.match(piece[0])
        if start is None:
            return piece[0]
        said = re.sub(r"(?<=\s)(['\"])(console=[^\s'\"$]+)\1(?=\s|$)", r"\2", piece[0][start.end() :])
        return start[0] + behind_path(said, r"\w+\s+(?:--\S+\s+)*", disk)

    return re.sub(r"(?:'[^']*'|\"(?:\\.|[^\"\\])*\"|\\[\s\S]|[^;'\"\\])+", change, line)


def with_arguments(menu: str, index: int, wanted: Sequence[str]) -> str:
    """The menu with more arguments for the kernel of entry `index`, but for those of which it has some value already."""
    entry = -1

    def change(body: str) -> str:
        nonlocal entry
        name, rest = _command(body)
        entry += name == "title"
        if name != "kernel" or entry != index:
            return body
        given = {word.partition("=")[0] for word in rest.split()}
        missing = [word for word in wanted if word.partition("=")[0] not in given]
        return " ".join((body.rstrip(), *missing)) if missing else body

    return text.edit(menu, change, text.logical)
