"""What runs in the moved guest when it starts for the first time: once, in order, with a log; then it takes itself away.

What went down in the middle is not run a second time. The rehearsal starts it too, in its overlay that is thrown away.
"""

import re
from collections.abc import Sequence
from typing import Literal

from hikkoshi.artefact import Frozen
from hikkoshi.guest.additions.addition import ARCHIVE_SCRIPT, FOLDER, RESULT, STARTING, WAITING, Additions

RUNNER = f"{FOLDER}/first-start.sh"
LOG = "/var/log/hikkoshi-first-start.log"
SERVICE = "hikkoshi-first-start"
UNIT = f"/etc/systemd/system/{SERVICE}.service"
SCRIPT = f"/etc/init.d/{SERVICE}"  # of a guest without systemd
ONLINE = 120  # seconds that it waits for the guest's addresses
FILES = (RUNNER, UNIT, SCRIPT, ARCHIVE_SCRIPT)

_RUNNER = f"""\
#!/bin/sh
# written when this guest moved to VMware: runs what was brought along, once, and takes itself away
PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root
export PATH HOME
umask 077 # of the log and the result
exec >>{LOG} 2>&1 </dev/null
if [ -e {RESULT} ]; then
    echo "the guest went down before all was done: nothing is run a second time"
    echo interrupted >>{RESULT}
else
    # the login waits for none of this, and this waits no longer where no network comes
    if [ -d /run/systemd/system ]; then
        timeout {ONLINE} systemctl start network-online.target
    elif [ -x /usr/bin/nm-online ]; then
        nm-online -q -x -t {ONLINE}
    fi
    : >{RESULT}
    for script in {STARTING}/*; do
        [ -f "$script" ] || continue
        chmod 700 "$script"
        name=${{script##*/}}
        echo "begun $name" >>{RESULT}
        sync
        echo "== $name begins: $(date)"
        (umask 022 && cd / && "$script")
        status=$?
        echo "== $name ended with $status: $(date)"
        echo "ended $name $status" >>{RESULT}
    done
    echo complete >>{RESULT}
fi
rm -rf {STARTING} {WAITING}
"""
_AWAY_UNIT = f"""\
systemctl disable {SERVICE}.service
rm -f {UNIT} {RUNNER}
sync
"""
_AWAY_SCRIPT = f"""\
if [ -x /sbin/chkconfig ]; then chkconfig --del {SERVICE}; else update-rc.d -f {SERVICE} remove; fi
rm -f {SCRIPT} /etc/rc*.d/[SK][0-9][0-9]{SERVICE} {RUNNER}
sync
"""
# after all else: what waits for addresses lets Debian's rc.local wait for them too, and the login waits for that
_UNIT = f"""\
# written when this guest moved to VMware
[Unit]
Description=what was brought along for the first start, once
After=local-fs.target network.target multi-user.target
ConditionPathExists={RUNNER}

[Service]
Type=simple
ExecStart=/bin/sh {RUNNER}
TimeoutSec=0

[Install]
WantedBy=multi-user.target
"""
_SCRIPT = f"""\
#!/bin/sh
# written when this guest moved to VMware: what was brought along for the first start, once
# chkconfig: 2345 99 01
# description: what was brought along for the first start, once
### BEGIN INIT INFO
# Provides:          {SERVICE}
# Required-Start:    $local_fs $network
# Required-Stop:
# Default-Start:     2 3 4 5
# Default-Stop:
# Short-Description: what was brought along for the first start, once
### END INIT INFO
case "$1" in
start) [ ! -f {RUNNER} ] || (trap '' HUP && exec /bin/sh {RUNNER}) & ;;
esac
exit 0
"""


# --default answers every question with its default, by which drivers that the kernel has of its own (vmxnet3, pvscsi) stay:
# they go only where --clobber-kernel-modules names them. --force-install is for where the installer advises open-vm-tools
_ARCHIVE = f"""\
#!/bin/sh
# written when this guest moved to VMware: unpacks VMware Tools, and runs their installer unattended
# not in /tmp: a guest may let nothing run from there; the installer takes TMPDIR for what it unpacks itself
work=$(mktemp -d {FOLDER}/vmware-tools.XXXXXX) || exit 1
trap 'rm -rf "$work"' 0
TMPDIR=$work
export TMPDIR
gzip -dc {WAITING}/*.tar.gz | tar -xf - -C "$work" || exit 1
cd "$work/vmware-tools-distrib" || exit 1
options=--default
./vmware-install.pl --help 2>&1 | grep -q -- --force-install && options="$options --force-install"
./vmware-install.pl $options
"""


class Started(Frozen):
    """One script of the first start."""

    name: str  # 01-NAME
    status: int | None  # exit status; None where it has not ended

    def __str__(self) -> str:
        return f"{self.name}: {'has not ended' if self.status is None else f'exit status {self.status}'}"


State = Literal["not begun", "running", "interrupted", "complete"]


def texts(systemd: bool, additions: Additions) -> dict[str, str]:
    """{path: content} of what starts it: a unit of systemd's, or a script for any other init; and of the archive's script."""
    archive = {ARCHIVE_SCRIPT: _ARCHIVE} if additions.archive else {}
    if systemd:
        return {RUNNER: _RUNNER + _AWAY_UNIT, UNIT: _UNIT, **archive}
    return {RUNNER: _RUNNER + _AWAY_SCRIPT, SCRIPT: _SCRIPT, **archive}


def commands(systemd: bool, distribution: str) -> list[tuple[str, ...]]:
    """The guest's own programs that have it started."""
    if systemd:
        return [("/bin/systemctl", "enable", f"{SERVICE}.service")]
    debian = distribution in ("debian", "ubuntu")
    enable = ("/usr/sbin/update-rc.d", SERVICE, "defaults") if debian else ("/sbin/chkconfig", "--add", SERVICE)
    return [("/bin/chmod", "755", SCRIPT), enable]


def read(result: Sequence[str]) -> tuple[State, tuple[Started, ...]]:
    """How far it came, and each script, from the lines of `RESULT`; what is no such line is passed over."""
    found: dict[str, int | None] = {}
    state: State = "running" if result else "not begun"
    for line in result:
        if m := re.fullmatch(r"begun (\S{1,200})", line):
            found[m[1]] = None
        elif m := re.fullmatch(r"ended (\S{1,200}) (\d{1,3})", line):
            found[m[1]] = int(m[2])
        elif line in ("interrupted", "complete") and state != "interrupted":
            state = "interrupted" if line == "interrupted" else "complete"
    return state, tuple(Started(name=name, status=status) for name, status in found.items())
