"""Programs that meet what a guest made have no rights, and what they leave is read with care."""

import os
import pwd
import re
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from hikkoshi import tool
from hikkoshi.errors import ToolFailed
from hikkoshi.rehearsal import emulator, machine, unprivileged
from hikkoshi.report import pdf
from processes import PATIENCE

ROOT = pytest.mark.needs("root")


def status(pid: int) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\t(.*)$", Path(f"/proc/{pid}/status").read_text(), re.M))


@pytest.mark.needs("qemu-system-x86_64")
def test_the_rehearsals_qemu_has_a_sandbox_and_no_rights(tmp_path: Path) -> None:
    disk = tmp_path / "closed" / "disk.img"
    disk.parent.mkdir(mode=0o700)
    disk.write_bytes(bytes(1 << 20))
    disk.chmod(0o600)
    made = machine.Hardware(controller="pvscsi", nic_model="vmxnet3", memory_mb=32, vcpus=1, nics=())
    arguments = made.arguments(machine.drive(machine.HANDED, "raw"), "tcg", Path("serial"))
    with unprivileged.folder("test") as folder, emulator.started(arguments, folder, disk=disk) as guest:
        told = status(guest._process.pid)
        assert told["Seccomp"] == "2"
        if os.geteuid() == 0:
            assert told["Uid"].split() == told["Gid"].split() == [str(unprivileged.user())] * 4
            assert told["Groups"].strip() == ""
            assert {told[name] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
            assert told["NoNewPrivs"] == "1"
        assert guest.picture().startswith(b"\x89PNG")
        assert guest.screen().memory
        written = (folder / "serial").lstat()
        assert written.st_uid == (unprivileged.user() or os.geteuid())
    assert not folder.exists()


@pytest.mark.needs("qemu-system-x86_64")
def test_the_qemu_of_libguestfs_has_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIBGUESTFS_HV", raising=False)
    given = tool.guestfs_environment()
    argv = [given["LIBGUESTFS_HV"], "-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    with subprocess.Popen(argv, stdin=-1, stdout=subprocess.PIPE, env=tool.environment("qemu", **given)) as process:
        assert process.stdin
        assert process.stdout
        assert b"QMP" in process.stdout.readline()
        assert status(process.pid)["Seccomp"] == "2"
        process.stdin.write(b'{"execute": "qmp_capabilities"}{"execute": "quit"}')
        process.stdin.close()


def test_a_hypervisor_that_the_operator_named_is_the_one_in_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBGUESTFS_HV", "/usr/libexec/qemu-kvm")
    given = tool.guestfs_environment()
    assert (given["LIBGUESTFS_HV"], given["HIKKOSHI_HV"]) == (str(tool.SANDBOXED_QEMU), "/usr/libexec/qemu-kvm")


@pytest.mark.needs("chromium")
def test_the_pdfs_browser_has_no_rights_and_as_root_still_a_sandbox_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    run = tool.run

    def watching(argv: list[str], **how: Any) -> "subprocess.CompletedProcess[str]":
        if how.get("rights") and "--headless" in argv:
            shell = ["sh", "-c", 'cat /proc/self/status >&2; exec "$0" "$@"', *argv]
            done = run(shell, **how)
            seen.append(dict(re.findall(r"^(\w+):\t(.*)$", done.stderr, re.M)))
            return done
        return run(argv, **how)

    monkeypatch.setattr(tool, "run", watching)
    html = tmp_path / "closed" / "report.html"
    html.parent.mkdir(mode=0o700)
    html.write_text('<html lang="en"><title>x</title><h1>x</h1></html>')
    html.chmod(0o600)
    assert pdf.write(html)
    options, words = pdf.sandbox()
    assert options == [] or "no user namespaces" in words
    if os.geteuid() == 0:
        assert seen[0]["Uid"].split() == [str(unprivileged.user())] * 4
        assert seen[0]["NoNewPrivs"] == "1"


@ROOT
def test_the_user_is_nobodys_on_this_machine() -> None:
    uid = unprivileged.user()
    assert uid is not None
    with pytest.raises(KeyError):
        pwd.getpwuid(uid)


@ROOT
def test_without_rights_a_program_reads_no_file_of_ours_and_writes_in_its_own_folder_alone(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    with unprivileged.folder("test") as folder:
        rights = unprivileged.rights()
        for argv in (["cat", secret], ["touch", tmp_path / "new"], ["touch", folder.parent / "new"], ["ls", folder.parent]):
            with pytest.raises(ToolFailed, match="Permission denied"):
                tool.run(argv, rights=rights)
        tool.run(["touch", folder / "new"], rights=rights)
        assert unprivileged.read(folder / "new") == b""


@ROOT
def test_without_rights_a_program_still_dies_with_us() -> None:
    program = """
import subprocess, sys
from hikkoshi import tool; from hikkoshi.rehearsal import unprivileged
p = subprocess.Popen(tool.command(["sleep", "300"], unprivileged.rights()), close_fds=False)
print(p.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        seen = os.pidfd_open(pid)
        while status(pid)["Name"] != "sleep":
            pass
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert select.select([seen], [], [], PATIENCE)[0], "it lives on"
    os.close(seen)


def test_what_such_a_program_leaves_is_a_file_of_its_own_or_it_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "shadow"
    secret.write_text("root's secret")
    link, fifo, second, large = (tmp_path / name for name in ("link", "fifo", "second", "large"))
    link.symlink_to(secret)
    os.mkfifo(fifo)
    second.hardlink_to(secret)
    with large.open("wb") as f:
        f.truncate(unprivileged.LARGEST + 1)
    for path in (link, fifo, second, large, tmp_path):
        with pytest.raises(ToolFailed) as e:
            unprivileged.read(path)
        assert all((p := e.value.problems[0], p.what, p.where, p.found, p.expected, p.remedy))
    assert unprivileged.read(tmp_path / "none") == b""


@ROOT
def test_the_folder_of_a_killed_run_is_one_that_the_next_one_removes() -> None:
    with unprivileged.folder("test") as folder:
        assert folder.parent.parent == Path(tempfile.gettempdir())
        assert folder.parent.stat().st_uid == os.geteuid()
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (unprivileged.user(), 0o700)
