"""Where a measurement's commands run: on this machine, in a network namespace of it, or on another machine over ssh.

The other side needs a POSIX shell and the programs that are asked for; nothing is installed there. Address, keys, jump
hosts and old algorithms are the business of the user's ssh_config(5).
"""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hikkoshi import tool
from hikkoshi.disk import remote
from hikkoshi.errors import BadInput, Problem

SBIN = "PATH=$PATH:/usr/sbin:/sbin; export PATH; LC_ALL=C; export LC_ALL\n"  # ssh gives old guests no sbin


@dataclass(frozen=True)
class Host:
    """A machine on which commands run. `prefix` is what stands before each; `shell` whether it takes one line for a shell."""

    name: str
    prefix: tuple[str, ...] = ()
    shell: bool = field(default=False, kw_only=True)

    def argv(self, command: Sequence[str]) -> list[str]:
        """The arguments that start `command` there, from here."""
        return [*self.prefix, *([shlex.join(command)] if self.shell else command)]

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
    """The host that an address means: `here`, `netns:PATH` of a network namespace's file, `ssh://[user@]host[:port]`.

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
        host, _, options = remote.address(address.rstrip("/") + "/-")
    except BadInput:
        raise BadInput(
            Problem(
                code="host-address-malformed",
                what="this is no address of a host",
                where=address,
                expected="here, netns:PATH or ssh://[user@]host[:port]",
                remedy="name the host as ssh knows it",
            )
        ) from None
    return ssh(host, options)


def ssh(host: str, options: Sequence[str] = ()) -> Host:
    """A machine over ssh, named as ssh knows it, with more options for ssh."""
    return Host(host, (*remote.SSH, *options, "--", host), shell=True)
