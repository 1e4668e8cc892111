"""Where one logs in: /etc/inittab, jobs of upstart, /etc/securetty. Xen's consoles (xvc0, hvc0) go, the screen's (tty1) must
be there, with a program that the guest has: init reports one that is missing for ever, and nobody can log in.

Sources: inittab(5), init(5) of upstart, agetty(8), mingetty(8), getty(8) of Debian; xen-tools' hooks, which put hvc0 for tty1.
"""

import re
from collections.abc import Mapping

from hikkoshi.guest.files import sysconfig, text

_XEN = re.compile(r"(?:/dev/)?\b[xh]vc\d+\b")
_XEN_SET = re.compile(r"(?:/dev/)?\b[xh]vc(?:\d+\b|[\[*?][^\s\"']*)")  # /dev/hvc[0-1]
_ROW = re.compile(r"[^:#]*:([^:]*):(\w+):(.*)")  # of an inittab: identity, runlevels, action, process
_SCREEN = re.compile(r"\b(?:tty|vc/)\d+\b|\bconsole\b")
_TTY1 = re.compile(r"\btty1\b|\bvc/1\b")
_SERIAL_GETTY = re.compile(r"[^:#]*:[^:]*:respawn:.*\b(ttyS\d+)\b|\s*exec\s.*getty.*\b(ttyS\d+)\b")
_SERIAL_MENU = re.compile(r"(?!\s*#)(?:.*;)?\s*terminal(?:_input|_output)?\s+(?:--\S+\s+)*serial(?:_\w+)?\b")
# of a terminal at a line, for one on the screen
_TERMINAL = re.compile(r"(\s)(?:vt1\d\d|vt2\d\d|vt52|xterm|ansi|dumb)(?:-\w+)*(?=\s*$)")
GETTYS = ("/sbin/mingetty", "/sbin/getty", "/sbin/agetty")  # programs that a guest may have, the usual one first
UNIT = "/etc/systemd/system/getty@tty1.service"  # in the place of systemd's own
UNITS = (UNIT, "/etc/systemd/system/*.wants/*getty@ttyS*.service")
JOBS = ("/etc/init/", "/etc/event.d/")  # of upstart, and of its earlier versions
JOB_FILES = (  # that may ask for a login, as patterns, and what switches one of them off
    *("/etc/init/tty*.conf", "/etc/init/[hx]vc*.conf", "/etc/init/*console*.conf", "/etc/init/start-ttys.conf"),
    *("/etc/init/tty*.override", "/etc/init/[hx]vc*.override", "/etc/init/*console*.override", "/etc/init/start-ttys.override"),
    *("/etc/event.d/tty*", "/etc/event.d/[hx]vc*", "/etc/event.d/*console*"),
)
CONSOLES = ("/etc/sysconfig/init", "/etc/init/start-ttys.conf")  # say where Enterprise Linux 6 has one job for all terminals


def inittab(content: str, getty: str = "") -> str:
    """The table without gettys on Xen's consoles and with one on tty1: that which is there, or was switched off, or Xen's own
    moved to it, or `getty`, the program that the guest has; none where it has none.

    Under upstart (Enterprise Linux 6) the table starts nothing itself, so nothing is added there.
    """
    rows = text.lines(content)
    level = _level(rows)
    there = any(_asks(row, _TTY1, level) for row in rows)
    bare = [row.lstrip().lstrip("#").lstrip() for row in rows]  # a getty that was switched off
    off = next((n for n, row in enumerate(bare) if rows[n].lstrip().startswith("#") and _asks(row, _TTY1, level)), None)
    if not there and off is not None:
        there, rows[off] = True, bare[off]
    out: list[str] = []
    for row in rows:
        body, end = text.parts(row)
        if _XEN.search(body) and not body.lstrip().startswith("#"):
            if there or ":respawn:" not in body:
                continue
            there = True
            body = on_screen(body)
        out.append(body + end)
    new = "".join(out)
    if there or not getty or not any(re.match(r"[^:#]*:[^:]*:sysinit:", row) for row in out):
        return new
    taken = {row.split(":", 1)[0] for row in out if not row.startswith("#")}
    identity = next(i for i in ("1", "t1", "v1", "g1") if i not in taken)
    speed = "" if getty.endswith("mingetty") else " 38400"
    return text.append(new, [f"{identity}:2345:respawn:{getty}{speed} tty1"])


def _level(rows: list[str]) -> str:
    """The runlevels that the system may start in: that of the table, or any."""
    found = (match[1] for row in rows if (match := _ROW.match(row.strip())) and match[2] == "initdefault")
    return next(found, "") or "2345"


def _asks(row: str, terminal: re.Pattern[str], level: str, *actions: str) -> bool:
    """Whether a row asks for a login there, in the runlevel that the system starts in."""
    match = _ROW.match(row.strip())
    if match is None or match[2] not in ("respawn", *actions):
        return False
    process = re.sub(r"\s#.*", "", match[3])  # a shell's comment
    return bool(terminal.search(process) and not _XEN.search(process) and (not match[1] or set(match[1]) & set(level)))


