"""What has to be installed on this computer for a rehearsal."""

from functools import partial

from hikkoshi import tool
from hikkoshi.check import Check
from hikkoshi.errors import ToolFailed
from hikkoshi.rehearsal.machine import CONTROLLERS, NICS, Hardware, uefi


def checks(machine: Hardware | None) -> list[Check]:
    """QEMU with the plan's hardware, libguestfs, and UEFI where the guest starts by it."""
    wants = {CONTROLLERS[machine.controller], NICS[machine.nic_model]} if machine else set()
    return [_qemu(wants), _guestfs(), *([_uefi()] if machine and machine.firmware == "efi" else [])]


def _qemu(wants: set[str]) -> Check:
    check = partial(
        Check,
        code="qemu-has-hardware",
        title="QEMU has the hardware of the plan",
        remedy="install qemu-system-x86, version 7.1 or later",
    )
    try:
        version = tool.run(["qemu-system-x86_64", "--version"], timeout=30).stdout.splitlines()[0]
        has = tool.run(["qemu-system-x86_64", "-machine", "none", "-device", "help"], timeout=30).stdout
    except ToolFailed as e:
        return check(ok=False, found=e.problems[0].what, expected="qemu-system-x86_64")
    missing = sorted(w for w in wants if f'"{w}"' not in has)
    return check(ok=not missing, found=f"{version}; without {', '.join(missing)}" if missing else version)


def _guestfs() -> Check:
    expected = "a Python that can import guestfs"
    check = partial(Check, code="libguestfs-there", title="libguestfs can be reached", expected=expected)
    try:
        return check(ok=True, found=tool.guestfs_python())
    except ToolFailed as e:
        return check(ok=False, found=e.problems[0].found, remedy=e.problems[0].remedy)


def _uefi() -> Check:
    title, expected = "UEFI for QEMU is there: the guest starts by it", "OVMF, code and variables"
    check = partial(Check, code="uefi-there", title=title, expected=expected)
    try:
        return check(ok=True, found=str(uefi()[0]))
    except ToolFailed as e:
        return check(ok=False, found=e.problems[0].found, remedy=e.problems[0].remedy)
