"""GRUB 2: its menu (grub.cfg), the settings that it is made from (/etc/default/grub), and its environment (grubenv).

grub.cfg is a script; of its commands those are followed that make the menu and choose its default.

Sources: the GRUB manual 2.06, "Shell-like scripting" and "Environment block"; GRUB, grub-core/normal/menu.c
(get_entry_number, menuentry_eq) and util/grub.d; Red Hat's grub-core/commands/blscfg.c.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hikkoshi.guest.device import UNKNOWN, Disk
from hikkoshi.guest.files import arguments, grub, text
from hikkoshi.guest.files.grub import Entry

_KERNEL = ("linux", "linux16", "linuxefi")
_INITRD = ("initrd", "initrd16", "initrdefi")
_XEN = ("multiboot", "multiboot2", "xen_hypervisor")
_MODULE = ("module", "module2", "xen_module")
_SIGNATURE = "# GRUB Environment Block\n"
_TOKEN = re.compile(  # a word with its quotes, a comment, or the end of a command
    r"(?P<word>(?:'[^']*'|\"(?:\\.|[^\"\\])*\"|\\[^\n]|(?!\#(?<![^\s;]\#))[^\s;&|'\"\\])+)"
    r"|\#[^\n]*|\\\r?\n|(?P<end>[\n;&|])|.",
    re.S,
)
_GIVEN = {"grub_platform": "pc", "grub_cpu": "i386", "menuentry_id_option": "--id"}  # variables of GRUB's own
_LONGEST, _DEEPEST = 60, 20  # of conditions, in words, and of submenus, one in the other: what is more is not looked at
_UNKNOWN = "\1"  # stands for what nobody knows here
# `set default_kernelopts="root=…"` in menus of Enterprise Linux 8, and any other variable with a console
_VARIABLE = re.compile(r"(\s*(?:set\s+)?(?:\w*kernelopts=|\w+=(?=[\"']?(?:[^\"'\n]*\s)?console=)))(\"[^\"]*\"|'[^']*'|\S+)")


@dataclass
class _Place:
    """An entry of the menu, or a submenu with places of its own."""

    names: tuple[str, ...]  # the id first, then the title
    index: int = -1  # of the entry
    inside: "list[_Place] | None" = None  # the submenu's


class Script:
    """What grub.cfg makes when GRUB executes it: the menu's entries, those of submenus too, and the one that is booted.

    `loaders` are the entries of the Boot Loader Specification, which `blscfg` puts where it stands; `sources` are files that the
    script may read, by their names. Of a condition that nobody can know here, both branches count.
    """

    def __init__(
        self,
        cfg: str,
        environment: Mapping[str, str] | None = None,
        loaders: Sequence[Entry] = (),
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self.entries: list[Entry] = []
        self._loaders, self._sources = loaders, dict(sources or {})
        self._values = {**_GIVEN, **(environment or {})}
        self._defaults: list[str] = []  # all that may be asked for, the last word last
        self._menu: list[_Place] = []
        self._menus = [self._menu]  # that are open, one in the other
        self._branches = _Branches()
        self._body: dict[str, list[list[str]]] | None = None  # of the entry, or the function, that is open
        self._title: tuple[str, ...] | None = None  # the entry's id and title
        self._bls = False
        self._run(cfg)
        if not self.entries:  # of a script that says it in a way of its own
            self._blscfg(self._menu)

    @property
    def default(self) -> int:
        """The index of the entry that is booted: the first where none is named, or none has that name."""
        return self.meant(self._defaults[-1] if self._defaults else "0")

    @property
    def sure(self) -> bool:
        """Whether no other entry may be booted. GRUB's versions differ in names that begin with a number."""
        clear = self._bls or not any(re.match(r"\d+\D", part) for value in self._defaults for part in value.split(">"))
        return clear and len({self.meant(value) for value in self._defaults}) < 2

    def meant(self, value: str) -> int:
        """The index of the entry that a default means: by its place, title or id; in a submenu, behind that of the submenu."""
        places: list[_Place] | None = self._menu
        index = 0
        while places:
            head, _, value = value.replace(">>", "\1").partition(">")
            head, value = head.replace("\1", ">"), value.replace("\1", ">>")
            number = re.match(r"\s*(\d{1,6})", head)
            place = next((p for p in places if head in p.names), None)
            if place is None:
                place = places[int(number[1]) if number and int(number[1]) < len(places) else 0]
            index, places = max(place.index, 0), place.inside
        return index

    def name(self, index: int) -> str:
        """What means this entry: ids or titles, which stay when entries come and go; places where these mean another."""
        way = _way(self._menu, index)
        words = [next(filter(self._plain, place.names), str(n)).replace(">", ">>") for n, place in way]
        name = ">".join(words)
        return name if self.meant(name) == index else ">".join(str(n) for n, _ in way)

    def _plain(self, name: str) -> bool:
        return bool(re.fullmatch(r"[^\"'$\\\s][^\"'$\\\n]*", name)) and (self._bls or not name[0].isdigit())

    def _run(self, script: str) -> None:
        for raw in commands(script):
            if self._body is None:
                words = self._branches.rest([self._expanded(word) for word in raw], self._sources)
                if words:
                    self._command(words)
            elif raw == ["}"]:
                if self._title is not None:
                    self._add(self._menus[-1], _entry(len(self.entries), self._title[-1], self._body), *self._title)
                self._body = None
            else:
                words = [word.replace("\0", "$") for word in raw if word not in ("then", "else", "do")]
                self._body.setdefault("".join(words[:1]), []).append(words[1:])

    def _command(self, words: list[str]) -> None:
        taken = self._branches.taken
        word, *rest = words
        if words[-1] == "{":
            self._opened(word, rest[:-1], taken)
        elif word == "}" and len(self._menus) > 1:
            self._menus.pop()
        elif taken is not False:
            self._executed(word, rest, taken)

    def _opened(self, word: str, options: list[str], taken: bool | None) -> None:
        names = _named(options)
        if word == "submenu":
            within = [] if len(self._menus) < _DEEPEST else self._menus[-1]
            if taken is not False and within is not self._menus[-1]:
                self._menus[-1].append(_Place(names, inside=within))
            self._menus.append(within)
        else:  # of an entry, or of a function
            self._body, self._title = {}, names if word == "menuentry" and taken is not False else None

    def _executed(self, word: str, rest: list[str], taken: bool | None) -> None:
        given = re.fullmatch(r"(\w+)=(.*)", rest[0] if word == "set" and rest else word, re.S)
        if word in ("blscfg", "bls_import"):
            self._blscfg(self._menus[-1])
        elif word in ("source", ".") and rest:
            self._run(self._sources.pop(rest[0].rpartition("/")[2], ""))  # once, or it would never end
        elif given and given[1] == "default":
            self._defaults = [given[2]] if taken else [*self._defaults, given[2]]
        elif given and (taken or given[1] not in self._values):
            self._values[given[1]] = given[2]

    def _blscfg(self, menu: list[_Place]) -> None:
        self._bls = bool(self._loaders)
        for loader in self._loaders:
            self._add(menu, replace(loader, index=len(self.entries)), loader.title, loader.identity)
        self._loaders = ()

    def _add(self, menu: list[_Place], entry: Entry, *names: str) -> None:
        menu.append(_Place(tuple(filter(None, names)), entry.index))
        self.entries.append(entry)

    def _expanded(self, word: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            return "y" if name.startswith("feature_") else _UNKNOWN if name == "?" else self._values.get(name, "")

        return re.sub(r"\$(?:\{(\w+|\?)\}|(\w+|\?))", value, word).replace("\0", "$")


def _way(menu: list[_Place], index: int) -> list[tuple[int, _Place]]:
    """The places from the top of the menu to an entry."""
    for n, place in enumerate(menu):
        if place.index == index:
            return [(n, place)]
        if inner := _way(place.inside or [], index):
            return [(n, place), *inner]
    return []


def commands(script: str) -> Iterator[list[str]]:
    r"""The commands of a script as words without their quotes, `{` at the end and `}` alone; a `$` that is one is `\0`."""
    words: list[str] = []
    for token in _TOKEN.finditer(script):
        word = token["word"]
        if word == "}" and words:
            yield words
            words = []
        if word is not None:
            words.append(_unquoted(word))
        if words and (word in ("{", "}") or token["end"]):
            yield words
            words = []
    if words:
        yield words


def _unquoted(word: str) -> str:
    def plain(piece: re.Match[str]) -> str:
        if piece[1] is not None:
            return piece[1].replace("$", "\0")
        inner = piece[0][1:-1] if piece[0][0] == '"' else piece[0]
        return re.sub(r"\\(.)", lambda m: "" if m[1] == "\n" else m[1].replace("$", "\0"), inner, flags=re.S)

    return re.sub(r"'([^']*)'|\"(?:\\.|[^\"\\])*\"|\\.", plain, word, flags=re.S)


class _Branches:
    """The conditions that are open: whether each one's branch is taken, and whether one before it was."""

    def __init__(self) -> None:
        self._open: list[tuple[bool | None, bool | None]] = []

    @property
    def taken(self) -> bool | None:
        """Whether what stands here is executed; None where nobody can know."""
        return _all(branch for branch, _ in self._open)

    def rest(self, words: list[str], files: Mapping[str, str]) -> list[str]:
        """What a command is besides words of conditions and loops."""
        while words and words[0] in ("then", "else", "do"):
            if words[0] == "else" and self._open:
                self._open[-1] = (_negated(self._open[-1][1]), True)
            words = words[1:]
        word = words[0] if words else ""
        if word in ("if", "while", "until", "for"):
            holds = _holds(words[1:], files) if word == "if" else None
            self._open.append((holds, holds))
        elif word == "elif" and self._open:
            before, holds = self._open[-1][1], _holds(words[1:], files)
            self._open[-1] = (_all((_negated(before), holds)), _any((before, holds)))
        elif word in ("fi", "done") and self._open:
            self._open.pop()
        else:
            return words
        return []


def _all(states: Iterable[bool | None]) -> bool | None:
    found = set(states)
    return False if False in found else None if None in found else True


def _any(states: Iterable[bool | None]) -> bool | None:
    return _negated(_all(map(_negated, states)))


def _negated(state: bool | None) -> bool | None:
    return None if state is None else not state


def _holds(words: list[str], files: Mapping[str, str]) -> bool | None:
    """Whether a condition holds; None where nobody can know here."""
    if words[:1] == ["["]:
        return _tested(words[1:-1], files)
    return _tested(words[1:], files) if words[:1] == ["test"] else None


def _tested(words: list[str], files: Mapping[str, str]) -> bool | None:
    known: bool | None = None
    if len(words) > _LONGEST or _UNKNOWN in words:
        return known
    for joint, joined in (("-o", _any), ("-a", _all)):
        if joint in words:
            at = words.index(joint)
            return joined((_tested(words[:at], files), _tested(words[at + 1 :], files)))
    if words[:1] == ["!"]:
        return _negated(_tested(words[1:], files))
    match words:
        case ["-f" | "-s" | "-e", path]:
            known = True if path.rpartition("/")[2] in files else None
        case ["-n", value] | [value]:
            known = bool(value)
        case ["-z", value]:
            known = not value
        case [one, "=" | "==" | "!=" as operator, other]:
            known = (one == other) == (operator != "!=")
    return known


def _named(words: list[str]) -> tuple[str, ...]:
    """Id, if there is one, and title among an entry's options."""
    identity, titles, left = "", [""], iter(words)
    for word in left:
        if word in ("--class", "--users", "--hotkey", "--source"):
            next(left, "")
        elif word == "--id":
            identity = next(left, "")
        elif word.startswith("--id="):
            identity = word[5:]
        elif not word.startswith("--"):
            titles.append(word)
    title = "".join(titles[:2])
    return (identity, title) if identity else (title,)


def _entry(index: int, title: str, commands: Mapping[str, list[list[str]]]) -> Entry:
    def first(names: tuple[str, ...]) -> list[str]:
        return next((commands[name][0] for name in names if commands.get(name)), [])

    kernel, initrd, hypervisor = first(_KERNEL), first(_INITRD), bool(first(_XEN))
    if hypervisor:
        modules = [m for name in _MODULE for m in commands.get(name, [])]
        modules = [[w for w in m if not w.startswith("--")] for m in modules]
        kernel, initrd = (modules[0] if modules else []), (modules[1] if len(modules) > 1 else [])
    return Entry(index, title, "", kernel[0] if kernel else "", initrd[-1] if initrd else "", tuple(kernel[1:]), hypervisor)


def prepared(
    cfg: str,
    index: int,
    disk: Disk = UNKNOWN,
    block: str = "",
    loaders: Sequence[Entry] = (),
    sources: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """The menu and the environment block that boot entry `index`, with every kernel's arguments put right.

    Where another entry is the default, or may be, the block says so if the menu asks it; else the last word on it is put behind
    all else that the menu decides. What is to be booted but once, or was tried, is forgotten.
    """
    new, kept = custom(cfg, disk), with_arguments(block, disk)

    def right(menu: str, remembered: str) -> bool:
        script = Script(menu, environment(remembered), loaders, sources)
        return index >= len(script.entries) or (script.default == index and script.sure)

    if right(new, kept):
        return new, kept
    name = Script(new, environment(kept), loaders, sources).name(index)
    once = {key: "" for key in ("next_entry", "prev_saved_entry") if environment(kept).get(key)}
    for settings in (once, once | {"saved_entry": name}):
        if right(new, changed := with_settings(kept, settings)):
            return new, changed
    line = f'set default="{name}"'
    for changed in (_before_menu(new, line), text.append(new, [line])):
        if right(changed, kept):
            return changed, kept
    return new, kept


def _before_menu(cfg: str, line: str) -> str:
    lines = text.lines(cfg)
    at = next((n for n, body in enumerate(lines) if re.match(r"\s*(?:menuentry|submenu|blscfg|bls_import)\b", body)), 0)
    return "".join((*lines[:at], line + text.ending(cfg), *lines[at:]))


def custom(cfg: str, disk: Disk = UNKNOWN) -> str:
    """A menu, or a part of one that somebody wrote, with every kernel's arguments put right."""

    def line(body: str) -> str:
        body = disk.in_grub(body)
        if match := _VARIABLE.match(body):
            quote = match[2][0] if match[2][0] in "\"'" else ""
            inner = match[2].strip(quote) if quote else match[2]
            return f"{match[1]}{quote}{arguments.prepared(inner, disk)}{quote}{body[match.end() :]}"
        return body if body.lstrip().startswith("#") else grub.in_script(body, (*_KERNEL, *_MODULE), disk)

    return text.edit(cfg, line, text.logical)


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
    options = environment(block).get("kernelopts")
    return block if options is None else with_settings(block, {"kernelopts": arguments.prepared(options, disk)})


def with_settings(block: str, settings: Mapping[str, str]) -> str:
    """The environment block with these settings, as long as it was; as it is where it has no room for them, or is none."""
    if not block.startswith(_SIGNATURE) or settings.items() <= environment(block).items():
        return block
    left = {key: value.replace("\\", "\\\\").replace("\n", "\\n") for key, value in settings.items()}

    def change(body: str) -> str:
        key = body.partition("=")[0]
        return f"{key}={left.pop(key)}" if key in left else body

    content = text.edit(block.rstrip("#"), change)
    content += "".join(f"{key}={value}\n" for key, value in left.items())
    room = len(block.encode()) - len(content.encode())
    return content + "#" * room if room >= 0 else block


def order(version: str) -> list[tuple[int, int, str]]:
    """A sort key of kernels' versions, as rpm compares them: numbers by value and above letters."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|[A-Za-z]+", version)]
