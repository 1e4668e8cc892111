"""Names of disks: what Xen calls xvda is sda on every controller that vSphere offers to a guest of this age."""

import re

_XEN_DISK = re.compile(r"/dev/xvd(?=[a-z](?:\d|\b))")


def renamed(word: str) -> str:
    """`renamed('root=/dev/xvda2') == 'root=/dev/sda2'`; LABEL=, UUID= and LVM names stay as they are."""
    return _XEN_DISK.sub("/dev/sd", word)


def names_xen(text: str) -> list[str]:
    """The lines, comments aside, that still name a Xen disk or a Xen console."""
    return [
        line.strip()
        for line in text.split("\n")
        if not line.lstrip().startswith(("#", ";")) and re.search(r"/dev/xvd[a-z]|\b[xh]vc0\b", line)
    ]
