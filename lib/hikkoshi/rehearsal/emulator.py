"""One running QEMU and its control channel (QMP: a JSON object per line, over a socket pair)."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from hikkoshi import tool
from hikkoshi.errors import Problem, ToolFailed
from hikkoshi.rehearsal import unprivileged
from hikkoshi.rehearsal.machine import SANDBOX, SET
from hikkoshi.rehearsal.screen import MEMORY, MEMORY_BYTES, Screen

_AGAIN = "run the step again; should it be the same again, what the guest did to QEMU may be the reason: do not move it"
LONGEST = 1 << 20  # characters of an answer
ANSWER_LIMIT = 30.0  # seconds that QEMU may take for an answer; it answers in milliseconds


class Emulator:
    """A started QEMU; `folder` is private to it and gone with it."""

    def __init__(self, process: subprocess.Popen[bytes], channel: IO[str], folder: Path) -> None:
        self._process = process
        self._channel = channel
        self._folder = folder
        self._receive()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Carry out a QMP command and return its answer; `ToolFailed` where QEMU refuses it or is gone."""
        try:
            self._channel.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self._channel.flush()
        except OSError:
            self._gone()
        while True:
            answer = self._receive()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise ToolFailed(
                    Problem(
                        code="qemu-refused",
                        what=f"QEMU refused {command}",
                        found=str(answer["error"].get("desc", answer["error"])),
                        remedy="see whether this QEMU is older than 7.1 (`qemu-system-x86_64 --version`)",
                    )
                )  # everything else is an event

    def frozen(self) -> bool:
        """Whether the guest has switched itself off or wants to restart."""
        return bool(self.execute("query-status")["status"] == "shutdown")

    def restart(self) -> None:
        """Let a guest that wanted to restart do so."""
        self.execute("set-action", reboot="reset")  # our own reset would freeze the machine too
        self.execute("system_reset")
        end = time.monotonic() + ANSWER_LIMIT
        while self.frozen() and time.monotonic() < end:  # the reset is carried out between two commands
            time.sleep(0.01)
        self.execute("set-action", reboot="shutdown")
        self.execute("cont")

    def screen(self) -> Screen:
        """The text on the screen now; the guest stands still for the few milliseconds in which it is read."""
        running = self.execute("query-status")["running"]
        if running:
            self.execute("stop")
        try:
            # kernels scroll by moving the start address: what is at the beginning of the memory may be long past
            start = self._register(0x3D4, 0x0C) << 8 | self._register(0x3D4, 0x0D)
            graphics = bool(self._register(0x3CE, 0x06) & 1)
            self.execute("pmemsave", val=MEMORY, size=MEMORY_BYTES, filename="vga")
        finally:
            if running:
                self._go_on()
        return Screen(memory=unprivileged.read(self._folder / "vga"), start=start, graphics=graphics)

    def _go_on(self) -> None:
        try:
            self.execute("cont")
        except ToolFailed:
            if not self.frozen():  # it has switched itself off, or wanted to restart, right before it was stopped
                raise

    def picture(self) -> bytes:
        """The screen as PNG."""
        self.execute("screendump", filename="screen.png", format="png")
        return unprivileged.read(self._folder / "screen.png")

    def _register(self, port: int, index: int) -> int:
        """Read an indexed VGA register, and leave the guest's own choice of index as it was."""
        before = self._in(port)
        self._human(f"o /b {port:#x} {index:#x}")
        try:
            return self._in(port + 1)
        finally:
            self._human(f"o /b {port:#x} {before:#x}")

    def _in(self, port: int) -> int:
        answer = self._human(f"i /b {port:#x}")
        found = re.search(r"= (0x[0-9a-f]+)", answer)
        if not found:
            raise ToolFailed(
                Problem(
                    code="qemu-answer-unknown",
                    what="QEMU's answer is not understood",
                    where=f"i /b {port:#x}",
                    found=answer,
                    expected="portb[…] = 0x…",
                    remedy="",
                )
            )
        return int(found[1], 16)

    def _human(self, line: str) -> str:
        return str(self.execute("human-monitor-command", **{"command-line": line}))

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._channel.readline(LONGEST)
        except TimeoutError:
            raise ToolFailed(
                Problem(
                    code="qemu-silent",
                    what="QEMU does not answer any more",
                    found=f"no answer in {ANSWER_LIMIT:g} s",
                    remedy="see whether the machine is overloaded, then run the step again",
                )
            ) from None
        except OSError:
            line = ""
        if not line:
            self._gone()
        try:
            answer: dict[str, Any] = dict(json.loads(line))
        except (ValueError, TypeError):
            raise ToolFailed(
                Problem(code="qemu-answer-unknown", what="QEMU's answer is not understood", found=line[:200], remedy=_AGAIN)
            ) from None
        return answer

    def _gone(self) -> NoReturn:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        raise ToolFailed(
            Problem(
                code="qemu-ended",
                what="QEMU ended by itself",
                where=" ".join(map(str, self._process.args)),  # type: ignore[arg-type]
                found=tool.tail(unprivileged.read(self._folder / "errors").decode(errors="replace")),
                expected="a machine that runs until the rehearsal has its verdict",
                remedy="QEMU's own words above name the cause: memory, a disk that cannot be read, a device it does not have",
            )
        )


@contextlib.contextmanager
def started(
    arguments: Sequence[str | Path],
    folder: Path,
    *,
    disk: Path | None = None,
    further: Sequence[Path] = (),
    groups: Sequence[int] = (),
) -> Iterator[Emulator]:
    """Start QEMU with `arguments`, in `folder` (of `unprivileged`), where its temporary files are; it is killed at the end.

    It has no rights but those of `groups`, and its own sandbox: no other program is started by it, no other user entered.
    `disk` and those `further` are handed to it open, for reading only, as `machine.handed` says.

    `ToolFailed` with QEMU's own words where it does not start.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(ANSWER_LIMIT)
    with contextlib.ExitStack() as stack, ours, theirs, (folder / "errors").open("wb") as errors:
        channel = ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
        handed = [theirs.fileno()]
        for n, path in enumerate([disk, *further] if disk else []):  # its folder is closed to a user without rights
            handed.append(stack.enter_context(_reading(path)))
            channel += ["-add-fd", f"fd={handed[-1]},set={SET + n}"]
        for fd in handed:
            os.set_inheritable(fd, True)
        process = subprocess.Popen(
            tool.command(["qemu-system-x86_64", *SANDBOX, *arguments, *channel], unprivileged.rights(*groups)),
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=tool.environment("qemu-system-x86_64", TMPDIR="."),  # for the snapshot
            cwd=folder,
            close_fds=False,
            start_new_session=True,
        )
        for fd in handed:
            os.set_inheritable(fd, False)
        theirs.close()
        stream = ours.makefile("rw", encoding="utf-8", newline="\n")
        try:
            yield Emulator(process, stream, folder)
        finally:
            with contextlib.suppress(OSError):  # what QEMU did not take before it ended
                stream.close()
            tool.end(process)


@contextlib.contextmanager
def _reading(disk: Path) -> Iterator[int]:
    fd = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
