"""What the screen and the serial console say about a boot."""

import re
from dataclasses import dataclass

from hikkoshi.rehearsal.outcome import Ending
from hikkoshi.rehearsal.screen import ROWS

TAIL = 100_000  # characters of the console that are looked at


@dataclass(frozen=True)
class BootVerdict:
    """How a boot ended, and the line that tells it."""

    ending: Ending
    words: str


# In the order in which they are asked: what stops a boot for good comes first, and a shell that the initramfs gives
# before one that the system gives, because systemd announces both as "emergency mode".
_SIGNS: tuple[tuple[Ending, str], ...] = (
    (Ending.KERNEL_PANIC, r"Kernel panic - not syncing|Kernel panic: "),
    (Ending.LOGIN, r"^(?!last\b)[\w.-]+ login:"),
    (Ending.INITRAMFS_SHELL, r"^\(initramfs\)|^dracut:/?#|Dropping to a shell!|rdsosreport\.txt"),
    (
        Ending.FSCK_SHELL,
        r"An error occurred during the file system check|Dropping you to a shell|^\(Repair filesystem\)"
        r"|Give root password for (?:maintenance|login)|You are in emergency mode",
    ),
    (
        Ending.GRUB_ERROR,
        r"^Error \d+(?:: .*)?$|^(?:GRUB )?(?:Hard Disk|Geom|Read|Floppy) Error|^grub(?: rescue)?>"
        r"|Could not find kernel image",
    ),
    (
        Ending.NO_BOOT_LOADER,
        r"No bootable device|Missing operating system|Operating system not found|Invalid partition table"
        r"|Error loading operating system|not a bootable disk|BdsDxe: No bootable option or device was found"
        r"|BdsDxe: starting \w+ \"EFI Internal Shell\"",  # of a UEFI that finds nothing else to start
    ),
)
_COMPILED = tuple((ending, re.compile(pattern, re.IGNORECASE | re.MULTILINE)) for ending, pattern in _SIGNS)
_COLOURS = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]")
_FINAL = (Ending.KERNEL_PANIC, Ending.LOGIN)  # what comes after these on a console does not take them back


def verdict(screen: str, console: str, seconds: float, timeout: float) -> BootVerdict | None:
    """The verdict on a boot that has been running for `seconds`, or None while it may still go on.

    Screen and console are looked at together: a guest may write to either. Of the console, which forgets nothing, only
    the end counts, except for a panic and a login. After `timeout` seconds without any sign the verdict is TIMEOUT, with
    the last line that was written.
    """
    console = _COLOURS.sub("", console[-TAIL:].replace("\r", ""))
    end = "\n".join(console.splitlines()[-ROWS:])
    for ending, pattern in _COMPILED:
        for text in (screen, console if ending in _FINAL else end):
            found = pattern.search(text)
            if found:
                return BootVerdict(ending, _line(text, found.start()))
    if seconds < timeout:
        return None
    return BootVerdict(Ending.TIMEOUT, f"no verdict after {timeout:g} s; {last_line(screen, console)}")


def last_line(screen: str, console: str) -> str:
    """What was written last, as a sentence: the screen's last line, or else the console's."""
    for text in (screen, console[-TAIL:]):
        written = [line.strip() for line in text.splitlines() if line.strip()]
        if written:
            return f"the last line is: {written[-1][:200]}"
    return "nothing is on screen or console"


def _line(text: str, at: int) -> str:
    """The whole line at a place in a text, as a person would quote it."""
    end = text.find("\n", at)
    return text[text.rfind("\n", 0, at) + 1 : end if end >= 0 else None].strip()[:300]
