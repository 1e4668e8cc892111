"""A Dom-0 over ssh for tests: this machine by a real sshd, which ssh starts itself, with stand-ins for Xen's programs.

No network, no service, no key of the user's. `xl` and `xenstore-ls` keep what runs in files: `running` holds the names, and each
guest's answers are what a real Xen printed.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hikkoshi.params.site import Dom0
from hikkoshi.xen.reach import connection
from processes import wait_for

DATA = Path(__file__).parent / "data" / "xen"
KEPT = ("bin", "host", "host.pub", "user", "user.pub", "log")
SSHD = """\
HostKey {0}/host
AuthorizedKeysFile {0}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
LogLevel VERBOSE
SetEnv PATH={0}/bin:/usr/bin:/bin HOME={0}
"""
SSH = """\
Host *
ProxyCommand /usr/sbin/sshd -i -e -f {0}/sshd_config 2>>{0}/log
UserKnownHostsFile {0}/known_hosts
GlobalKnownHostsFile none
IdentityFile {0}/user
IdentitiesOnly yes
IdentityAgent none
"""
XL = """\
here={0}
echo "$*" >> $here/calls
case "$*" in
list)
  head -n 2 $here/list
  while read name; do grep "^$name " $here/list; done < $here/running;;
'list -l') cat "$here/long.`sort $here/running | tr '\\n' '+'`";;
'list -l '*) cat "$here/.domains/$3";;
'list -v') cat $here/uuids;;
info) cat {1};;
'shutdown -w '*) grep -vx "$3" $here/running > $here/rest; mv $here/rest $here/running;;
'create '*) test -f "$2" || {{ echo "no such file: $2" >&2; exit 2; }}
  echo "Parsing config from $2"; basename "$2" .cfg >> $here/running;;
*) echo "xl: unknown: $*" >&2; exit 1;;
esac
"""


@dataclass
class OverSsh:
    """The other machine. Programs in `bin` come before those of the system; `calls` of xl are noted."""

    folder: Path
    _odd: bool = False  # whether a connection may have been made while ssh or sshd were told something else

    @property
    def dom0(self) -> Dom0:
        return Dom0(ssh="dom0")

    @property
    def calls(self) -> list[str]:
        """What xl was asked to do, but for what it is only asked to tell."""
        noted = self.folder / "calls"
        return [x for x in noted.read_text().splitlines() if not x.startswith(("list", "info"))] if noted.exists() else []

    @property
    def logins(self) -> int:
        """How often somebody has logged in."""
        return (self.folder / "log").read_text().count("Accepted publickey")

    @property
    def running(self) -> list[str]:
        """The guests that run."""
        return (self.folder / "running").read_text().split()

    @property
    def processes(self) -> list[str]:
        """What runs on it, by command lines: all that a login starts has its PATH."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                inside, line = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
            except OSError:
                continue
            if f"PATH={self.folder}/bin:".encode() in inside:
                found.append(f"{process.name} {line.replace(bytes(1), b' ').decode(errors='replace')}")
        return found

    def program(self, name: str, script: str) -> None:
        """Put a program in the place of the system's."""
        (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "bin" / name).chmod(0o755)

    def sshd(self, line: str) -> None:
        """Have a line first in the configuration of its sshd."""
        self._configure("sshd_config", line)

    def ssh(self, line: str) -> None:
        """Have a line first in the configuration of its client."""
        self._configure("ssh_config", line)

    def known(self, key: str) -> None:
        """Have its client know this host key, or none, for it."""
        (self.folder / "known_hosts").write_text(f"dom0 {key}\n" if key else "")
        self.log_out()

    def log_out(self) -> None:
        """End the connection: what is asked next needs a new one."""
        connection.close()
        self._odd = True

    def as_new(self) -> None:
        """Take back all that a test did to it. A connection that was made as others are stays."""
        if self._odd:
            connection.close()
        for path in [*self.folder.iterdir(), *(self.folder / "bin").iterdir()]:
            if path.is_dir() and not path.is_symlink() and path.name not in KEPT:
                shutil.rmtree(path)
            elif path.name not in KEPT:
                path.unlink()
        (self.folder / "sshd_config").write_text(SSHD.format(self.folder))
        (self.folder / "ssh_config").write_text(SSH.format(self.folder))
        (self.folder / "known_hosts").write_text("dom0 " + (self.folder / "host.pub").read_text())
        self._odd = False

    def _configure(self, name: str, line: str) -> None:
        path = self.folder / name  # of two lines the first one counts
        path.write_text(f"{line}\n{path.read_text()}")
        self.log_out()

    def xen(self, *running: str) -> None:
        """A Xen on which these guests run, of web01 and db01."""
        self.program("xl", XL.format(self.folder, DATA / "xl-info.txt"))
        lines = (DATA / "xl-list-2guests.txt").read_text()
        (self.folder / "list").write_text(lines)
        (self.folder / "running").write_text("".join(f"{name}\n" for name in running))
        for names, data in (("", "[]\n"), ("web01+", "xl-list-l.json"), ("db01+web01+", "xl-list-l-2guests.json")):
            (self.folder / f"long.{names}").write_text((DATA / data).read_text() if data.endswith("json") else data)
        (self.folder / ".domains").mkdir(exist_ok=True)
        for domain in json.loads((DATA / "xl-list-l-2guests.json").read_text()):
            (self.folder / ".domains" / str(domain["domid"])).write_text(json.dumps([domain]))
        for name in ("web01", "db01"):
            shutil.copy(DATA / f"{name}.cfg", self.folder)


@contextmanager
def over_ssh(place: Path) -> Iterator[OverSsh]:
    """The machine, in an empty folder; as long as it is there, ssh reaches it by the name of `dom0`, and nothing else."""
    folder, client = place / "dom0", place / "client"
    (folder / "bin").mkdir(parents=True)
    client.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (client / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/ssh_config "$@"\n')
    (client / "ssh").chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it; it stays, for whoever else tests beside us
    (folder / "log").touch()
    machine = OverSsh(folder)
    machine.as_new()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{client}:{os.environ['PATH']}")
        yield machine
        connection.close()
    wait_for(lambda: not machine.processes, "all that ssh started ends")
