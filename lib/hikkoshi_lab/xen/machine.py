"""The lab's Xen, running: a QEMU of its own, with a shell in its Dom-0 and in each guest over ssh.

The first start boots Xen, its Dom-0 and all guests, and keeps that moment; every later start goes on from there, in seconds.
Always emulated, with QEMU's oldest processor: with the newer ones Xen's Dom-0 crashes, or computes wrong (QEMU 7.2).
"""

import contextlib
import hashlib
import ipaddress
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from hikkoshi import files, tool
from hikkoshi.check import Check
from hikkoshi.errors import Problem, StepFailed, ToolFailed
from hikkoshi.run import lock
from hikkoshi_lab import vcsim
from hikkoshi_lab.xen import build, moment, recipe
from hikkoshi_lab.xen.build import Say

CONFIG, READY, LOG, ERRORS, MONITOR = "ssh_config", "ready", "console.log", "qemu.log", "monitor"
DOM0 = "dom0"  # what ssh calls it, with the file CONFIG; a guest has its own name
BOOT, WAKE, ANSWER = 900.0, 300.0, 60.0  # seconds
PROGRAM = "qemu-system-x86_64"
# where scripts take more than 40 s for a NIC, Xen gives a guest up; it is less busy when the others are there
STARTED = "for n in 1 2 3; do xl domid {0} >/dev/null 2>&1 || xl create -q /etc/xen/{0}.cfg && exit 0; done; exit 1"
# an emulated processor that keeps no state of its vector registers gives wrong bytes now and then
SOUND = (
    'f=/boot/vmlinuz-$(uname -r); a=$(md5sum <"$f"); b=$(sha256sum <"$f"); for n in 1 2 3 4 5 6; do '
    '[ "$(zstd -1 -T0 -q -c <"$f" | zstd -q -dc | md5sum)" = "$a" ] && [ "$(sha256sum <"$f")" = "$b" ] || exit 1; done'
)


def up(folder: Path, say: Say) -> None:
    """Bring it up in a folder; where it is up already, nothing is done. `StepFailed` where it does not come up."""
    with closing(lock.acquire(_lock(folder), "hikkoshi lab xen up", 2 * BOOT)):
        if find(folder) and (folder / READY).is_file():
            say(f"Xen: up already: ssh -F {folder / CONFIG} {DOM0}")
            return
        _clear(folder)
        base = build.made(say)
        began = time.monotonic()
        kept = base / f"moment-{hashlib.sha256((_version() + repr(_hardware(Path()))).encode()).hexdigest()[:8]}"
        if not kept.is_dir():
            _first(base, folder, kept, say)
            began = time.monotonic()
        _layers(kept, folder)
        _launch(base, folder, moment.incoming(kept))
        moment.go_on(folder / MONITOR)
        with ThreadPoolExecutor() as pool:  # each went on from when the moment was kept
            list(pool.map(lambda name: _await(folder, name, WAKE, f"date -u -s @{int(time.time())}"), _names()))
        (folder / READY).touch()
        took = time.monotonic() - began
        say(f"Xen: Dom-0 and {len(recipe.GUESTS)} guests answer after {took:.0f} s: ssh -F {folder / CONFIG} {DOM0}")


def down(folder: Path) -> None:
    """End it, and remove all that `up` made in the folder."""
    if folder.is_dir() or _lock(folder).exists():
        with closing(lock.acquire(_lock(folder), "hikkoshi lab xen down", ANSWER)):
            _clear(folder)
            _lock(folder).unlink()


def status(folder: Path) -> list[Check]:
    """Whether it is up; nothing where nobody has asked for it."""
    if not folder.is_dir():
        return []
    server = find(folder)
    ready = server is not None and (folder / READY).is_file()
    found = f"process {server.pid}{'' if ready else ', which is still starting'}" if server else "no process"
    words = f"ssh -F {folder / CONFIG} {DOM0}"
    return [
        Check(
            code="lab-xen-up",
            title="a real Xen",
            ok=ready,
            found=f"{found}; {words}" if ready else found,
            expected=f"a Dom-0 and {len(recipe.GUESTS)} guests",
            remedy="hikkoshi lab xen up",
            where=str(folder),
        )
    ]


def find(folder: Path) -> vcsim.Server | None:
    """The QEMU that was started in a folder, if it still runs, whoever has started it: known by its monitor's path."""
    own = b"unix:%s,server=on,wait=off" % str(folder / MONITOR).encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            since = vcsim.started(int(process.name))
            if own in words and since:
                return vcsim.Server(int(process.name), since, "127.0.0.1", _doors(folder).get(DOM0, 0))
    return None


def shell(folder: Path, name: str, script: str, *, timeout: float = ANSWER) -> str:
    """What a script prints in the Dom-0 or in a guest; `ToolFailed` where it fails."""
    return tool.run(["ssh", "-F", folder / CONFIG, name, script], timeout=timeout).stdout


def restart(folder: Path) -> None:
    """Have the Dom-0 start again as a person does, with its guests ended before, and started after by itself; wait for its
    shell, at the same port."""
    with contextlib.suppress(ToolFailed):  # the connection ends with it
        shell(folder, DOM0, "systemctl reboot")
    end = time.monotonic() + BOOT
    while (server := find(folder)) and time.monotonic() < end:
        time.sleep(0.5)
    if server:
        server.end()
    _launch(_base(folder), folder, [], _doors(folder))
    _await(folder, DOM0, BOOT)


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _clear(folder: Path) -> None:
    if server := find(folder):
        server.end()
    shutil.rmtree(folder, ignore_errors=True)


