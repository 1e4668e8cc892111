"""Drives the worker that opens a guest's disk: finds a Python that can, sends the job, explains what went wrong."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hikkoshi import tool
from hikkoshi.disk.origin import Origin
from hikkoshi.errors import BadInput, HikkoshiError, Problem, StepFailed, ToolFailed
from hikkoshi.guest import device, inspection, reading
from hikkoshi.guest.additions import installer
from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.forwarding import starts
from hikkoshi.progress import Progress, silent
from hikkoshi.run.step import PLAN, PREPARE, SURVEY
from hikkoshi.secret import redaction, temporary

WORKER = Path(__file__).with_name("worker.py")
GRACE = 10  # seconds after which a worker that did not end itself is ended
# a launch without KVM takes 4 to 15; under load it may be far more; a complete initrd of Debian's takes 120
SECONDS = {"inspect": 600, "apply": 1800}


def inspect(
    disk: Origin,
    names: Sequence[str] = (),
    further: Sequence[Sequence[str]] = (),
    *,
    accelerator: str = "tcg",
    progress: Progress = silent,
) -> GuestFacts:
    """Look at the operating system on disks, which are opened read-only; `names` are those of the first whole disk in the guest,
    `further` those of each other one.

    `accelerator` is tcg or kvm. `BadInput` for disks that hold no guest, or one that this version cannot prepare.
    """
    # bytes of the first sector: tells most wrong files at once
    boot_loader = "none" if disk.partitions else inspection.boot_loader(disk.parts[0].path)
    with work("inspect", disk, {"names": names, "further": further}, accelerator, progress) as (raw, folder):
        return reading.facts(raw, folder, boot_loader, str(disk))


@contextlib.contextmanager
def work(
    op: str, disk: Origin, job: dict[str, Any], accelerator: str, progress: Progress
) -> Iterator[tuple[dict[str, Any], Path]]:
    """Run the worker once; yields its result and the folder with the files it fetched, which is removed afterwards."""
    with temporary.folder("guest") as folder:
        job = {
            "names": (),
            "further": (),
            **job,
            "op": op,
            "disk": str(disk),
            "disks": [
                {"number": p.number, "path": str(p.path.resolve()), "device": device.new(p.disk), "at": device.new(n)}
                for n, p in enumerate(disk.parts)
            ],
            "accelerator": accelerator,
            "folder": str(folder),
            "seconds": SECONDS[op],
            "redaction": redaction.__file__,
            "devices": device.__file__,
            "installer": installer.__file__,
            "texts": inspection.TEXTS,
            "files": inspection.FILES,
            "present": inspection.PRESENT,
            "links": inspection.LINKS,
            "scripts": starts.EXECUTED,
        }
        yield _run(job, progress), folder


def _run(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    process = subprocess.Popen(
        tool.command([tool.guestfs_python(), "-I", str(WORKER)]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=tool.environment("python3", **tool.guestfs_environment()),
        close_fds=False,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    errors: list[bytes] = []
    listener = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)  # type: ignore[union-attr]
    deadline = threading.Timer(job["seconds"] + GRACE, tool.end, [process])
    listener.start()
    deadline.start()
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(json.dumps(job).encode())
        for line in process.stdout:
            message = json.loads(line)
            if "progress" in message:
                progress(*message["progress"])
            elif "error" in message:
                raise explained(message["error"], job["disk"])
            else:
                process.wait()
                result: dict[str, Any] = message["result"]
                return result
        raise _died(process.wait(), errors, listener, job)
    finally:
        deadline.cancel()
        tool.end(process)  # nothing of it is left, whatever happened
        listener.join()
        process.stdout.close()
        process.stderr.close()


def _died(status: int, errors: Sequence[bytes], listener: threading.Thread, job: dict[str, Any]) -> ToolFailed:
    listener.join()
    words = b"".join(errors).decode(errors="replace")
    return ToolFailed(
        Problem(
            code="disk-reader-died",
            what="the program that opens guest disks ended without a result",
            where=job["disk"],
            found=f"exit status {status}: {tool.tail(words)}",
            expected=f"a result within {job['seconds']} s",
            remedy="see with `hikkoshi doctor` whether libguestfs works here and what the machine is busy with, then run again",
        )
    )


_LATER = "this version prepares guests whose file systems it can read; leave this guest where it is for now"
_KINDS: dict[str, tuple[type[HikkoshiError], Problem]] = {  # {kind: (error, its problem without what was found)}
    "no-partitions": (
        BadInput,
        Problem(
            code="no-partitions-on-disk",
            what="the disk has no partitions",
            expected="a whole disk with a partition table and a boot loader",
            remedy="check that this is the right image; single partitions have to stand as such in the Xen configuration "
            "(xvda1, xvda2 …)",
        ),
    ),
    "crypto_LUKS": (
        BadInput,
        Problem(
            code="root-encrypted",
            what="the guest's root, or another folder of its system, is encrypted",
            expected="file systems that can be read without a passphrase",
            remedy=_LATER,
        ),
    ),
    "no-root": (
        BadInput,
        Problem(
            code="no-linux-guest",
            what="the disk holds no Linux guest",
            expected="a partition with a Linux root file system",
            remedy="check that this is the right image, and that it is the guest's whole disk",
        ),
    ),
    "no-fstab": (
        BadInput,
        Problem(
            code="no-fstab",
            what="the guest has no /etc/fstab",
            expected="a table that says what is mounted as / and /boot",
            remedy="start the guest under Xen, see that it boots from this disk, and write its /etc/fstab",
        ),
    ),
    "missing-device": (
        BadInput,
        Problem(
            code="fstab-device-missing",
            what="a file system that the guest's fstab names is on none of its disks",
            expected="/, /boot and the system's other folders on the disks of the Xen configuration",
            remedy="see whether the Xen configuration, or the copy of it that `config` names, has all disks of the guest. If the "
            "line is a leftover, remove it in the running guest",
        ),
    ),
    "too-large": (
        BadInput,
        Problem(
            code="guest-file-too-large",
            what="a file in the guest is unreasonably large",
            remedy="look at that file in the running guest",
        ),
    ),
    "secrets": (
        BadInput,
        Problem(
            code="too-many-passwords",
            what="a file in the guest has unreasonably many passwords",
            expected=f"at most {redaction.MOST} in all files",
            remedy="look at that file in the running guest",
        ),
    ),
    "too-many": (
        BadInput,
        Problem(
            code="guest-has-too-many",
            what="the guest has unreasonably many of something",
            remedy="clean it up in the running guest",
        ),
    ),
    "no-room": (
        StepFailed,
        Problem(
            code="no-room-for-guest-files",
            what="there is too little room here for the files that are fetched from the guest",
            remedy="make room there, or set TMPDIR to a folder on a larger disk, then run the step again",
        ),
    ),
    "changed": (
        StepFailed,
        Problem(
            code="guest-files-changed",
            what="files in the guest are not as the plan was made from",
            expected="what the survey read",
            remedy=f"run {SURVEY} and {PLAN} again, have the new plan approved, then run {PREPARE}",
        ),
    ),
    "space": (
        BadInput,
        Problem(
            code="guest-disk-full",
            what="too little room in the guest for a second initrd",
            remedy="remove old kernels in the running guest",
        ),
    ),
    "fsck": (
        BadInput,
        Problem(
            code="file-system-damaged",
            what="a file system in the guest is damaged",
            expected="a file system that its own check finds clean, or can mend by itself",
            remedy=f"start the guest under Xen and let it check its disk (shutdown -rF now), then run {SURVEY} again",
        ),
    ),
    "no-extlinux": (
        ToolFailed,
        Problem(
            code="extlinux-missing",
            what="the boot loader for a disk put together from partitions is not here",
            expected="EXTLINUX for libguestfs, and its boot code on this machine",
            remedy="install extlinux and syslinux-common (Debian) or syslinux-extlinux (Fedora), then run the step again",
        ),
    ),
    "boot-elsewhere": (
        BadInput,
        Problem(
            code="boot-on-another-disk",
            what="the kernels are not on the disk that the new machine starts from",
            expected="/boot, or / with it, on a partition of the first disk, where none of the disks has a boot loader",
            remedy="see whether the guest's configuration names the disk with /boot as the one to start from: as `root`, or as "
            f"the first of its disks. If not, write it so in a copy of the configuration; then run {SURVEY} again",
        ),
    ),
    "command": (
        StepFailed,
        Problem(
            code="guest-program-failed",
            what="a program of the guest failed in the appliance",
            expected="exit status 0",
            remedy="its own words above name the cause; the source is untouched, and no copy was kept",
        ),
    ),
    "script": (
        StepFailed,
        Problem(
            code="script-failed",
            what="a script of `prepare` failed on the copy",
            expected="exit status 0",
            remedy="correct the script: its own words are above. Then run "
            f"{PLAN} again, since its hash is part of the plan; the source is untouched, and no copy was kept",
        ),
    ),
    "packages": (
        StepFailed,
        Problem(
            code="tools-packages-failed",
            what="the packages of VMware Tools could not be installed in the copy",
            expected="exit status 0 of the guest's own package manager, and nothing half installed",
            remedy="its own words above name the cause. Correct `tools: packages` in the guest's parameters, run "
            f"{PLAN} again, have the new plan approved; the source is untouched, and no copy was kept",
        ),
    ),
    "appliance": (
        ToolFailed,
        Problem(
            code="libguestfs-failed",
            what="libguestfs failed",
            remedy="run `hikkoshi doctor`; `libguestfs-test-tool` shows what its appliance lacks; nothing it wrote is used",
        ),
    ),
}


def explained(error: dict[str, str], disk: str) -> HikkoshiError:
    """What keeps a guest here, by its `kind` and what was found."""
    kind, problem = _KINDS[error["kind"]]
    where = f"{disk}: {error['path']}" if "path" in error else disk
    return kind(replace(problem, where=where, found=error.get("found", ""), expected=error.get("expected", problem.expected)))
