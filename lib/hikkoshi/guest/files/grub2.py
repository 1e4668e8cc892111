"""GRUB 2: its menu (grub.cfg), the settings that it is made from (/etc/default/grub), and its environment (grubenv).

grub.cfg is a script; what grub-mkconfig of Debian, Ubuntu and Enterprise Linux 7 writes is read, and nothing is executed.
After the GRUB manual 2.06, sections "Shell-like scripting" and "Environment block".
"""

import re
import shlex
from collections.abc import Mapping

from hikkoshi.guest.device import UNKNOWN, Disk
from hikkoshi.guest.files import arguments, grub, text
from hikkoshi.guest.files.grub import Entry

_KERNEL = ("linux", "linux16", "linuxefi")
_INITRD = ("initrd", "initrd16", "initrdefi")
_XEN = ("multiboot", "multiboot2", "xen_hypervisor")
_MODULE = ("module", "module2", "xen_module")
ENTRIES = "/boot/loader/entries/"
_SIGNATURE = "# GRUB Environment Block\n"
# `set default_kernelopts="root=…"` in menus of Enterprise Linux 8
_KERNELOPTS = re.compile(r"(\s*set\s+\w*kernelopts=)(\"[^\"]*\"|'[^']*'|\S+)")


def _split(body: str) -> list[str]:
    """A line's words without their quotes; empty for what is no whole command."""
    try:
        return shlex.split(body, comments=True)
    except ValueError:
        return []


def entries(cfg: str) -> list[Entry]:
    """The menu's entries in order, those of submenus too; paths are those of the file system that GRUB reads."""
    found: list[tuple[str, dict[str, list[list[str]]]]] = []
    open_entry = False
    for line in text.lines(cfg):
        words = _split(text.parts(line)[0])
        if words[:1] == ["menuentry"] and len(words) > 1:
            found.append((words[1], {}))
            open_entry = True
        elif words[:1] == ["}"]:
            open_entry = False
        elif words and open_entry:
            found[-1][1].setdefault(words[0], []).append(words[1:])
    return [_entry(n, title, commands) for n, (title, commands) in enumerate(found)]


def _entry(index: int, title: str, commands: Mapping[str, list[list[str]]]) -> Entry:
    def first(names: tuple[str, ...]) -> list[str]:
        return next((commands[name][0] for name in names if commands.get(name)), [])

    kernel, initrd, hypervisor = first(_KERNEL), first(_INITRD), bool(first(_XEN))
    if hypervisor:
        modules = [m for name in _MODULE for m in commands.get(name, [])]
        modules = [[w for w in m if not w.startswith("--")] for m in modules]
        kernel, initrd = (modules[0] if modules else []), (modules[1] if len(modules) > 1 else [])
    return Entry(index, title, "", kernel[0] if kernel else "", initrd[-1] if initrd else "", tuple(kernel[1:]), hypervisor)


def default(cfg: str, environment: Mapping[str, str] | None = None) -> int:
    """The index of the entry that is booted: by number, by title, by id, or by the environment's saved_entry; else the first.

    Entries of a submenu are named behind it: `1>2`, or by their titles or ids.
    """
    places = _places(cfg)
    wanted = [m[1] or m[2] for m in re.finditer(r'^\s*set default=(?:"([^"]*)"|(\S*))', cfg, re.M)]
    wanted = [w for w in wanted if w != "${next_entry}"]
    name = wanted[-1] if wanted else "0"
    if name == "${saved_entry}":
        name = (environment or {}).get("saved_entry") or next((w for w in reversed(wanted) if "$" not in w), "0")
    return next((n for n, names in enumerate(places) if name in names), 0)


def _places(cfg: str) -> list[set[str]]:
    """All the names by which `default` may mean each entry."""
    found: list[set[str]] = []
    above: tuple[set[str], int] | None = None  # names of the submenu that is open, and entries in it until now
    top = depth = 0
    for line in text.lines(cfg):
        words = _split(text.parts(line)[0])
        if words[:1] in (["menuentry"], ["submenu"]) and len(words) > 1:
            names = {words[1], *_identifiers(words)}
            if words[0] == "submenu":
                above, top, depth = ({str(top), *names}, 0), top + 1, depth + 1
                continue
            if above:
                inner, count = above
                own = {str(count), *names}
                found.append({f"{a}>{b}" for a in inner for b in own} | _identifiers(words))
                above = (inner, count + 1)
            else:
                found.append({str(top), *names})
                top += 1
            depth += 1
        elif words[:1] == ["}"] and depth:
            depth -= 1
            if depth == 0:
                above = None
    return found


