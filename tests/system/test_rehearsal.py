"""Boots on a real QEMU, of small boot sectors; the lab's guests are in test_end_to_end.py and test_guests.py."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from hikkoshi.errors import ToolFailed
from hikkoshi.rehearsal import accelerator, witness
from hikkoshi.rehearsal.boot import TIMEOUT, boot
from hikkoshi.rehearsal.emulator import Emulator
from hikkoshi.rehearsal.machine import Controller, Hardware, MachineNic, NicModel
from hikkoshi.rehearsal.outcome import BootOutcome, Ending
from processes import PATIENCE, wait_for

pytestmark = pytest.mark.needs("qemu-system-x86_64", "qemu-img")

HALT = bytes.fromhex("faf4ebfd")  # cli; hlt; jmp to hlt: says nothing, and keeps no processor busy
RESET = bytes.fromhex("b0fee664ebfe")  # the keyboard controller's reset line


def small(controller: Controller = "pvscsi", nic_model: NicModel = "vmxnet3", memory_mb: int = 64) -> Hardware:
    nics = tuple(MachineNic(name=f"eth{n}", mac=f"00:16:3e:05:00:{n:02x}") for n in range(10))
    return Hardware(controller=controller, nic_model=nic_model, memory_mb=memory_mb, vcpus=1, nics=nics)


def sector(folder: Path, code: bytes) -> Path:
    disk = folder / "disk, with a comma.img"
    disk.write_bytes((code.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    return disk


def booted(disk: Path, folder: Path, machine: Hardware | None = None, timeout: float = TIMEOUT) -> BootOutcome:
    return boot(disk, "raw", machine or small(), folder, "boot", probe=False, accelerator="tcg", timeout=timeout)


def children(marker: str) -> list[int]:
    """Processes whose command line holds `marker`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker in entry.read_bytes().decode(errors="replace") and int(entry.parent.name) != os.getpid():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("controller", ["pvscsi", "lsisas1068", "lsilogic"])
@pytest.mark.parametrize("nic_model", ["vmxnet3", "e1000"])
def test_every_machine_of_a_plan_starts_and_keeps_picture_text_and_console(
    tmp_path: Path, controller: Controller, nic_model: NicModel
) -> None:
    disk = tmp_path / "empty.img"
    disk.write_bytes(bytes(1 << 20))
    found = booted(disk, tmp_path / "rehearsal", small(controller, nic_model))
    assert (found.ending, found.disk_unchanged) == (Ending.NO_BOOT_LOADER, True)
    assert ("53C1030" in found.words) == (controller == "lsilogic")
    assert (tmp_path / found.picture).read_bytes().startswith(b"\x89PNG")
    assert "No bootable device." in (tmp_path / found.screen).read_text()
    assert (tmp_path / found.console).read_text() == ""
    assert len(list((tmp_path / "rehearsal").iterdir())) == 3


def test_a_guest_that_says_nothing_ends_by_time(tmp_path: Path) -> None:
    disk = sector(tmp_path, HALT)
    found = booted(disk, tmp_path, timeout=10)
    assert found.ending == Ending.TIMEOUT
    assert found.words.startswith("no verdict after 10 s; the last line is: Booting from Hard Disk")
    assert not [pid for pid in children("qmp,fd=") if parent(pid) == os.getpid()]


def test_a_guest_that_restarts_again_and_again_is_given_up(tmp_path: Path) -> None:
    found = booted(sector(tmp_path, RESET), tmp_path)
    assert found.ending == Ending.TIMEOUT
    assert found.words.startswith("the guest went down twice")


def test_a_guest_that_restarts_at_the_moment_when_its_screen_is_read_is_no_failure_of_qemu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = Emulator.execute

    def late(guest: Emulator, command: str, **arguments: Any) -> Any:
        if command == "stop":
            wait_for(guest.frozen, "the guest has restarted")
        return execute(guest, command, **arguments)

    monkeypatch.setattr(Emulator, "execute", late)
    assert booted(sector(tmp_path, RESET), tmp_path).words.startswith("the guest went down twice")


