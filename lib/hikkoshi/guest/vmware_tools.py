"""VMware Tools: where they come from for a guest. They are installed in the running guest, after the cut-over."""

import re

from hikkoshi.guest.facts import GuestFacts

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


def note(facts: GuestFacts) -> str:
    """What to do in the running guest, and why."""
    first, command = PACKAGED.get(facts.distribution, (0, ""))
    major = re.match(r"\d+", facts.release)
    if first and major and int(major[0]) >= first:
        return f"VMware Tools, after the cut-over in the running guest: {command} (from its own repositories)"
    return (
        f"VMware Tools: the repositories of {facts.distribution} {facts.release} have no open-vm-tools. After the cut-over "
        "choose 'Install VMware Tools' for the machine in vSphere, mount the disc in the guest, unpack VMwareTools-*.tar.gz, run "
        "vmware-install.pl; answer no where it would replace vmxnet3 or pvscsi: this guest starts from the drivers that it has"
    )
