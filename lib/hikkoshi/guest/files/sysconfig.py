"""Files of shell assignments, as in /etc/sysconfig: KEY=value, quoted or not."""

import re
from collections.abc import Sequence

from hikkoshi.guest.files import modprobe, text

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"]*\"|'[^']*'|[^\s;#]*)")


def values(content: str) -> dict[str, str]:
    """`values('DEVICE=eth0\\nHWADDR="00:16:3E:00:00:01"')`; of a key set twice the last counts, as for the shell."""
    found = {}
    for line in text.lines(content):
        match = _ASSIGNMENT.match(line)
        if match:
            value = match[2]
            found[match[1]] = value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] else value
    return found


def with_value(content: str, key: str, value: str) -> str:
    """The file with `key` set to `value`, in its place, or at the end where it was not set."""
    if values(content).get(key) == value:
        return content
    seen = False

    def change(body: str) -> str:
        nonlocal seen
        match = _ASSIGNMENT.match(body)
        if match is None or match[1] != key:
            return body
        seen = True
        return body[: match.start(2)] + value + body[match.end(2) :]

    new = text.edit(content, change)
    return new if seen else text.append(content, [f"{key}={value}"])


def suse(content: str) -> bool:
    """Whether /etc/sysconfig/kernel is SUSE's, which says what an initrd holds."""
    return "INITRD_MODULES" in values(content)


def initrd_modules(content: str, wanted: Sequence[str]) -> str:
    """SUSE's /etc/sysconfig/kernel with the drivers that every initrd has to hold, and none of Xen's in any list."""
    new = content
    for key in ("INITRD_MODULES", "DOMU_INITRD_MODULES", "MODULES_LOADED_ON_BOOT"):
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