def _identifiers(words: list[str]) -> set[str]:
    for option in ("--id", "$menuentry_id_option"):
        if option in words[:-1]:
            return {words[words.index(option) + 1]}
    return set()


def prepared(cfg: str, index: int, disk: Disk = UNKNOWN) -> str:
    """The menu that boots entry `index`, with every kernel's arguments put right.

    Where another entry is the default, the last word on it is put behind all else that the file decides.
    """
    new = custom(cfg, disk)
    if default(cfg) == index or index >= len(_places(cfg)):
        return new
    places = _places(cfg)
    # ids first, which are long and stay; a place in the menu where another entry has all its names too
    unique = [n for n in places[index] if sum(n in names for names in places) == 1]
    name = max(sorted(unique), key=lambda n: (not n.replace(">", "").isdigit(), len(n)), default=str(index))
    out, done = [], False
    for line in text.lines(new):
        if not done and _split(text.parts(line)[0])[:1] in (["menuentry"], ["submenu"]):
            out.append(f'set default="{name}"{text.ending(new)}')
            done = True
        out.append(line)
    return "".join(out)


def custom(cfg: str, disk: Disk = UNKNOWN) -> str:
    """A menu, or a part of one that somebody wrote, with every kernel's arguments put right."""

    def line(body: str) -> str:
        words = body.split(maxsplit=1)
        if words and words[0] in (*_KERNEL, *_MODULE):
            return grub.behind_path(body, r"\s*\w+\s+(?:--\S+\s+)*", disk)
        if match := _KERNELOPTS.match(body):
            quote = match[2][0] if match[2][0] in "\"'" else ""
            inner = match[2].strip(quote) if quote else match[2]
            return f"{match[1]}{quote}{arguments.prepared(inner, disk)}{quote}{body[match.end() :]}"
        return body

    return text.edit(cfg, line)


def loader_entries(texts: Mapping[str, str]) -> list[Entry]:
    """The entries of the Boot Loader Specification, in files of their own, the newest first, as `blscfg` puts them in the menu.

    The title is the file's name, by which the environment's saved_entry means it.
    """
    names = [path[len(ENTRIES) :].removesuffix(".conf") for path in texts if path.startswith(ENTRIES)]
    names.sort(key=order, reverse=True)
    return [_loader_entry(n, name, texts[f"{ENTRIES}{name}.conf"]) for n, name in enumerate(names)]


def _loader_entry(index: int, name: str, conf: str) -> Entry:
    keys: dict[str, list[str]] = {}
    for line in text.lines(conf):
        words = text.parts(line)[0].split()
        if words and not words[0].startswith("#"):
            keys.setdefault(words[0], []).extend(words[1:])
    kernel, options = keys.get("linux", []), tuple(keys.get("options", ()))
    initrds = [word for word in keys.get("initrd", []) if not word.startswith("$")]  # the last is the kernel's own
    return Entry(index, name, "", kernel[0] if kernel else "", initrds[-1] if initrds else "", options, False)


def loader_entry(conf: str, disk: Disk = UNKNOWN) -> str:
    """An entry of the Boot Loader Specification (Enterprise Linux 8 and later) with its options put right."""

    def line(body: str) -> str:
        start = re.match(r"\s*options\s+", body)
        return start[0] + arguments.prepared(body[start.end() :], disk) if start else body

    return text.edit(conf, line)


def environment(block: str) -> dict[str, str]:
    """The settings in an environment block; none where it is not one."""
    if not block.startswith(_SIGNATURE):
        return {}
    pairs = (line.partition("=") for line in block[len(_SIGNATURE) :].split("\n") if "=" in line)
    return {key: value.replace("\\n", "\n").replace("\\\\", "\\") for key, _, value in pairs if not key.startswith("#")}


def with_arguments(block: str, disk: Disk = UNKNOWN) -> str:
    """The environment block with `kernelopts` put right, as long as it was; as it is where it has no room for that.

    Enterprise Linux 8 keeps the kernels' arguments there.
    """
    if "kernelopts" not in environment(block):
        return block

    def change(body: str) -> str:
        if not body.startswith("kernelopts="):
            return body
        return "kernelopts=" + arguments.prepared(body[len("kernelopts=") :], disk)

    content = text.edit(block.rstrip("#"), change)
    room = len(block.encode()) - len(content.encode())
    return content + "#" * room if room >= 0 else block


def order(version: str) -> list[tuple[int, int, str]]:
    """A sort key of kernels' versions, as rpm compares them: numbers by value and above letters."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|[A-Za-z]+", version)]
