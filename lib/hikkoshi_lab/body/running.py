"""One machine of the lab's vSphere: its disks, and the QEMU that runs it while it is switched on."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from hikkoshi import tool
from hikkoshi.disk import vmdk
from hikkoshi.rehearsal import emulator, unprivileged
from hikkoshi.rehearsal.accelerator import groups
from hikkoshi.rehearsal.emulator import Emulator
from hikkoshi.rehearsal.machine import Hardware, drive, handed
from hikkoshi_lab.body import cables
from hikkoshi_lab.body.configuration import Plug
from hikkoshi_lab.network import Network

SERIAL = "serial"


class Body:
    """A machine's disks, from its first start to its removal, and QEMU while it is on; a context manager.

    The disks that were sent are only read: what the machine writes is beside them, kept while it is off, gone with the machine.
    """

    def __init__(self, lab: Network, disks: Sequence[Path], accelerator: str) -> None:
        self._lab, self._disks, self._accelerator = lab, disks, accelerator
        self._kept, self._on = ExitStack(), ExitStack()
        self._qemu: Emulator | None = None
        self._taps: list[cables.Tap] = []
        self._plugs: list[Plug | None] = []

    def __enter__(self) -> Self:
        for disk in self._disks:
            vmdk.self_contained(disk)
        self._folder = self._kept.enter_context(unprivileged.folder("body"))
        for n, disk in enumerate(self._disks):
            overlay = self._folder / f"disk{n}.qcow2"
            tool.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk.resolve(), "-F", "vmdk", overlay])
            unprivileged.give(overlay)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self._kept.close()

    @property
    def running(self) -> bool:
        """Whether there is a QEMU."""
        return self._qemu is not None

    def start(self, hardware: Hardware, plugs: Sequence[Plug]) -> None:
        """Switch it on, each NIC plugged in where it has to be; `ToolFailed` where QEMU does not start."""
        self._taps = [self._on.enter_context(cables.tap(self._lab)) for _ in plugs]
        self._plugs = [None] * len(plugs)
        drives = [drive(Path(f"disk{n}.qcow2"), "qcow2", backing=drive(handed(n), "vmdk")) for n, _ in enumerate(self._disks)]
        (self._folder / SERIAL).unlink(missing_ok=True)
        arguments = hardware.arguments(
            drives[0], self._accelerator, Path(SERIAL), drives[1:], keep=True, cables=[tap.fd for tap in self._taps]
        )
        for tap in self._taps:
            os.set_inheritable(tap.fd, True)
        try:
            own = groups(self._accelerator)
            qemu = emulator.started(arguments, self._folder, disk=self._disks[0], further=self._disks[1:], groups=own)
            self._qemu = self._on.enter_context(qemu)
            self._qemu.execute("set-action", reboot="reset")
            self.plug(plugs)
        except BaseException:
            self.stop()
            raise
        finally:
            for tap in self._taps:
                os.set_inheritable(tap.fd, False)

    def plug(self, plugs: Sequence[Plug]) -> None:
        """Have every cable where it has to be now; one that is plugged in at another place loses its link for a moment."""
        assert self._qemu
        for n, (tap, was, plug) in enumerate(zip(self._taps, self._plugs, plugs, strict=True)):
            if was is None or was.vlan != plug.vlan:
                tap.plug(plug.vlan)
            if was is None or was.plugged != plug.plugged:
                self._qemu.execute("set_link", name=f"net{n}", up=plug.plugged)
        self._plugs = list(plugs)

    def ended(self) -> bool:
        """Whether it is on no more by itself: the guest has switched it off."""
        return self._qemu is not None and self._qemu.frozen()

    def stop(self) -> None:
        """Switch it off, as by the mains."""
        self._qemu, self._taps, self._plugs = None, [], []
        self._on.close()
        self._on = ExitStack()
