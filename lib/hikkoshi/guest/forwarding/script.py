"""What a shell script does to the kernel's switches for passing packets on, as far as that can be read.

A line that names such a switch in a form that is not understood, and a program that is started and was not read, are settings
with a doubt: they may switch it on. Programs where distributions keep theirs switch nothing on by themselves.
"""

import re
from collections.abc import Iterator, Mapping

from hikkoshi.guest.files import text
from hikkoshi.guest.forwarding.switch import Setting, doubtful, of_sysctl, switch

UNREAD = "a program that is not read here"
NOT_UNDERSTOOD = "which is not understood"
MENTION = re.compile(r"\bip_forward\b|\bconf[./][^\s;]*[./](?:force_)?forwarding\b|/proc/sys/net/ipv[46]\S*forwarding\b")
_TARGET = r"""\s*["']?(?:/proc/sys/)(net/[\w./*?-]+)["']?"""
_INTO = r"(?:>{1,2}\|?|\|\s*(?:sudo\s+)?(?:/usr)?(?:/bin/)?tee\s+(?:-a\s+|--append\s+)?)"
_WRITTEN = re.compile(
    rf"""(?:echo|printf)\s+(?:-\w+\s+)*(?:(?P<quote>["'])(?P<inside>\d+)(?:\\n)?(?P=quote)\s*|(?P<bare>\d+)(?:\\n)?\s+){_INTO}{_TARGET}"""
)
_EMPTY = re.compile(rf"(?:echo|printf)\s+\d+>+\|?{_TARGET}")  # the number is that of a file: an empty line is written
_ASSIGNED = re.compile(r"""((?:/proc/sys/)?net[./][\w./*?-]+)=["']?(-?\w+)""")
_LOADS = re.compile(r"\bsysctl\s+(?:-[a-oq-zA-Z]+\s+)*(?:-[a-z]*p|--load)(?:[=\s]\s*([^\s;&|<>]+))?")
_READS = re.compile(
    r"""(?:\b(?:cat|e?grep|ls|stat)\b|\[\[?\s+(?:!\s+)?-[a-z]|\btest\s+-[a-z]|<|\bsysctl\s+-[abn]+)[^;&|>\])`]*"""
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
_PATH = re.compile(r"\.?/[\w.@+/~-]+")
_ROUTES = re.compile(r"fire|fw|rout|nat\b|masq|ip6?tables|nft|forward|/rc\.")
_KNOWN = re.compile(
    r"/etc/(?:sysconfig|default|conf\.d)/\S+|/etc/(?:rc\.d/)?init\.d/functions|/etc/rc\.(?:status|config)|/etc/profile\S*|/etc/bashrc"
)


def settings(content: str, path: str, texts: Mapping[str, str], seen: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Of a shell script, up to the first `exit` that is in no block, without what it does to stop; scripts that it calls too.

    On counts, for what switches it off may be its other end.
    """
    found: list[Setting] = []
    for line, said, within in _lines(content):
        found += _line(line, said, within, path, texts, (*seen, path))
    sure = [s for s in found if not s.doubt]
    on = [s for s in sure if s.on]
    if on and not sure[-1].on:
        yield Setting(on[-1].family, on[-1].nic, on=True, line=on[-1].line, path=path, doubt="but it is switched off there, too")
        yield from (s for s in found if s.doubt and s.on)
    else:
        yield from found


def _lines(content: str) -> Iterator[tuple[str, str, bool]]:
    """Each line as it stands, and with its variables replaced; whether it is in a block, which may not be run."""
    variables: dict[str, str] = {}
    depth, stopping = 0, False
    for line in text.lines(re.sub(r"\\\r?\n", " ", content)):
        if re.match(r"exit\b", line):
            return
        said = re.sub(r"(?:^|\s)#.*", "", line)
        stopping = stopping or bool(_STOPS.match(said))
        if stopping:
            stopping = ";;" not in said and not re.match(r"\s*esac\b", said)
            if ";;" in said or stopping:
                continue
        for name, value in _SET.findall(said):
            variables[name] = _replaced(value.strip("\"'"), variables)
        for name, value in _LOOP.findall(said):
            variables[name] = _replaced(value, variables)
        depth -= len(re.findall(r"(?:^|[;\s])(?:fi|esac|done)\b", said)) + bool(re.match(r"\s*\}", said))
        opened = len(re.findall(r"(?:^\s*|[;&|]\s*|\b(?:then|do|else)\s+)(?:if|case|for|while|until)\b", said))
        opened += bool(re.search(r"\{\s*$", said))
        yield line, _replaced(_LOOP.sub("", said), variables), depth + opened > 0
        depth = max(0, depth + opened)


def _replaced(said: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: variables.get(m[1] or m[2], m[0]), said)


def _line(line: str, said: str, within: bool, path: str, texts: Mapping[str, str], seen: tuple[str, ...]) -> Iterator[Setting]:
    off = "in a part of it that may not be run" if within else ""
    turned = [(m.start(), m[4], m["inside"] or m["bare"]) for m in _WRITTEN.finditer(said)]
    rest = _EMPTY.sub("", _WRITTEN.sub("", said))
    if "sysctl" in said:
        turned += [(m.start(), m[1], m[2]) for m in _ASSIGNED.finditer(said)]
        rest = _ASSIGNED.sub(lambda m: m[0] if not m[2].isdecimal() else "", rest)
    for _, key, value in sorted(turned):
        yield from (
            s if s.on or s.doubt else Setting(s.family, s.nic, s.on, s.line, path, off) for s in switch(key, value, line, path)
        )
    for loaded in _LOADS.finditer(said):
        file = (loaded[1] or "/etc/sysctl.conf").strip("\"'")
        if file in texts or file == "/etc/sysctl.conf":
            yield from of_sysctl(texts.get(file, ""), file)
        else:
            yield doubtful(line, path, "a file that is not read here")
    if MENTION.search(_SET.sub("", _READS.sub("", rest))):
        yield doubtful(line, path, NOT_UNDERSTOOD)
    for program in _programs(said):
        place = program.replace("/etc/rc.d/init.d/", "/etc/init.d/")
        if place in texts and place not in seen and len(seen) < 4:
            yield from settings(texts[place], place, texts, seen)
        elif place not in texts and not _KNOWN.fullmatch(program) and (_OWN.match(program) or _odd(program, path)):
            yield doubtful(line, path, UNREAD)


def _odd(program: str, path: str) -> bool:
    """Whether it lies where programs of one's own do, for a script of one's own; packages have files of theirs in /etc, too."""
    ours = path.startswith(("/etc/init.d/", "/etc/init/", "/etc/systemd/", "/etc/network/", "/etc/NetworkManager/", "/etc/ppp/"))
    return program.startswith("/etc/" if not ours or _ROUTES.search(program) else "./")


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
        if words and _PATH.fullmatch(words[0]):
            yield words[0]
