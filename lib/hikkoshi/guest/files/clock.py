"""The clock of old kernels in a virtual machine: arguments by release, after VMware's KB 1006427, and what a person should do."""

import re

from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.note import Note, note

ENTERPRISE = ("centos", "rhel", "scientificlinux", "oracle")
KB = "VMware's KB 1006427"


def arguments(facts: GuestFacts) -> tuple[str, ...]:
    """What the kernel has to be told: nothing from Enterprise Linux 5.4 on, and nothing where `note` leaves it to a person."""
    release = _release(facts)
    if release is None or facts.arch == "x86_64":
        return ()
    if release < (5, 0):
        return ("clock=pmtmr", "divider=10") if release >= (4, 7) else ("clock=pmtmr",)
    if release < (5, 1):
        return ("clocksource=acpi_pm",)
    return ("divider=10", "clocksource=acpi_pm") if release < (5, 4) else ()


def advice(facts: GuestFacts) -> Note:
    """What to do about the clock in the running guest."""
    release = _release(facts)
    if release is not None and release < (5, 4) and facts.arch == "x86_64":
        return note("clock-drifts", article=KB)
    return note("clock-by-ntp", article=KB)


def _release(facts: GuestFacts) -> tuple[int, int] | None:
    """Of Enterprise Linux 4 and 5; None for all others."""
    match = re.match(r"([45])(?:\.(\d+))?", facts.release)
    return (int(match[1]), int(match[2] or 0)) if match and facts.distribution in ENTERPRISE else None
