"""What the booted guest says about itself: a script that runs inside it, and the reader of what it prints.

The script needs nothing but a shell and what every init system's network scripts need too, and no password: it is put
into a throw-away overlay of the disk, see `injection`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface

from hikkoshi.guest.additions import firststart
from hikkoshi.guest.additions.addition import RESULT
from hikkoshi.guest.device import new, split
from hikkoshi.rehearsal.machine import MachineNic
from hikkoshi.rehearsal.outcome import Mount, SeenNic, ToolsSeen

PATH = "/hikkoshi-witness"  # in the overlay only
PORT = "/dev/ttyS0"
TAIL = 64_000  # bytes of the console that are looked at; a report of ten NICs has about 1,000
MOST_NICS = 64
MOST_FAILED = 30
MOST_MOUNTS = 100
MOST_DISKS = 64
TOOLS = ("open-vm-tools", "vmtoolsd", "vmware-tools")  # units of VMware Tools
# services of VMware Tools that end on QEMU, since it is no VMware: no fault of the guest
NO_VMWARE = re.compile(r"(?:open-vm-tools|vmtoolsd|vmware-tools|vgauthd?|run-vmblock\S*fuse)\.")
MOST_FIRST = 80  # lines about the first start

SCRIPT = rf"""# prints what this machine is to the serial port, some times, and again when the first start is through
PATH=/sbin:/usr/sbin:/bin:/usr/bin
export PATH
exec 2>/dev/null </dev/null

addresses() {{
    if ip -o addr show dev "$1" >/dev/null; then
        ip -o addr show dev "$1" | while read -r number device family address rest; do
            case "$family/$rest" in inet/* | inet6/*"scope global"*) printf ' %s' "$address" ;; esac
        done
    else
        ifconfig "$1" | sed -n 's/.*inet addr:\([0-9.]*\).*Mask:\([0-9.]*\).*/ \1\/\2/p' | tr -d '\n'
    fi
}}

lro() {{
    ethtool -k "$1" | sed -n 's/^large-receive-offload: \(o[nf]*\).*/ lro=\1/p'
}}

root() {{
    # the mount table of old kernels says /dev/root; the number of the device is the truth
    number=$(stat -c %D /)
    [ -n "$number" ] && number="$((0x$number >> 8)):$((0x$number & 255))"
    while read -r major minor blocks name; do
        [ "$major:$minor" = "$number" ] && echo "/dev/$name" && return
    done </proc/partitions
    while read -r device point rest; do
        [ "$point" = / ] && echo "$device"
    done </proc/mounts | grep '^/dev/' | tail -n 1
}}

volumes() {{
    for device in /sys/block/sd*/device/rev; do
        [ ! -e "$device" ] || echo "$device" $(cat "$device")
    done | sed -n 's|^/sys/block/\([^/]*\)/device/rev|disk \1|p'
    while read -r device point rest; do
        case $device in /dev/root) device=$(root) ;; /dev/disk/*) device=$(readlink -f "$device") ;; esac
        case $device in /dev/loop*) ;; /dev/*) echo "mount $device $point" ;; esac
    done </proc/mounts | head -n {MOST_MOUNTS}
    sed -n 's|^\(/dev/[^ \t]*\).*|mount \1 swap|p' /proc/swaps | head -n {MOST_MOUNTS}
}}

report() {{
    echo "kernel $(uname -r)"
    echo "root $(root)"
    for device in /sys/class/net/*; do
        [ -e "$device/device" ] || continue
        driver=$(readlink "$device/device/driver")
        echo "nic ${{device##*/}} $(cat "$device/address") ${{driver##*/}}$(addresses "${{device##*/}}")$(lro "${{device##*/}}")"
    done
    volumes
    if [ -d /run/systemd/system ]; then
        echo "services asked"
        systemctl --failed --no-legend --plain | head -n {MOST_FAILED} | while read -r unit rest; do
            echo "failed $unit"
        done
        for unit in {" ".join(TOOLS)}; do
            systemctl show "$unit.service" | while IFS='=' read -r key value; do
                case $key in LoadState | UnitFileState | ConditionResult | ExecMainStartTimestampMonotonic)
                    echo "tools $unit $key $value" ;;
                esac
            done
        done
    fi
    [ ! -e {firststart.RUNNER} ] || echo "first waits"
    [ ! -e {RESULT} ] || tail -n {MOST_FIRST - 1} {RESULT} | sed 's/^/first /'
}}

say() {{
    again=0
    while [ $again -lt "$1" ]; do
        again=$((again + 1))
        told=$(report)
        # opened anew each time: a getty that starts on the port hangs up on all who have it open
        printf '\nHIKKOSHI begin\n%s\nHIKKOSHI end %s\n' "$told" "$(echo "$told" | wc -l | tr -d ' ')" >{PORT}
        sleep 2
    done
}}

if [ -e {firststart.RUNNER} ]; then # it removes itself in the end
    say 4
    n=0
    while [ -e {firststart.RUNNER} ] && [ $n -lt 150 ]; do
        n=$((n + 1))
        sleep 2
    done
