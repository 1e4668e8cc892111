"""Files of shell assignments, as in /etc/sysconfig: KEY=value, read as a shell reads them.

Quotes may go over lines and stand side by side with what is not quoted; a backslash joins lines; `+=` adds. What only a shell can
know, such as $(…) or what stands behind an `if`, has no value here: it is told, and replaced as a whole or not at all.

Source: sh of POSIX, 2.2 to 2.10; bash(1).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hikkoshi.guest.files import modprobe, text
from hikkoshi.guest.note import Note, note

_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?=)")
_DECLARES = ("export", "declare", "typeset", "readonly", "local")
_BEFORE = ("then", "else", "do", "{", "!")
_OPENS, _CLOSES = ("if", "case", "while", "until", "for"), ("fi", "esac", "done")
_PARAMETER = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})")
_LONGEST = 4096  # characters that one command in brackets may have
_ANSI = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}


@dataclass(frozen=True)
class Assignment:
    """One KEY=value."""

    key: str
    value: str | None  # None where only a shell knows it
    line: int  # from 1
    start: int  # of = or +=, as a place in the text
    end: int  # behind the value


class _Shell:
    """What a shell would make of a text, as far as that can be said without one."""

    def __init__(self, content: str) -> None:
        self.content = content
        self.at = 0
        self.known: dict[str, str | None] = {}
        self.depth = 0  # of if, case, while
        self.perhaps = False  # behind && or ||

    def assignments(self) -> Iterator[Assignment]:
        """Those that stay; `A=1 program` is for the program only."""
        held: list[Assignment] = []
        words: list[str] = []  # of this command, up to the first that is no assignment
        while self.at < len(self.content):
            here = self.content[self.at]
            if self.content.startswith(("\\\n", "\\\r\n"), self.at):
                self.at = self.content.index("\n", self.at) + 1
            elif here in " \t\r":
                self.at += 1
            elif here == "#":
                self.at = (self.content + "\n").index("\n", self.at)
            elif here in "\n;&|()<>":
                two = self.content.startswith(("&&", "||"), self.at)
                if two or here not in "&|":  # before a single one a part of the shell runs, whose settings are lost
                    yield from held
                self.perhaps = here in "&|" or (self.perhaps and here == "\n" and not (held or words))
                held, words = [], []
                self.at += 2 if two else 1
            elif (not words or words[0] in _DECLARES) and (match := _NAME.match(self.content, self.at)):
                held.append(self._assigned(match))
            else:
                began = self.at
                self._word(began)
                word = self.content[began : self.at]
                self.depth = max(0, self.depth + (word in _OPENS and not words) - (word in _CLOSES and not words))
                words += [word] if words or word not in _BEFORE else []
                held = held if words[:1] and words[0] in _DECLARES else []
        yield from held

    def _assigned(self, match: re.Match[str]) -> Assignment:
        key, start = match[1], match.start(2)
        value = self._word(match.end())
        if match[2] == "+=":
            old = self.known.get(key, "")
            value = None if value is None or old is None else old + value
        value = None if self.depth or self.perhaps else value
        self.known[key] = value
        return Assignment(key, value, self.content.count("\n", 0, start) + 1, start, self.at)

    def _word(self, start: int) -> str | None:
        """The word from here; afterwards `at` is behind it. A quote or bracket without its end takes the rest of its line."""
        content, self.at = self.content, start
        pieces: list[str | None] = []
        if content.startswith("(", start):  # an array
            behind = self._behind(start, "(", ")")
            self.at = behind if behind > 0 else (content + "\n").index("\n", start)
            return None
        while self.at < len(content):
            here, then = content[self.at], content[self.at + 1 : self.at + 2]
            if here in " \t\n;&|()<>" or content.startswith("\r\n", self.at):
                break
            began = self.at
            if here == "\\":
                self.at += 2 if then != "\r" or content[self.at + 2 : self.at + 3] != "\n" else 3
                pieces.append("" if then in ("\n", "\r") and then else then or here)
            elif here == "'" or (here == "$" and then == "'"):
                pieces.append(self._single(began + (here == "$"), escapes=here == "$"))
            elif here == '"' or (here == "$" and then == '"'):
                pieces.append(self._double(began + (here == "$")))
            elif here in "$`":
                pieces.append(self._expanded())
            else:
                self.at += 1
                pieces.append(here)
            if self.at <= began:  # a quote without an end
                self.at = (content + "\n").index("\n", began)
                return None
        return None if None in pieces else "".join(filter(None, pieces))

    def _single(self, start: int, *, escapes: bool) -> str | None:
        end = start + 1
        while end < len(self.content) and self.content[end] != "'":
            end += 2 if escapes and self.content[end] == "\\" else 1
        if end >= len(self.content):
            self.at = -1
            return None
        self.at, inside = end + 1, self.content[start + 1 : end]
        if not escapes:
            return inside
        if re.search(r"\\[0-7xuUc]", inside):
            return None
        return re.sub(r"\\(.)", lambda m: _ANSI.get(m[1], m[1]), inside)

    def _double(self, start: int) -> str | None:
        content, self.at = self.content, start + 1
        pieces: list[str | None] = []
        while self.at < len(content):
            here, then = content[self.at], content[self.at + 1 : self.at + 2]
            if here == '"':
                self.at += 1
                return None if None in pieces else "".join(filter(None, pieces))
            if here == "\\" and then in ("$", "`", '"', "\\"):
                pieces.append(then)
                self.at += 2
            elif here == "\\" and content.startswith(("\n", "\r\n"), self.at + 1):
                self.at = content.index("\n", self.at) + 1
            elif here in "$`":
                pieces.append(self._expanded())
                if self.at < 0:
                    return None
            else:
                pieces.append(here)
                self.at += 1
        self.at = -1
        return None

    def _expanded(self) -> str | None:
        """What begins with $ or a backtick: the value of what was set before, else nothing that is known."""
        content, start = self.content, self.at
        if content[start] == "`":
            end = re.compile(r"(?:[^`\\]|\\.)*`", re.S).match(content, start + 1)
            self.at = end.end() if end else -1
            return None
        if match := _PARAMETER.match(content, start):
            self.at = match.end()
            return self.known.get(match[1] or match[2])
        if content.startswith(("$(", "${"), start):
            self.at = self._behind(start + 1, content[start + 1], ")" if content[start + 1] == "(" else "}")
            return None
        special = content[start + 1 : start + 2]
        self.at = start + (2 if special and special in "0123456789?!#@*$-" else 1)
        return None if self.at > start + 1 else "$"

    def _behind(self, start: int, opening: str, closing: str) -> int:
        """Where a bracket ends that opens here; -1 where it does not."""
        depth, at = 0, start
        while at < min(len(self.content), start + _LONGEST):
            here = self.content[at]
            if here == "\\":
                at += 1
            elif here == "'":
                at = self.content.find("'", at + 1)
                if at < 0:
                    return -1
            depth += (here == opening) - (here == closing)
            at += 1
            if depth == 0:
                return at
        return -1


def assignments(content: str) -> list[Assignment]:
    """All of a file, in their order."""
    return list(_Shell(content).assignments())


def values(content: str) -> dict[str, str]:
    """`values('DEVICE=eth0\\nHWADDR="00:16:3E:00:00:01"')`; of a key set twice the last counts, as for the shell.

    What only a shell knows is left out.
    """
    found = {a.key: a.value for a in assignments(content)}
    return {key: value for key, value in found.items() if value is not None}


def unknown(content: str) -> list[Assignment]:
    """The settings that only a shell knows."""
    last = {a.key: a for a in assignments(content)}
    return [a for a in last.values() if a.value is None]


def told(texts: Mapping[str, str]) -> list[Note]:
    """The settings of NICs, of the network and of initrds that only a shell knows."""
    paths = [p for p in texts if p in ("/etc/sysconfig/kernel", "/etc/sysconfig/network") or "/ifcfg-" in p]
    return [note("setting-by-shell", place=f"{p}:{a.line}", key=a.key) for p in sorted(paths) for a in unknown(texts[p])]


def with_value(content: str, key: str, value: str) -> str:
    """The file with `key` set to `value`, in its place, or at the end where it was not set; `value` as a shell reads it."""
    if values(content).get(key) == value:
        return content
    found = [a for a in assignments(content) if a.key == key]
    new = content
    for a in reversed(found):
        new = f"{new[: a.start]}={value}{new[a.end :]}"
    if found or [line.strip() for line in text.lines(content)[-1:]] == [f"{key}={value}"]:  # behind what no shell can read
        return new
    apart = [""] if re.search(r"\\\r?\n?$", content) else []  # behind a line that goes on in the next one
    return text.append(content, [*apart, f"{key}={value}"])


def suse(content: str) -> bool:
    """Whether /etc/sysconfig/kernel is SUSE's, which says what an initrd holds."""
    return any(a.key == "INITRD_MODULES" for a in assignments(content))


