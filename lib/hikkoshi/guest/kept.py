"""What a survey keeps of the files that it has read: those that may be changed, and of others what a person has to judge."""

import fnmatch
from collections.abc import Mapping

from hikkoshi.guest import device
from hikkoshi.guest.additions import firststart
from hikkoshi.guest.bound import licence
from hikkoshi.guest.files import console, modprobe
from hikkoshi.guest.forwarding import forwarding
from hikkoshi.guest.interfaces import interfaces, networkd, pinning

LOOKED_AT = (  # files that tell facts and are never changed, as patterns
    *("/etc/network/*", "*/netplan/*", "*/NetworkManager/*", "/etc/systemd/network/*.net*", "/etc/wicked/*"),
    *("/etc/sysconfig/network", "/etc/sysconfig/network/*", "/etc/udev/*", "/etc/iftab", "/etc/mactab"),
    *(*forwarding.FILES, *interfaces.OTHERS, *(f"{folder}*" for folder in networkd.SHIPPED)),
    *licence.FILES,
    *("/etc/rc.d/rc.local", "/etc/rc.local", "/etc/sysconfig/rawdevices", "/etc/sysconfig/oracleasm", "/etc/multipath.conf"),
    *("/etc/hdparm.conf", "/etc/smartd.conf", "/etc/systemd/system/*.mount", "/etc/systemd/system/*.swap"),
    *("/etc/hostname", "/etc/HOSTNAME", "/etc/modprobe.d/*", "/etc/modprobe.conf.local", "/etc/*-release", "/boot/config-*"),
)
CHANGED = (  # files of these that may be changed all the same
    *("/etc/inittab", console.UNIT, pinning.UNIT, pinning.SCRIPT, *firststart.FILES),
    *("/etc/init/tty*.conf", "/etc/init/[hx]vc*.conf", "/etc/init/*console*.conf", "/etc/init/start-ttys.conf"),
)


def of(texts: Mapping[str, str]) -> dict[str, str]:
    """{path: text}, of files that are only looked at the lines that name a Xen device, if there are any."""
    found = {}
    for path, content in texts.items():
        rules = path in pinning.HOMES or pinning.names_nics(path, content)
        modules = path.startswith("/etc/modprobe") and modprobe.without_xen(content) != content
        changed = any(fnmatch.fnmatchcase(path, pattern) for pattern in CHANGED)
        if rules or modules or changed or not any(fnmatch.fnmatchcase(path, pattern) for pattern in LOOKED_AT):
            found[path] = content
        elif lines := device.names_xen(content):
            found[path] = "\n".join(lines) + "\n"
    return found
