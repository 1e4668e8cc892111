"""One boot of a guest's disks: watched until its fate is clear, and kept as a picture, the screen's text and the console."""

import base64
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from hikkoshi import files, tool
from hikkoshi.disk import source, vmdk
from hikkoshi.disk.origin import Identity, Origin
from hikkoshi.errors import Problem, ToolFailed
from hikkoshi.guest.additions import firststart
from hikkoshi.progress import Progress, silent
from hikkoshi.rehearsal import emulator, injection, unprivileged, witness
from hikkoshi.rehearsal.accelerator import groups
from hikkoshi.rehearsal.machine import CONTROLLERS, UNSEEN, Hardware, drive, handed
from hikkoshi.rehearsal.outcome import BootOutcome, Ending
from hikkoshi.rehearsal.screen import Screen
from hikkoshi.rehearsal.verdict import BootVerdict, last_line, verdict
from hikkoshi.run.step import SURVEY
from hikkoshi.secret import redaction

BLANK = base64.b64decode(  # a picture of one point, in the place of one on which a secret was to be read
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
TIMEOUT = 180.0  # seconds; under emulation a boot takes 15 to 45
POLL = 1.0  # seconds between two looks at the screen
ADDRESS_LIMIT = 30.0  # seconds after it in which NetworkManager, say, may still be giving the NICs their addresses
SETTLE = 2.5  # seconds that a sign has to stay: GRUB may try another entry, a kernel goes on after its first line
FIRST_LIMIT = 300.0  # the same for what runs at the first start
WITNESS_LIMIT = 60.0  # seconds after the login prompt in which the guest has to have told about itself
LARGE = 1 << 30  # bytes; a larger raw image is identified by its inode's facts, reading it whole would take minutes
CONSOLE = 1 << 20  # bytes that are kept of a console's beginning, and of its end
LOUD = 256 << 20  # bytes on a console after which a boot is given up: the guest could fill our disk
DiskFormat = Literal["raw", "vmdk"]


def boot(
    disk: Path,
    disk_format: DiskFormat,
    machine: Hardware,
    folder: Path,
    label: str,
    *,
    probe: bool,
    accelerator: str,
    further: Sequence[Path] = (),
    timeout: float = TIMEOUT,
    progress: Progress = silent,
) -> BootOutcome:
    """Boot a disk on `machine` until its fate is clear, and keep LABEL.png, LABEL.txt and LABEL.console.txt in `folder`.

    The machine has the `further` disks too, in this order. The disks are only read; `BadInput` for a VMDK that names other files.
    With `probe`, the guest is asked for its kernel, disks and NICs: the question is put into an overlay that is thrown away.
    `timeout` in seconds, from power-on. `ToolFailed` where QEMU or libguestfs fail; however badly the guest itself does, that is
    an outcome.
    """
    disks = [path.absolute() for path in (disk, *further)]  # what begins with a slash is none of QEMU's protocols
    for path in disks if disk_format == "vmdk" else ():
        vmdk.self_contained(path)
    before = identities(disks, disk_format), Origin.several(disks).writes()
    with unprivileged.folder("machine") as private:
        serial = private / "serial"
        more = UNSEEN if machine.firmware == "efi" else ""
        with _bootable(disks, disk_format, private, accelerator, probe, more, progress) as (shown, overlay):
            arguments = machine.arguments(shown[0], accelerator, Path(serial.name), shown[1:])
            with emulator.started(arguments, private, disk=disks[0], further=disks[1:], groups=groups(accelerator)) as guest:
                seconds, judged, told = _watch(guest, serial, machine if probe else None, timeout, progress)
                picture, screen = guest.picture(), guest.screen()
        console, text = _read(serial), _hidden(screen.text)
    files.write(folder / f"{label}.png", BLANK if _secret(screen, console) else picture)
    files.write(folder / f"{label}.txt", (text or "(the screen is in a graphics mode: see the picture)") + "\n")
    files.write(folder / f"{label}.console.txt", console)
    return BootOutcome(
        ending=judged.ending,
        words=f"{judged.words} ({machine.remark})" if machine.remark else judged.words,
        seconds=round(seconds, 1),
        accelerator=accelerator,
        controller=CONTROLLERS[machine.controller],
        nic_model=machine.nic_model,
        kernel=told.kernel if told else "",
        root=told.root if told else "",
        nics=told.nics if told else (),
        mounts=told.mounts if told else (),
        failed=tuple(u for u in told.failed if not (machine.as_vmware and witness.NO_VMWARE.match(u))) if told else (),
        tools=told.tools if told else None,
        asked=told is not None and told.asked,
        first_state=told.first_state if told else None,
        first=firststart.read(told.first)[1] if told else (),
        overlay=overlay,
        picture=f"{folder.name}/{label}.png",
        screen=f"{folder.name}/{label}.txt",
        console=f"{folder.name}/{label}.console.txt",
        disk_unchanged=(identities(disks, disk_format), Origin.several(disks).writes()) == before,
    )


def identities(disks: Sequence[Path], disk_format: DiskFormat) -> str:
    """What tells whether these disks are unchanged."""
    return "; ".join(identity(disk, disk_format) for disk in disks)


def identity(disk: Path, disk_format: DiskFormat) -> str:
    """What tells whether a disk is unchanged: its SHA-256; of a raw image above 1 GiB inode, size, allocation and time; of a
    block device size and samples.
    """
    if disk.is_block_device():
        known = Identity.of(Origin.whole(disk))
        return f"device of {known.bytes} bytes, samples {known.sample_sha256}"
    facts = disk.stat()
    if disk_format == "raw" and facts.st_size > LARGE:
        return f"inode {facts.st_ino} size {facts.st_size} blocks {facts.st_blocks} modified {facts.st_mtime_ns}"
    return f"sha256 {files.sha256(disk)}"


@contextmanager
def _bootable(
    disks: Sequence[Path], disk_format: DiskFormat, private: Path, accelerator: str, probe: bool, more: str, progress: Progress
) -> Iterator[tuple[list[str], tuple[str, ...]]]:
    """The disks themselves; or overlays of them into which the witness was put, or, where GRUB 2, or the firmware, would switch
    the screen to graphics before the kernel says a word, whose kernel writes to the serial port. And what was changed in them.

    `more` are further arguments of the kernel.
    """
    wholes = [drive(handed(n), disk_format, device=stat.S_ISBLK(d.stat().st_mode)) for n, d in enumerate(disks)]
    if not (probe or more or (disk_format == "raw" and _by_grub2(disks[0]))):
        yield wholes, ()
        return
    progress(0, 1, "making an overlay of the disk speak")
    overlays = [private / f"overlay{n or ''}.qcow2" for n in range(len(disks))]
    for disk, overlay in zip(disks, overlays, strict=True):
        tool.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk.resolve(), "-F", disk_format, overlay])
    wish = {
        "disk": str(overlays[0]),
        "further": [str(overlay) for overlay in overlays[1:]],
        "format": "qcow2",
        "kvm": accelerator == "kvm",
        "path": witness.PATH,
        "witness": witness.SCRIPT if probe else "",
        "more": more,
    }
    argv, sandboxed = [tool.guestfs_python(), injection.__file__], tool.guestfs_environment()
    result = tool.run(argv, stdin=json.dumps(wish), timeout=300, env=sandboxed)
    answer = json.loads(result.stdout)
    if "problem" in answer:
        raise ToolFailed(
            Problem(
                code=answer["code"],
                what=answer["problem"],
                where=str(disks[0]),
                found=answer["found"],
                expected="a Linux guest with its root file system on the disk, started by SysV init, upstart or systemd",
                remedy=f"see {SURVEY} for what is on the disk; without the witness a rehearsal cannot vouch for the NICs",
            )
        )
    for overlay in overlays:
        unprivileged.give(overlay)
    shown = [drive(Path(o.name), "qcow2", backing=whole) for o, whole in zip(overlays, wholes, strict=True)]
    yield shown, tuple(answer["changed"])
    for overlay in overlays:
        overlay.unlink()


