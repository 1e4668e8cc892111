"""What a shell script does to the kernel's switches for passing packets on, as far as that can be read.

Of conditions those are decided that compare what the script itself has set. What runs only where a setting of another file says
so is a doubt; so is a line that names such a switch in a form that is not understood, and a program that is started and was not
read. Programs where distributions keep theirs switch nothing on by themselves.
"""

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from hikkoshi.guest.files import sysconfig, text
from hikkoshi.guest.forwarding.switch import Setting, doubtful, of_sysctl, switch

UNREAD = "a program that is not read here"
NOT_UNDERSTOOD = "which is not understood"
MENTION = re.compile(r"\bip_forward\b|\bconf[./][^\s;]*[./](?:force_)?forwarding\b|/proc/sys/net/ipv[46]\S*forwarding\b")
_TARGET = r"""\s*["']?(?:/proc/sys/)(net/[\w./*?${}-]+)["']?"""
_INTO = r"(?:>{1,2}\|?|\|\s*(?:sudo\s+)?(?:/usr)?(?:/bin/)?tee\s+(?:-a\s+|--append\s+)?)"
_WRITTEN = re.compile(
    rf"""(?:echo|printf)\s+(?:-\w+\s+)*(?:(?P<quote>["'])(?P<inside>\d+)(?:\\n)?(?P=quote)\s*|(?P<bare>\d+)(?:\\n)?\s+){_INTO}{_TARGET}"""
)
_STRING_IN = re.compile(rf"""\btee\s+(?:-a\s+|--append\s+)?{_TARGET}\s*<<<\s*["']?(\d+)""")
_EMPTY = re.compile(rf"(?:echo|printf)\s+\d+>+\|?{_TARGET}")  # the number is that of a file: an empty line is written
_ASSIGNED = re.compile(r"""((?:/proc/sys/)?net[./][\w./*?${}-]+)=["']?(-?\w+)""")
_LOADS = re.compile(r"\bsysctl\s+(?:-[a-oq-zA-Z]+\s+)*(?:-[a-z]*p|--load)(?:[=\s]\s*([^;&|<>]+))?")
_ANY_KEY = re.compile(r"""\bsysctl\s(?:[^;&|]*\s)?["']?\$\{?\w+\}?["']?=""")
_READS = re.compile(
    r"""(?:\b(?:cat|e?grep|ls|stat)\b|\[\[?\s+(?:!\s+)?-[a-z]|\btest\s+-[a-z]|<(?!<<)|\bsysctl\s+-[abn]+)[^;&|>\])`]*"""
)
_SET = re.compile(r"""(?:^|(?<=[;&\s]))(?:export\s+|local\s+|readonly\s+)?([A-Za-z_]\w*)=("[^"]*"|'[^']*'|[^\s;&|)]*)""")
_LOOP = re.compile(r"\bfor\s+(\w+)\s+in\s+([^\s;]+)\s*(?=;|$)")
_STOPS = re.compile(r"\s*\(?(?!.*\b(?:re)?start\b)[\w|\s\"'-]*\bstop\b[\w|\s\"'-]*\)")
_BEFORE = re.compile(
    r"""["'!]+|then|do|else|elif|if|while|until|exec|nohup|sudo|nice|setsid|env|command|time|daemon|action|\d+|\w+=.*|[<>].*"""
)
_SHELLS = re.compile(r"(?:/usr)?(?:/bin/)?(?:[bdk]?a?sh|perl|python[\d.]*|env)|\.|source")
_OWN = re.compile(  # a place for programs that no package of the distribution brought
    r"/(?!(?:s?bin|lib(?:32|64)?|etc|var|proc|sys|dev|tmp|run|boot|selinux|mnt|media|usr(?!/local))(?:/|$))\S+"
)
_STRING = re.compile(r"""(?<!-c\s)(?:"(?:[^"\\]|\\.)*"|'[^']*')""")
_PATH = re.compile(r"\.?/[\w.@+/~*?-]+")
_ROUTES = re.compile(r"fire|fw|rout|nat\b|masq|ip6?tables|nft|forward|/rc\.")
_KNOWN = re.compile(
    r"/etc/(?:sysconfig|default|conf\.d)/\S+|/etc/(?:rc\.d/)?init\.d/functions|/etc/rc\.(?:status|config)|/etc/profile\S*|/etc/bashrc"
    r"|/lib/lsb/init-functions|/etc/(?:rc\.d/|init\.d/)*(?:rcS?|boot|rc\.(?:sysinit|serial|modules|readonly)|power\w*)"
)
_OURS = (  # folders where packages have scripts of theirs beside those of the guest's people
    *("/etc/init.d/", "/etc/init/", "/etc/systemd/", "/etc/network/", "/etc/NetworkManager/", "/etc/ppp/", "/etc/dhcp"),
    *("/etc/rc.d/rc.sysinit", "/etc/inittab"),
)
_PIECES = re.compile(r"(?P<end>;[;&]&?|;|&&|\|\|)|\"(?:[^\"\\]|\\.)*\"|'[^']*'|\\.|[^;&|\"'\\]+|.")
_CONDITION = re.compile(r"(?:\[\[?\s+(?P<tested>.*?)\s+\]\]?|test\s+(?P<said>.*?))\s*")
_COMPARED = re.compile(r"(?:(?P<one>\S+)\s+)?(?P<op>==?|!=|-eq|-ne)(?:\s+(?P<other>\S+))?|-(?P<full>[nz])(?:\s+(?P<value>\S+))?")
_FROM_OUTSIDE = re.compile(  # who calls the script gives these
    r"\$[({`]?[\d#?@*(`]|`|\$\{?(?:IFACE|INTERFACE|ACTION|MODE|PHASE|METHOD|ADDRFAM|LOGICAL|RUNLEVEL|runlevel|reason|interface)\b"
)
Runs = Literal["yes", "likely", "perhaps", "no"]  # likely: for all that can be seen; perhaps: another file decides
_ORDER: tuple[Runs, ...] = ("yes", "likely", "perhaps", "no")