def missing(content: str) -> bool:
    """Whether the table, where it starts something itself, has no getty on the screen, and none of any other kind there."""
    rows = text.lines(content)
    starts = any(match[2] == "sysinit" for row in rows if (match := _ROW.match(row.strip())))
    return starts and not any(_asks(row, _SCREEN, _level(rows), "once", "wait", "ondemand") for row in rows)


def on_screen(body: str) -> str:
    """A line that starts a getty on Xen's console, with the screen for that."""
    return _TERMINAL.sub(r"\1linux", _XEN.sub(lambda m: "/dev/tty1" if m[0].startswith("/dev/") else "tty1", body))


def jobs(texts: Mapping[str, str]) -> dict[str, str | None]:
    """{path: its new text} of upstart's jobs that log in on Xen's console: moved to the screen, one that is started before
    one that is not, or None where another is there already."""
    mine = {p: t for p, t in texts.items() if _is_job(p) and p != CONSOLES[1] and _logs_in(t, _XEN)}
    there = any(p not in mine and _starts(p, texts) and (_logs_in(t, _TTY1) or p == CONSOLES[1]) for p, t in texts.items())
    found: dict[str, str | None] = {}
    for path in sorted(mine, key=lambda p: (not _starts(p, texts), p)):
        found[path] = None if there else text.edit(mine[path], lambda b: b if b.lstrip().startswith("#") else on_screen(b))
        there = True
    return found


def jobless(texts: Mapping[str, str]) -> str:
    """The folder of upstart's jobs, where none of them asks for a login on the screen; empty where one does, or there is none."""
    consoles = sysconfig.values(texts.get(CONSOLES[0], "")).get("ACTIVE_CONSOLES")
    everywhere = consoles is None or bool(_SCREEN.search(re.sub(r"tty\[\d.*", "tty1", consoles)))
    own = {p: t for p, t in texts.items() if _is_job(p)}
    asked = (_logs_in(t, _SCREEN) or (p == CONSOLES[1] and everywhere) for p, t in own.items() if _starts(p, texts))
    return "" if any(asked) else next((p.rpartition("/")[0] for p in own), "")


def _is_job(path: str) -> bool:
    return path.startswith(JOBS) and not path.endswith(".override")


def _starts(path: str, texts: Mapping[str, str]) -> bool:
    """Whether upstart starts a job by itself, as it and its override say; `manual` means not, from there on."""
    if not _is_job(path):
        return False
    starts = False
    for line in _said(texts[path] + "\n" + texts.get(path.removesuffix(".conf") + ".override", "")):
        words = line.split()
        starts = words[0] != "manual" and (starts or words[:2] == ["start", "on"])
    return starts


def _said(job: str) -> list[str]:
    """A job's lines without comments; one that goes on in the next one is joined."""
    joined = re.sub(r"\\\r?\n", " ", job)
    return [line for line in text.lines(joined) if line.strip() and not line.lstrip().startswith("#")]


def _logs_in(job: str, console: re.Pattern[str]) -> bool:
    """Whether it runs a program for a login, and names that terminal: in the command, or in a variable before it."""
    lines = _said(job)
    return any(re.search(r"getty|\blogin\b", line) for line in lines) and any(console.search(line) for line in lines)


def securetty(content: str) -> str:
    """The list of terminals on which root may log in: without Xen's consoles, with tty1."""
    new = text.edit(content, lambda body: None if re.fullmatch(r"(?:/dev/)?[xh]vc\d+", body.strip()) else body)
    return new if any(line.strip() == "tty1" for line in text.lines(new)) else text.append(new, ["tty1"])


def active(content: str) -> str:
    """ACTIVE_CONSOLES of Enterprise Linux 6, which says where one logs in, on the screen."""
    setting = re.compile(r"(\s*(?:(?:export|env)\s+)?ACTIVE_CONSOLES=)([\"']?)([^\"'#]*?)(\s*(?:[\"'#].*)?)$")

    def change(body: str) -> str:
        match = setting.match(body)
        if match is None or not _XEN_SET.search(match[3]):
            return body
        words = dict.fromkeys(_XEN_SET.sub("/dev/tty1", match[3]).split())
        one = next((w for w in words if w.startswith("/dev/tty[1")), "")  # has it already
        return match[1] + match[2] + " ".join(w for w in words if not one or w != "/dev/tty1") + match[4]

    return text.edit(content, change)


def serial(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """`(path, line)` of what starts a login, or a boot menu, on a serial port first: the new machine has none."""
    found = []
    for path, content in texts.items():
        settings = sysconfig.assignments(content) if path.startswith("/etc/default/grub") else []
        counts = {a.key: a for a in settings if a.key.startswith("GRUB_TERMINAL")}  # the last of each
        first = {a.line for a in counts.values() if (a.value or "").lstrip().startswith("serial")}
        for n, line in enumerate(text.lines(content), 1):
            if path == "/etc/inittab" or path.startswith(JOBS):
                wanted = bool(_SERIAL_GETTY.match(line.strip()))
            else:
                wanted = n in first or (path.startswith("/boot/") and bool(_SERIAL_MENU.match(line)))
            found += [(path, line.strip())] if wanted else []
    return found
