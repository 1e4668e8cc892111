"""Where one logs in: /etc/inittab and /etc/securetty. Xen's consoles (xvc0, hvc0) go, the screen's (tty1) must be there."""

import re

from hikkoshi.guest.files import text

_XEN = re.compile(r"\b[xh]vc0\b")
_TTY1_GETTY = re.compile(r"[^:#]*:[^:]*:respawn:.*\btty1\b")


def inittab(content: str) -> str:
    """The table without gettys on Xen's consoles and with one on tty1.

    Under upstart (Enterprise Linux 6) the table starts nothing itself, so nothing is added there.
    """
    new = text.edit(content, lambda body: None if _XEN.search(body) and not body.lstrip().startswith("#") else body)
    if any(_TTY1_GETTY.match(line.strip()) for line in text.lines(new)):
        return new
    out, switched_on = [], False
    for line in text.lines(new):
        bare = line.lstrip().lstrip("#").lstrip()
        if not switched_on and line.lstrip().startswith("#") and _TTY1_GETTY.match(bare):
            switched_on = True
            out.append(bare)
        else:
            out.append(line)
    if switched_on:
        return "".join(out)
    if not any(re.match(r"[^:#]*:[^:]*:sysinit:", line) for line in text.lines(new)):
        return new
    taken = {line.split(":", 1)[0] for line in text.lines(new) if not line.startswith("#")}
    identity = next(i for i in ("1", "t1", "v1", "g1") if i not in taken)
    return text.append(new, [f"{identity}:2345:respawn:/sbin/mingetty tty1"])


def securetty(content: str) -> str:
    """The list of terminals on which root may log in: without Xen's consoles, with tty1."""
    new = text.edit(content, lambda body: None if body.strip() in ("xvc0", "hvc0") else body)
    return new if any(line.strip() == "tty1" for line in text.lines(new)) else text.append(new, ["tty1"])