def settings(content: str, path: str, texts: Mapping[str, str], seen: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Of a shell script, up to where it exits, without what it does to stop; scripts that it calls too.

    On counts, for what switches it off may be its other end.
    """
    found: list[Setting] = []
    for line, said, runs in _Script(texts).commands(content):
        found += _command(line, said, runs, path, texts, (*seen, path))
    sure = [s for s in found if not s.doubt]
    on = [s for s in sure if s.on]
    if on and not sure[-1].on:
        yield Setting(on[-1].family, on[-1].nic, on=True, line=on[-1].line, path=path, doubt="but it is switched off there, too")
        yield from (s for s in found if s.doubt and s.on)
    else:
        yield from found


def _all(*states: Runs) -> Runs:
    return max(states, key=_ORDER.index)


def _not(state: Runs) -> Runs:
    swapped: dict[Runs, Runs] = {"yes": "no", "no": "yes"}
    return swapped.get(state, state)


def _any(one: Runs, other: Runs) -> Runs:
    return _not(_all(_not(one), _not(other)))


@dataclass
class _Block:
    """What is open: an if, a case, a loop, a function."""

    runs: Runs
    before: Runs = "no"  # whether an earlier branch was taken
    asks: bool = False  # its condition is still being read
    word: str | None = None  # of a case, where it is known
    case: bool = False


class _Script:
    """What a script may run, command by command."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self.variables: dict[str, str] = {}
        self.sure: dict[str, str] = {}  # those of them that nothing else may have changed
        self.open: list[_Block] = []
        self.rest: Runs = "yes"  # of what follows an exit that may have been taken
        self.folder = ""  # of the kernel's switches, where it has changed to it
        self.stopping = False

    def commands(self, content: str) -> Iterator[tuple[str, str, Runs]]:
        """Each with the line where it stands, with its variables replaced, and whether it is run."""
        ends = ""  # the word that ends a text within the script
        for line in text.lines(re.sub(r"\\\r?\n", " ", content)):
            before: Runs = "yes"
            joint, held = "", ""
            if ends:
                ends = "" if line.strip() == ends else ends
                yield line, _replaced(line, self.variables), _all(self.rest, *(b.runs for b in self.open if not b.asks))
                continue
            said = re.sub(r"(?:^|\s)#.*", "", text.parts(line)[0])
            if m := re.search(r"<<-?\s*[\"']?([A-Za-z_]\w*)", said):
                ends = m[1]
            for name, value in _LOOP.findall(said):
                self.variables[name] = _replaced(value, self.variables)
            for piece in (*_PIECES.finditer(said), None):
                if piece is not None and not piece["end"]:
                    held += piece[0]
                    continue
                end = piece["end"] if piece else "\n"
                runs, met = self._piece(held, joint, before)
                if runs == "yes" and re.match(r"\s*exit\b", held):
                    return
                if runs != "no" and held.strip():
                    yield line, self._said(held), runs
                before, joint, held = (met, end, "") if end in ("&&", "||") else ("yes", "", "")
                self.stopping = self.stopping and end[:2] not in (";;", ";&")

    def _said(self, piece: str) -> str:
        said = _replaced(piece, self.variables)
        if self.folder:
            said = re.sub(r"(>{1,2}\|?\s*|\btee\s+)([\"']?)(?=[\w$*])", rf"\g<1>\g<2>{self.folder}/", said)
        return said

    def _piece(self, piece: str, joint: str, before: Runs) -> tuple[Runs, Runs]:
        """Whether a piece of a line is run, and whether it succeeds, where that can be said."""
        word, body = self._keywords(piece.strip(), joint)
        self.stopping = (self.stopping or bool(_STOPS.match(piece))) and word != "esac"
        own: Runs = "yes" if not joint else before if joint == "&&" else _not(before)
        runs = _all(self.rest, own, *(b.runs for b in self.open if not b.asks), "no" if self.stopping else "yes")
        holds = self._holds(body)
        met = _all(own, holds) if joint != "||" else _any(before, holds)
        if self.open and self.open[-1].asks:
            self.open[-1].runs = _all(met, _not(self.open[-1].before))
        self._learned(body, runs)
        if re.match(r"exit\b", body) and runs == "perhaps":
            self.rest = "perhaps"
        return runs, met

    def _keywords(self, body: str, joint: str) -> tuple[str, str]:
        """Opens and closes blocks; the last word of the shell's own, and what is behind it."""
        word = ""
        while m := re.match(
            r"(if|elif|while|until|then|else|do|fi|done|esac|for|case|[{}(!]|[\w-]+\s*\(\)\s*\{?)(?=\s|$|\()\s*", body
        ):
            word, body = m[1], body[m.end() :]
            top = self.open[-1] if self.open else None
            if word in ("if", "while", "until"):
                self.open.append(_Block("likely", asks=True))
            elif word == "elif" and top:
                top.before, top.asks = _any(top.before, top.runs), True
            elif word in ("then", "do") and top:
                top.asks = False
            elif word == "else" and top:
                top.runs = _not(_any(top.before, top.runs))
            elif word in ("fi", "done", "esac", "}") and top:
                self.open.pop()
            elif word == "for":
                self.open.append(_Block("yes"))
                return word, ""
            elif word == "case":
                body = self._case(body)
            elif word == "{" or word.endswith("{"):
                self.open.append(_Block("likely"))
            elif word == "!":
                break
        return word, self._labelled(body)

    def _case(self, body: str) -> str:
        m = re.match(r"(\S+)\s+in\b\s*", body)
        value = _replaced(m[1], self.sure).strip("\"'") if m else "$"
        runs: Runs = "perhaps" if "$" in value and not _FROM_OUTSIDE.search(value) else "likely"
        self.open.append(_Block(runs, case=True, word=None if re.search(r"[$`]", value) else value))
        return body[m.end() :] if m else ""

    def _labelled(self, body: str) -> str:
        """What is behind the label of a case."""
        top = self.open[-1] if self.open else None
        m = re.match(r"\(?([^\s()$`]+(?:\s*\|\s*[^\s()]+)*)\s*\)\s*", body) if top and top.case else None
        if top is None or m is None:
            return body
        if top.word is not None:
            labels = [label.strip("\"' ") for label in m[1].split("|")]
            fits = any(fnmatch.fnmatchcase(top.word, label) for label in labels)
            top.runs = "yes" if fits and top.before != "yes" else "no"
            top.before = "yes" if fits else top.before
        return body[m.end() :]

    def _holds(self, body: str) -> Runs:
        """Whether a condition holds."""
        if body.startswith("!"):
            return _not(self._holds(body[1:].strip()))
        m = _CONDITION.fullmatch(body)
        tested = _replaced((m["tested"] or m["said"] or "").translate({34: None, 39: None}), self.sure).strip() if m else ""
        compared = _COMPARED.fullmatch(tested)
        if compared is None:
            return "no" if body == "false" else "yes" if body in ("true", ":") else "likely"
        if "$" in tested or "`" in tested:
            return "likely" if _FROM_OUTSIDE.search(tested) else "perhaps"
        if compared["full"]:
            return "yes" if bool(compared["value"]) == (compared["full"] == "n") else "no"
        same = fnmatch.fnmatchcase(compared["one"] or "", compared["other"] or "")
        return "yes" if same == (compared["op"] not in ("!=", "-ne")) else "no"

    def _learned(self, body: str, runs: Runs) -> None:
        for name, value in _SET.findall(body):
            self.variables[name] = _replaced(value.strip("\"'"), self.variables)
            self.sure.pop(name, "")
            if runs == "yes":
                self.sure[name] = self.variables[name]
        if m := re.match(r"(?:\.|source)\s+(\S+)", body):
            file = _replaced(m[1].strip("\"'"), self.variables)
            if file in self.texts and runs in ("yes", "likely"):
                values = sysconfig.values(self.texts[file])
                self.variables |= values
                self.sure |= values
            elif not re.search(r"/functions$|/init-functions$|/rc\.(?:status|config)$", file):
                self.sure.clear()
        elif re.match(r"(?:read|eval|getopts|while\s+read)\b", body):
            self.sure.clear()
        elif m := re.match(r"cd\s+[\"']?([^\s\"']+)", body):
            folder = posixpath.join(self.folder, _replaced(m[1], self.variables))
            self.folder = folder.rstrip("/") if folder.startswith("/proc/sys/") else ""


def _replaced(said: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: variables.get(m[1] or m[2], m[0]), said)


def _command(line: str, said: str, runs: Runs, path: str, texts: Mapping[str, str], seen: tuple[str, ...]) -> Iterator[Setting]:
    doubt = "in a part of it that may not be run"
    turned = [(m.start(), m[4], m["inside"] or m["bare"]) for m in _WRITTEN.finditer(said)]
    turned += [(m.start(), m[1], m[2]) for m in _STRING_IN.finditer(said)]
    rest = _STRING_IN.sub("", _EMPTY.sub("", _WRITTEN.sub("", said)))
    if "sysctl" in said:
        turned += [(m.start(), m[1], m[2]) for m in _ASSIGNED.finditer(said)]
        rest = _ASSIGNED.sub(lambda m: m[0] if not m[2].isdecimal() else "", rest)
    for _, key, value in sorted(turned):
        found = list(switch(key, value, line, path))
        if not found and "$" in key and _may_be_one(key):
            yield doubtful(line, path, NOT_UNDERSTOOD)
        for s in found:
            may_not = runs == "perhaps" or (runs == "likely" and not s.on)
            yield Setting(s.family, s.nic, s.on, s.line, path, s.doubt or (doubt if may_not else ""))
    for loaded in _LOADS.finditer(said):
        yield from _loaded((loaded[1] or "/etc/sysctl.conf").translate({34: None, 39: None}).split(), line, path, texts)
    if MENTION.search(_SET.sub("", _READS.sub("", rest))) or _ANY_KEY.search(rest):
        yield doubtful(line, path, NOT_UNDERSTOOD)
    for program in _programs(said):
        place = program.replace("/etc/rc.d/init.d/", "/etc/init.d/")
        places = [p for p in sorted(fnmatch.filter(texts, place)) if p.count("/") == place.count("/")]
        for one in places:
            if one not in seen and len(seen) < 4:
                yield from settings(texts[one], one, texts, seen)
        if not places and not _KNOWN.fullmatch(program) and (_OWN.match(program) or _odd(program, path)):
            yield doubtful(line, path, UNREAD)


def _loaded(files: Iterable[str], line: str, path: str, texts: Mapping[str, str]) -> Iterator[Setting]:
    """What files turn that sysctl is told to read."""
    for file in files:
        named = sorted(fnmatch.filter(texts, file)) or [file] * (file == "/etc/sysctl.conf")
        for one in named:
            yield from of_sysctl(texts.get(one, ""), one)
        if not named and not re.match(r"-|\d*>", file):
            yield doubtful(line, path, "a file that is not read here")


def _may_be_one(key: str) -> bool:
    """Whether a key, with what only the shell knows in it, may be one of the switches."""
    pattern = re.sub(r"\$\{?\w+\}?", "*", key.removeprefix("/proc/sys/")).replace(".", "/")
    return any(fnmatch.fnmatchcase(k, pattern) for k in ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"))


def _odd(program: str, path: str) -> bool:
    """Whether it lies where programs of one's own do, for a script of one's own; packages have files of theirs in /etc, too."""
    return program.startswith("/etc/" if not path.startswith(_OURS) or _ROUTES.search(program) else "./")


def _programs(said: str) -> Iterator[str]:
    """What a line starts by its path, and places of programs that it gives a name."""
    for name, value in _SET.findall(said):
        if name != "PATH" and _OWN.match(value.strip("\"'")) and _PATH.fullmatch(value.strip("\"'")):
            yield value.strip("\"'")
    said = _STRING.sub(lambda m: m[0] if re.search(r"[$`]\(?", m[0]) or not re.search(r"[\s;|&()]", m[0]) else "Q", said)
    said = re.sub(r"^\s*\(?[^\s()\"'$]+(?:\s*\|\s*[^\s()]+)*\)(?:\s|$)", "", said)  # the label of a case
    for piece in re.split(r"&&|\|\||[;|&`]|\$\(|(?:^|\s)[({](?=\s|/)|\)\s|\s-c\s", said):
        words = [re.sub("^/+", "/", w.strip("\"'()")) for w in piece.split()]
        before = False
        while words and (
            not words[0] or (before and words[0][0] == "-") or _BEFORE.fullmatch(words[0]) or _SHELLS.fullmatch(words[0])
        ):
            before = words.pop(0) != "" or before
        if len(words) > 1 and words[0].endswith("run-parts") and words[-1].startswith("/"):
            words = [f"{words[-1]}/*"]
        if words and _PATH.fullmatch(words[0]):
            yield words[0]