def test_a_disk_that_something_else_writes_to_meanwhile_is_reported(tmp_path: Path) -> None:
    disk = sector(tmp_path, HALT)

    def meddle(done: float, total: float, text: str) -> None:
        with disk.open("r+b") as f:
            f.seek(4096)
            f.write(b"written by somebody else")

    found = boot(disk, "raw", small(), tmp_path, "boot", probe=False, accelerator="tcg", timeout=2, progress=meddle)
    assert not found.disk_unchanged


def test_qemus_own_words_are_told_when_it_does_not_start(tmp_path: Path) -> None:
    disk = sector(tmp_path, HALT)
    with pytest.raises(ToolFailed, match="QEMU ended by itself") as failure:
        booted(disk, tmp_path / "kept", small(memory_mb=10**10))
    assert "memory" in failure.value.problems[0].found.lower() or "RAM" in failure.value.problems[0].found
    assert not (tmp_path / "kept").exists()


def test_a_raw_disk_that_claims_to_be_qcow2_is_booted_as_raw(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes((HALT.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    disk = tmp_path / "evil.img"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", disk], check=True)
    with disk.open("r+b") as f:
        f.truncate(1 << 20)
    # read as qcow2 it would show the other file, whose boot sector does not return
    assert booted(disk, tmp_path / "kept").ending == Ending.NO_BOOT_LOADER


def test_qemu_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    disk = sector(tmp_path, HALT)
    program = (
        "import sys; from pathlib import Path; from hikkoshi.rehearsal.boot import boot;"
        "from hikkoshi.rehearsal.machine import Hardware;"
        "m = Hardware(controller='pvscsi', nic_model='vmxnet3', memory_mb=64, vcpus=1, nics=());"
        "boot(Path(sys.argv[1]), 'raw', m, Path(sys.argv[2]), 'x', probe=False, accelerator='tcg')"
    )
    ours = subprocess.Popen(
        [sys.executable, "-c", program, str(disk), str(tmp_path)], env={**os.environ, "TMPDIR": str(tmp_path)}
    )

    def machines() -> list[int]:
        return [p for p in children("qmp,fd=") if parent(p) == ours.pid and name(p).startswith("qemu")]  # and no setpriv any more

    wait_for(machines, "its QEMU runs")
    (machine,) = machines()
    ours.kill()
    ours.wait()
    wait_for(lambda: not cmdline(machine), "QEMU ends")


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def test_the_little_program_runs_under_emulation() -> None:
    found = accelerator.trial("tcg", limit=60)
    assert found.reason.startswith("a trial under tcg answered")


def test_an_accelerator_that_does_not_answer_in_time_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        hangs = Path(folder, "qemu-system-x86_64")  # as on a KVM that hangs
        hangs.write_text("#!/bin/sh\nexec sleep 60\n")
        for path in (hangs, hangs.parent):
            path.chmod(0o755)
        monkeypatch.setenv("PATH", folder, prepend=":")
        found = accelerator.trial("tcg", limit=0.2)
    assert "cannot be used: still running after 0.2 s" in found.reason


def test_the_witness_speaks_any_shell_and_is_understood(tmp_path: Path) -> None:
    script = (
        witness.SCRIPT.replace(f" >{witness.PORT}", "").replace("exec 2>/dev/null </dev/null", "").replace("sleep 2", "break")
    )
    (tmp_path / "script").write_text(script)
    told = subprocess.run(["sh", tmp_path / "script"], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert told.stderr == ""
    found = witness.read(told.stdout)
    assert found is not None
    assert found.kernel == os.uname().release


def test_without_a_system_the_witness_cannot_be_placed_and_that_is_said(tmp_path: Path) -> None:
    disk = sector(tmp_path, HALT)
    with pytest.raises(ToolFailed, match="no file system with /etc/fstab"):
        boot(disk, "raw", small(), tmp_path / "kept", "x", probe=True, accelerator="tcg")
    assert not (tmp_path / "kept").exists()