def _first(base: Path, folder: Path, kept: Path, say: Say) -> None:
    """Boot everything from nothing, see that it computes right, and keep the moment in which all of it runs."""
    for older in base.glob("moment-*"):  # of another QEMU, or of a start that was killed
        shutil.rmtree(older)
    _layers(base, folder)
    _launch(base, folder, [])
    part = kept.with_name(f"{kept.name}.part")
    part.mkdir()
    try:
        _await(folder, DOM0, BOOT)
        say("Xen: its Dom-0 answers")
        shell(folder, DOM0, "systemctl is-system-running --wait; true", timeout=BOOT)
        for guest in recipe.GUESTS:
            shell(folder, DOM0, STARTED.format(guest.name), timeout=BOOT)
            _await(folder, guest.name, BOOT)
            say(f"Xen: guest {guest.name} answers")
        shell(folder, DOM0, f"{SOUND}; sync", timeout=BOOT)
        moment.keep(folder / MONITOR, part)
    finally:
        if server := find(folder):
            server.end()
    for name in build.DISKS:
        (folder / name).replace(part / name)
    part.replace(kept)


def _layers(below: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in build.DISKS:
        moment.layer(below / name, folder / name)


def _version() -> str:
    return tool.run([PROGRAM, "--version"]).stdout


def _hardware(folder: Path) -> list[str]:
    """The same at every start, or a kept moment cannot be gone on from."""
    drives = [w for n in build.DISKS for w in ("-drive", f"file={folder / n},format=qcow2,if=virtio,cache=unsafe,discard=unmap")]
    return [
        *("-machine", "pc", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "qemu64", "-smp", "2", "-m", "2560"),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", *drives),
        *("-device", "virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56", "-device", "virtio-rng-pci"),
    ]


def _launch(base: Path, folder: Path, more: list[str], doors: Mapping[str, int] | None = None) -> None:
    """Start QEMU; it outlives us. `doors`: the ports of the loopback interface by which its shells are reached."""
    names = _names()
    with _free(len(names)) as ports:
        doors = doors or dict(zip(names, ports, strict=True))
    forwarded = "".join(f",hostfwd=tcp:127.0.0.1:{doors[name]}-{address}:22" for name, address in names.items())
    argv = [
        *(tool.find(PROGRAM), *_hardware(folder), "-netdev", f"user,id=n0,restrict=on{forwarded}"),  # to nowhere but here
        *("-kernel", base / build.HYPERVISOR, "-append", "console=com1 com1=115200,8n1 dom0_mem=1024M,max:1024M noreboot"),
        *("-initrd", f"{base / build.KERNEL} root=/dev/vda {recipe.ARGUMENTS},{base / build.INITRD}"),
        *("-serial", f"file:{folder / LOG}", "-qmp", f"unix:{folder / MONITOR},server=on,wait=off", *more),
    ]
    _ssh(base, folder, doors)
    with (folder / ERRORS).open("wb") as errors:
        process = subprocess.Popen(
            list(map(str, argv)),
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=tool.environment(PROGRAM),
            start_new_session=True,
        )
    process.returncode = 0  # `Server.end` waits for it, not this object, which would warn that it is left running


def _ssh(base: Path, folder: Path, doors: Mapping[str, int]) -> None:
    """Write what ssh needs to reach each shell by its name."""
    shared = f"  HostName 127.0.0.1\n  User root\n  IdentityFile {base / build.KEY}\n  IdentitiesOnly yes\n  BatchMode yes\n"
    shared += f"  UserKnownHostsFile {base / build.HOSTS}\n  ConnectTimeout 120\n"
    entries = [
        f"Host {name}\n  Port {port}\n  HostKeyAlias xenlab-{DOM0 if name == DOM0 else 'guest'}\n{shared}"
        for name, port in doors.items()
    ]
    files.write(folder / CONFIG, "".join(entries))


def _base(folder: Path) -> Path:
    """What the Xen in a folder was made of: by now the recipe may be another one."""
    [key, *_] = re.findall(r"^  IdentityFile (.*)$", (folder / CONFIG).read_text(), re.MULTILINE)
    return Path(key).parent


def _doors(folder: Path) -> dict[str, int]:
    with contextlib.suppress(OSError):
        return {n: int(p) for n, p in re.findall(r"^Host (\S+)\n  Port (\d+)$", (folder / CONFIG).read_text(), re.MULTILINE)}
    return {}


def _names() -> Mapping[str, ipaddress.IPv4Address]:
    """The shells, each with its address."""
    return {DOM0: recipe.DOM0.ip} | {guest.name: guest.nics[0].address.ip for guest in recipe.GUESTS}


def _await(folder: Path, name: str, limit: float, script: str = "true") -> None:
    end = time.monotonic() + limit
    while True:
        try:
            shell(folder, name, script)
        except ToolFailed as e:
            if find(folder) is None or time.monotonic() > end:
                raise StepFailed(
                    Problem(
                        code="lab-xen-silent",
                        what=f"{name} of the lab's Xen does not answer",
                        where=str(folder / LOG),
                        found=tool.tail(_said(folder) or e.problems[0].found),
                        expected=f"a shell over ssh within {limit:g} s",
                        remedy="see what its console says; `hikkoshi lab xen down`, then try again",
                    )
                ) from None
            time.sleep(0.5)
        else:
            return


def _said(folder: Path) -> str:
    """The last words of QEMU, where it is gone, and of the console."""
    return "\n".join((folder / name).read_text(errors="replace") for name in (LOG, ERRORS) if (folder / name).is_file())


@contextlib.contextmanager
def _free(count: int) -> Iterator[list[int]]:
    """Ports of the loopback interface that nobody has."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        yield [one.getsockname()[1] for one in sockets]