def initrd_modules(content: str, wanted: Sequence[str]) -> str:
    """SUSE's /etc/sysconfig/kernel with the drivers that every initrd has to hold, and none of Xen's in any list.

    A list that only a shell knows stays as it is, and what it lacks is added at the end.
    """
    new = content
    for key in ("INITRD_MODULES", "DOMU_INITRD_MODULES", "MODULES_LOADED_ON_BOOT"):
        if key in {a.key for a in unknown(content)}:
            line, alone = (f'{key}="{" ".join((*wanted, *more))}"' for more in ([f"${key}"], []))  # the latter in an `if`, say
            if key == "INITRD_MODULES" and not {line, alone} & set(map(str.strip, text.lines(content))):
                new = text.append(new, [line])
            continue
        given = values(content).get(key, "").split()
        kept = [m for m in given if not modprobe.of_xen(m)]
        if key == "INITRD_MODULES":
            there = {m.replace("-", "_") for m in kept}
            kept = [*(m for m in wanted if m not in there), *kept]
        if kept != given:
            new = with_value(new, key, f'"{" ".join(kept)}"')
    return new


def default_kernel(content: str, package: str) -> str:
    """/etc/sysconfig/kernel naming the package whose updates become the default; else the next update undoes us."""
    return with_value(content, "DEFAULTKERNEL", package)
