"""Where a measurement's commands run: on this machine, in a network namespace of it, or on another machine over ssh.

The other side needs a POSIX shell and the programs that are asked for; nothing is installed there.
"""

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hikkoshi import tool
from hikkoshi.errors import BadInput, Problem
from hikkoshi.params.guest import Guest
from hikkoshi.ssh import Login

SBIN = "PATH=$PATH:/usr/sbin:/sbin; export PATH; LC_ALL=C; export LC_ALL\n"  # ssh gives old guests no sbin


@dataclass(frozen=True)
class Host:
    """A machine on which commands run: by ssh where there is a `login`, else here, with `prefix` before each command."""

    name: str
    prefix: tuple[str, ...] = ()
    login: Login | None = field(default=None, kw_only=True)

    def argv(self, command: Sequence[str]) -> list[str]:
        """The arguments that start `command` there, from here."""
        return [*self.login.argv(), shlex.join(command)] if self.login else [*self.prefix, *command]

    def run(
        self, command: Sequence[str], *, stdin: str | bytes | None = None, timeout: float = 60, ok: Sequence[int] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end, as `tool.run` does here.

        `timeout` in seconds; `ToolFailed` for a status that is not in `ok`.
        """
        return tool.run(self.argv(command), stdin=stdin, timeout=timeout, ok=ok)

    def script(self, text: str, *, timeout: float = 60) -> str:
        """Have the shell there read a script from its standard input; gives what it printed."""
        return self.run(["sh"], stdin=SBIN + text, timeout=timeout).stdout

    def start(self, command: Sequence[str], *, errors: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a program there that goes on until `tool.end` is told; its output comes through `stdout`, a pipe.

        It dies with the calling thread; over ssh that ends the connection, which a program that prints notices. It does not
        hold the guest's lock: it only observes.
        """
        argv = self.argv(command)
        return subprocess.Popen(
            tool.command(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=tool.environment(argv[0]),
            start_new_session=True,
        )


HERE = Host("this machine")
# /sys shows the NICs of the namespace in which it was mounted: as ip-netns(8) does, it is mounted anew
_INSIDE = 'mount -t sysfs sysfs /sys 2>/dev/null; exec "$@"'


def parse(address: str, folder: Path = Path()) -> Host:
    """The host that an address means: `here`, `netns:PATH` of a network namespace's file, `ssh://[user@]host[:port]`; behind
    the last may stand `?config=PATH`, of an ssh_config(5) in the place of the user's own.

    A relative PATH starts at `folder`. `BadInput` for anything else, and where there is no such file.
    """
    if address == "here":
        return HERE
    if address.startswith("netns:"):
        path = folder / address.removeprefix("netns:")
        if not path.is_file():
            raise BadInput(
                Problem(
                    code="namespace-unknown",
                    what="there is no such network namespace",
                    where=address,
                    found=f"no file {path}",
                    expected="a network namespace's file, as in /run/netns",
                    remedy="correct the address; for the lab, as root: hikkoshi lab up",
                )
            )
        return Host(address, ("nsenter", f"--net={path}", "--", "unshare", "--mount", "sh", "-c", _INSIDE, "-"))
    try:
        login = Login.at(address, folder)
    except ValueError:
        raise BadInput(
            Problem(
                code="host-address-malformed",
                what="this is no address of a host",
                where=address,
                expected="here, netns:PATH or ssh://[user@]host[:port]",
                remedy="name the host as ssh knows it",
            )
        ) from None
    return by_ssh(login)


def by_ssh(login: Login) -> Host:
    """A machine over ssh."""
    return Host(login.host, login=login)


def unmeasured(guest: Guest) -> str:
    """Why a guest's network is not measured; empty where it is."""
    if guest.measurement is None:
        return f"params/guests/{guest.name}.yml has no measurement"
    if os.geteuid() != 0 and "netns:" in str(guest.measurement):
        return "its parameters name network namespaces, which root alone can enter"
    return ""
