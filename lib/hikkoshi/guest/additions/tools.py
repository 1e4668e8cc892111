"""VMware Tools: where they come from for a guest. They are installed in the running guest, after the cut-over."""

import re

from hikkoshi.guest.facts import GuestFacts
from hikkoshi.guest.note import Note, note

# {distribution: (the first release whose own repositories have open-vm-tools, the command)}
PACKAGED = {
    "centos": (7, "yum install open-vm-tools"),
    "rhel": (7, "yum install open-vm-tools"),
    "scientificlinux": (7, "yum install open-vm-tools"),
    "oracle": (7, "yum install open-vm-tools"),
    "rocky": (8, "dnf install open-vm-tools"),
    "almalinux": (8, "dnf install open-vm-tools"),
    "fedora": (19, "dnf install open-vm-tools"),
    "debian": (8, "apt-get install open-vm-tools"),
    "ubuntu": (14, "apt-get install open-vm-tools"),
    "sles": (12, "zypper install open-vm-tools"),
}


def advice(facts: GuestFacts) -> Note:
    """What to do in the running guest, and why."""
    first, command = PACKAGED.get(facts.distribution, (0, ""))
    major = re.match(r"\d+", facts.release)
    if first and major and int(major[0]) >= first:
        return note("tools-packaged", command=command)
    return note("tools-from-disc", system=f"{facts.distribution} {facts.release}")
