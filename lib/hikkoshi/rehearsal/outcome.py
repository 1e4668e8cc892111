"""What a rehearsal can end with, and what it saw: pure data."""

from enum import StrEnum
from typing import Literal

from hikkoshi.artefact import Frozen
from hikkoshi.guest.additions.firststart import Started, State


class Ending(StrEnum):
    """How a boot ended."""

    LOGIN = "login"
    GRUB_ERROR = "grub-error"
    NO_BOOT_LOADER = "no-boot-loader"
    KERNEL_PANIC = "kernel-panic"
    INITRAMFS_SHELL = "initramfs-shell"
    FSCK_SHELL = "fsck-shell"
    TIMEOUT = "timeout"


class SeenNic(Frozen):
    """A NIC as the booted guest reported it."""

    name: str
    mac: str
    driver: str
    addresses: tuple[str, ...]
    lro: Literal["on", "off", ""] = ""  # large receive offload as ethtool tells it; empty where it does not


class Mount(Frozen):
    """A file system, or swap, that is in use.

    `device` is its name in the plan, by the place of its disk: /dev/sdb1 is on the second, whatever the kernel called that.
    """

    device: str
    point: str  # swap for swap
    called: str = ""  # what the kernel called the device


class ToolsSeen(Frozen):
    """The service of VMware Tools as systemd tells it. In a rehearsal it ends at once: QEMU is no VMware."""

    unit: str
    enabled: bool
    condition: bool  # whether that of its unit was met
    started: bool

    def __str__(self) -> str:
        words = (("not ", "")[held] + said for held, said in ((self.enabled, "enabled"), (self.started, "started")))
        return f"{self.unit}: {', '.join(words)}, its condition {'' if self.condition else 'not '}met"


class BootOutcome(Frozen):
    """One boot. Paths are relative to the guest's folder."""

    ending: Ending
    words: str  # the line of screen or console that tells it
    seconds: float
    accelerator: str  # tcg or kvm
    controller: str
    nic_model: str
    kernel: str = ""  # uname -r
    root: str = ""  # device mounted at /
    nics: tuple[SeenNic, ...] = ()
    mounts: tuple[Mount, ...] = ()  # of an earlier version none: it did not ask
    failed: tuple[str, ...] = ()  # services that did not start, where the guest's init tells
    asked: bool = False  # whether it was asked for these
    first_state: State | None = None  # how far came what runs at the first start; None where nothing does
    first: tuple[Started, ...] = ()  # each script of it
    tools: ToolsSeen | None = None  # None where it has none, or its init does not tell
    overlay: tuple[str, ...] = ()  # what was changed for this boot, in an overlay that was thrown away afterwards
    picture: str  # PNG of the screen
    screen: str  # text of the screen
    console: str  # file with the serial console
    disk_unchanged: bool