def _by_grub2(disk: Path) -> bool:
    with disk.open("rb") as f:
        return source.boot_loader(f.read(source.SECTOR)) == "grub2"


def _watch(
    guest: emulator.Emulator, serial: Path, asked: Hardware | None, timeout: float, progress: Progress
) -> tuple[float, BootVerdict, witness.WitnessStatement | None]:
    """Look at screen and console until there is a verdict that stays, and, after a login, the report of the witness, if that
    is `asked`."""
    begin = time.monotonic()
    since: tuple[float, BootVerdict] | None = None  # (seconds, the first of the equal verdicts)
    restarted = False
    while True:
        seconds = time.monotonic() - begin
        screen, console = _hidden(guest.screen().text), _read(serial)
        now = verdict(screen, console, seconds, timeout)
        if now is None and serial.exists() and serial.lstat().st_size > LOUD:
            now = BootVerdict(Ending.TIMEOUT, f"more than {files.human(LOUD)} on its console; {last_line(screen, console)}")
        if now is None and guest.frozen():
            if restarted:
                now = BootVerdict(Ending.TIMEOUT, f"the guest went down twice; {last_line(screen, console)}")
            else:  # as after relabelling for SELinux
                restarted = True
                guest.restart()
        if now is None or since is None or since[1].ending != now.ending:
            since = (seconds, now) if now else None
        if since and (since[1].ending is Ending.TIMEOUT or seconds - since[0] >= SETTLE):
            told = witness.read(console) if asked else None
            busy = told is not None and told.first_state == "running"
            passed = seconds - since[0]
            lacking = asked is not None and told is not None and passed < ADDRESS_LIMIT and told.lacks(asked.nics)
            waits = busy or lacking or (told is not None and told.busy)
            silent = passed > (FIRST_LIMIT if busy else WITNESS_LIMIT)
            if (told and not waits) or not asked or since[1].ending is not Ending.LOGIN or silent:
                progress(timeout, timeout, f"{since[1].ending}: {since[1].words}")
                return since[0], since[1], told
        progress(min(seconds, timeout), timeout, last_line(screen, console))
        time.sleep(POLL)


def _read(serial: Path) -> str:
    """What the guest wrote to its console; of very much the beginning and the end."""
    try:
        with unprivileged.opened(serial) as fd:
            size = os.fstat(fd).st_size  # as it is now: it may grow while it is read
            said = os.pread(fd, 2 * CONSOLE, 0)
            if size > 2 * CONSOLE:
                said = said[:CONSOLE] + b"\n(something is left out here)\n" + os.pread(fd, CONSOLE, size - CONSOLE)
    except FileNotFoundError:
        return ""
    return _hidden(said.decode("utf-8", errors="replace"))


def _secret(screen: Screen, console: str) -> bool:
    """Whether a picture may show a secret: one is in its text, or, where nobody can read a graphics mode, in the console's."""
    return _hidden(screen.text) != screen.text or (screen.graphics and redaction.HIDDEN in console)


def _hidden(text: str) -> str:
    """What a guest shows, without the secrets among its kernel's arguments, which a kernel prints first of all."""
    return redaction.shown(text, "/proc/cmdline")