fi
say 20 # addresses may be late
"""

_BLOCK = re.compile(r"^HIKKOSHI begin\n(?P<body>(?:(?!HIKKOSHI).*\n)*?)HIKKOSHI end (?P<lines>\d{1,3})$", re.MULTILINE)
_KERNEL = re.compile(r"kernel (?P<kernel>[\w.+~-]{1,64})")
_ROOT = re.compile(r"root (?P<root>(?:/dev/[\w./-]{1,64})?)")
_DISK = re.compile(r"disk (sd[a-z]{1,2}) ([\w.+ -]{0,8})")
_MOUNT = re.compile(r"mount (/dev/\S{1,256}) (\S{1,1000})")
_FAILED = re.compile(r"failed ([\w@:.\\-]{1,100})")
_FIRST = re.compile(r"first ([\w.+~ -]{1,220})")
_TOOLS = re.compile(r"tools ([\w-]{1,40}) (\w{1,40}) ([\w-]{0,40})")
_NIC = re.compile(
    r"nic (?P<name>[\w.-]{1,15}) (?P<mac>(?:[0-9a-f]{2}:){5}[0-9a-f]{2}) (?P<driver>[\w-]{0,32})(?P<rest>[ 0-9a-f.:/]*?)"
    r"(?: lro=(?P<lro>on|off))?"
)


@dataclass(frozen=True)
class WitnessStatement:
    """What the guest said: its kernel (`uname -r`), the device that holds /, every NIC that has hardware, what it mounted, which
    services failed, where it `asked` systemd, which knows that; and lines about the first start, as its runner writes them.
    """

    kernel: str
    root: str
    nics: tuple[SeenNic, ...]
    failed: tuple[str, ...] = ()
    asked: bool = False
    first: tuple[str, ...] = ()
    tools: ToolsSeen | None = None
    mounts: tuple[Mount, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether something is to start yet that is waited for."""
        return self.tools is not None and self.tools.enabled and self.tools.condition and not self.tools.started

    def lacks(self, planned: Sequence[MachineNic]) -> bool:
        """Whether an address is not there yet that a NIC is to have; one by DHCP nobody can know."""
        seen = {nic.mac: nic.addresses for nic in self.nics}
        return any(nic.address and nic.address not in seen.get(nic.mac, ()) for nic in planned)

    @property
    def first_state(self) -> firststart.State | None:
        """How far the first start came; None where nothing runs at it."""
        return firststart.read(self.first)[0] if self.first else None


def read(console: str) -> WitnessStatement | None:
    """The last whole report on a serial console, or None.

    The kernel may write to the same port at any moment; a report that it has broken into does not count, the script
    repeats itself for that. Nothing in the console is trusted to be short or well-formed.
    """
    for block in reversed(list(_BLOCK.finditer(console[-TAIL:].replace("\r", "")))):
        told = _statement(block["body"].splitlines(), int(block["lines"]))
        if told:
            return told
    return None


def _statement(lines: list[str], promised: int) -> WitnessStatement | None:
    failed = [found[1] for line in lines if (found := _FAILED.fullmatch(line))]
    first = tuple(found[1] for line in lines if (found := _FIRST.fullmatch(line)))
    tools = [found.groups() for line in lines if (found := _TOOLS.fullmatch(line))]
    disks = [found for line in lines if (found := _DISK.fullmatch(line))]
    mounted = [found for line in lines if (found := _MOUNT.fullmatch(line))]
    asked = "services asked" in lines
    heads = lines[: len(lines) - len(failed) - len(first) - len(tools) - len(disks) - len(mounted) - asked]
    if (
        len(first) > MOST_FIRST
        or len(tools) > 4 * len(TOOLS)
        or len(lines) != promised
        or not 2 <= len(heads) <= MOST_NICS + 2
        or len(failed) > MOST_FAILED
        or len(disks) > MOST_DISKS
        or len(mounted) > 2 * MOST_MOUNTS
    ):
        return None
    kernel, root = _KERNEL.fullmatch(heads[0]), _ROOT.fullmatch(heads[1])
    nics = [_NIC.fullmatch(line) for line in heads[2:]]
    if not kernel or not root:
        return None
    seen = []
    for nic in nics:
        if not nic:
            return None
        try:
            addresses = tuple(str(ip_interface(a)) for a in nic["rest"].split())
        except ValueError:
            return None
        seen.append(SeenNic(name=nic["name"], mac=nic["mac"], driver=nic["driver"], addresses=addresses, lro=nic["lro"] or ""))
    places = {found[1]: int(found[2]) - 1 for found in disks if found[2].isascii() and found[2].isdigit()}
    mounts = tuple(Mount(device=_shown(_planned(m[1], places)), point=_shown(m[2]), called=_shown(m[1])) for m in mounted)
    return WitnessStatement(kernel["kernel"], root["root"], tuple(seen), tuple(failed), asked, first, _tools(tools), mounts)


def _shown(word: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in word)


def _planned(device: str, places: Mapping[str, int]) -> str:
    """The name that the plan has for a disk's partition, by the place that the disk has."""
    name, number = split(device)
    return new(places[name[5:]]) + number if 0 <= places.get(name[5:], -1) < MOST_DISKS else device


def _tools(told: Sequence[tuple[str, ...]]) -> ToolsSeen | None:
    """The first unit of VMware Tools that the guest has."""
    for unit in TOOLS:
        known = {key: value for name, key, value in told if name == unit}
        if known.get("LoadState") == "loaded":
            return ToolsSeen(
                unit=unit,
                enabled=known.get("UnitFileState") in ("enabled", "alias", "generated"),
                condition=known.get("ConditionResult") == "yes",
                started=known.get("ExecMainStartTimestampMonotonic", "0") not in ("", "0"),
            )
    return None
