"""Where one logs in: /etc/inittab, jobs of upstart, /etc/securetty. Xen's consoles (xvc0, hvc0) go, the screen's (tty1) must
be there, with a program that the guest has: init reports one that is missing for ever, and nobody can log in.

Sources: inittab(5), init(5) of upstart, agetty(8), mingetty(8), getty(8) of Debian; xen-tools' hooks, which put hvc0 for tty1.
"""

import re
from collections.abc import Mapping

from hikkoshi.guest.files import text

_XEN = re.compile(r"(?:/dev/)?\b[xh]vc\d+\b")
_TTY1_GETTY = re.compile(r"[^:#]*:[^:]*:respawn:.*\btty1\b")
_SERIAL_GETTY = re.compile(r"[^:#]*:[^:]*:respawn:.*\b(ttyS\d+)\b|\s*exec\s.*getty.*\b(ttyS\d+)\b")
# of a terminal at a line, for one on the screen
_TERMINAL = re.compile(r"(\s)(?:vt1\d\d|vt2\d\d|vt52|xterm|ansi|dumb)(?:-\w+)*(?=\s*$)")
GETTYS = ("/sbin/mingetty", "/sbin/getty", "/sbin/agetty")  # programs that a guest may have, the usual one first
UNIT = "/etc/systemd/system/getty@tty1.service"  # in the place of systemd's own
UNITS = (UNIT, "/etc/systemd/system/*.wants/*getty@ttyS*.service")
JOBS = ("/etc/init/", "/etc/event.d/")  # of upstart, and of its earlier versions
_STARTS_ALL = ("/etc/init/start-ttys.conf", "/etc/event.d/tty1", "/etc/init/tty1.conf")  # Enterprise Linux 6 has one for all


def inittab(content: str, getty: str = "") -> str:
    """The table without gettys on Xen's consoles and with one on tty1: that which is there, or was switched off, or Xen's own
    moved to it, or `getty`, the program that the guest has; none where it has none.

    Under upstart (Enterprise Linux 6) the table starts nothing itself, so nothing is added there.
    """
    rows = text.lines(content)
    there = any(_TTY1_GETTY.match(row.strip()) for row in rows)
    bare = [row.lstrip().lstrip("#").lstrip() for row in rows]  # a getty that was switched off
    off = next((n for n, row in enumerate(bare) if rows[n].lstrip().startswith("#") and _TTY1_GETTY.match(row)), None)
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


def missing(content: str) -> bool:
    """Whether the table, where it starts something itself, has no getty on the screen, and none of any other kind there."""
    active = [row.strip() for row in text.lines(content) if not row.lstrip().startswith("#")]
    return any(":sysinit:" in row for row in active) and not any(re.search(r"\btty\d+\b|\bconsole\b", r) for r in active)


def on_screen(body: str) -> str:
    """A line that starts a getty on Xen's console, with the screen for that."""
    return _TERMINAL.sub(r"\1linux", _XEN.sub(lambda m: "/dev/tty1" if m[0].startswith("/dev/") else "tty1", body))


def jobs(texts: Mapping[str, str]) -> dict[str, str | None]:
    """{path: its new text} of upstart's jobs that log in on Xen's console: moved to the screen, or None where another is
    there already."""
    mine = {p: t for p, t in texts.items() if p.startswith(JOBS) and _logs_in(t, _XEN)}
    there = any(p.startswith(JOBS) and p not in mine and (_logs_in(t, _TTY1) or p in _STARTS_ALL) for p, t in texts.items())
    found: dict[str, str | None] = {}
    for path in sorted(mine):
        found[path] = None if there else text.edit(mine[path], lambda b: b if b.lstrip().startswith("#") else on_screen(b))
        there = True
    return found


_TTY1 = re.compile(r"\btty1\b")


def _logs_in(job: str, console: re.Pattern[str]) -> bool:
    lines = [line for line in text.lines(job) if not line.lstrip().startswith("#")]
    return any("getty" in line and console.search(line) for line in lines)


def securetty(content: str) -> str:
    """The list of terminals on which root may log in: without Xen's consoles, with tty1."""
    new = text.edit(content, lambda body: None if re.fullmatch(r"(?:/dev/)?[xh]vc\d+", body.strip()) else body)
    return new if any(line.strip() == "tty1" for line in text.lines(new)) else text.append(new, ["tty1"])


def active(content: str) -> str:
    """/etc/sysconfig/init of Enterprise Linux 6, whose ACTIVE_CONSOLES says where one logs in, on the screen."""
    setting = re.compile(r"(\s*ACTIVE_CONSOLES=)")
    return text.edit(content, lambda body: _XEN.sub("/dev/tty1", body) if setting.match(body) else body)


def serial(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """`(path, line)` of what starts a login, or a boot menu, on a serial port first: the new machine has none."""
    menus = re.compile(r"\s*(?:terminal(?:_input|_output)?\s+(?:--\S+\s+)*serial\b|GRUB_TERMINAL\w*=[\"']?serial\b)")
    found = []
    for path, content in texts.items():
        for line in text.lines(content):
            if path == "/etc/inittab" or path.startswith(JOBS):
                wanted = bool(_SERIAL_GETTY.match(line.strip()))
            else:
                wanted = path.startswith(("/boot/", "/etc/default/grub")) and bool(menus.match(line))
            found += [(path, line.strip())] if wanted else []
    return found
