"""vSphere's names for operating systems: from which hardware version on there is one, and which one a guest gets.

Since when a name exists is told by Broadcom's reference (VirtualMachineGuestOsIdentifier, and `minAPIVersionForEnumValue` of
govmomi: of all names up to 0.36, of those since 7.0.1 in 0.57 too) as a version of the API; here it is the hardware version
that came with that one.
"""

import re
from collections.abc import Iterator

from pyVmomi import vim

GUEST_IDS: frozenset[str] = frozenset(vim.vm.GuestOsDescriptor.GuestOsIdentifier.values)
NEWEST = 22  # the hardware version of vSphere 9.0
# names of vSphere 4 and before are left out: whatever serves today has them
_SINCE = {  # {hardware version: names that came with it}; * is Guest and _64Guest, + is Guest and 64Guest
    8: "darwin10* darwin11* eComStation2Guest vmkernelGuest vmkernel5Guest "
    "debian6* solaris11_64Guest windows8* windows8Server64Guest",
    9: "opensuse+ fedora+",
    10: "darwin12_64Guest darwin13_64Guest "
    "rhel7* sles12* debian7* other3xLinux+ genericLinuxGuest mandrakeGuest windowsHyperVGuest",
    11: "darwin14_64Guest vmkernel6Guest debian8* asianux5_64Guest coreos64Guest windows9* windows9Server64Guest",
    13: "darwin15_64Guest darwin16_64Guest vmkernel65Guest "
    "centos6* centos7* oracleLinux6* oracleLinux7* debian9* debian10* asianux7_64Guest vmwarePhoton64Guest",
    14: "darwin17_64Guest darwin18_64Guest "
    "rhel8_64Guest centos8_64Guest oracleLinux8_64Guest sles15_64Guest asianux8_64Guest other4xLinux+ freebsd11* freebsd12*",
    15: "amazonlinux2_64Guest",
    17: "darwin19_64Guest vmkernel7Guest crxPod1Guest debian11* windows2019srv_64Guest",
    18: "darwin20_64Guest darwin21_64Guest "
    "rhel9_64Guest centos9_64Guest oracleLinux9_64Guest sles16_64Guest asianux9_64Guest amazonlinux3_64Guest other5xLinux+ "
    "freebsd13* windows2019srvNext_64Guest",
    20: "darwin22_64Guest darwin23_64Guest vmkernel8Guest "
    "debian12* rockylinux_64Guest almalinux_64Guest other6xLinux+ freebsd14* windows11_64Guest windows12_64Guest "
    "windows2022srvNext_64Guest",
    21: "crxSys1Guest",
    22: "vmkernel9Guest "
    "rhel10_64Guest oracleLinux10_64Guest debian13* miraclelinux_64Guest pardus_64Guest other7xLinux+ fusionos_64Guest "
    "prolinux_64Guest kylinlinux_64Guest flatcar_64Guest freebsd15*",
}
_BOTH = {"*": ("Guest", "_64Guest"), "+": ("Guest", "64Guest")}
SINCE = {
    word[:-1] + end if word[-1] in _BOTH else word: version
    for version, words in _SINCE.items()
    for word in words.split()
    for end in _BOTH.get(word[-1], ("",))
}
_RELATIVES = {  # {as its own files name it: as vSphere does, nearest first; # stands for its release}
    "centos": "centos# centos rhel#",
    "rhel": "rhel#",
    "scientificlinux": "rhel#",
    "scientific": "rhel#",
    "rocky": "rockylinux rhel#",
    "almalinux": "almalinux rhel#",
    "oracle": "oracleLinux# oracleLinux rhel#",
    "ol": "oracleLinux# oracleLinux rhel#",
    "fedora": "fedora",
    "sles": "sles# sles",
    "sled": "sles# sles",
    "sles_sap": "sles# sles",
    "opensuse": "opensuse suse",
    "opensuse-leap": "opensuse suse",
    "opensuse-tumbleweed": "opensuse suse",
    "suse": "opensuse suse",
    "debian": "debian#",
    "raspbian": "debian#",
    "ubuntu": "ubuntu",
    "linuxmint": "ubuntu",
    "amzn": "amazonlinux#",
    "photon": "vmwarePhoton",
    "asianux": "asianux#",
    "miraclelinux": "miraclelinux asianux# rhel#",
    "freebsd": "freebsd# freebsd",
}
_OLDEST = 2  # the lowest number in a name
_LATEST = 20  # above the highest


def since(guest_id: str) -> int:
    """The hardware version from which on there is this name; 0 where all have it."""
    return SINCE.get(guest_id, 0)


def names(distribution: str, release: str, arch: str, kernel: str = "") -> Iterator[str]:
    """Every name that fits, the nearest first: its own, those of its earlier releases, of its relatives, of any Linux.

    A release without a number is one that is not published yet, or of nobody known: the latest.
    """
    wide = arch == "x86_64"
    number = re.match(r"\d+", release)
    for relative in _RELATIVES.get(distribution, "").split():
        stem = relative.removesuffix("#")
        numbers = range(min(int(number[0]), _LATEST) if number else _LATEST, _OLDEST - 1, -1) if stem != relative else [""]
        yield from (f"{stem}{n}{end}" for n in numbers for end in (("_64Guest", "64Guest") if wide else ("Guest",)))
    first = re.match(r"(\d+)\.(\d+)", kernel)
    series = [first[1] + first[2] if first[1] == "2" else first[1]] if first else []
    yield from (f"other{x}xLinux{'64' if wide else ''}Guest" for x in (*series, "26"))
    yield f"otherLinux{'64' if wide else ''}Guest"


def nearest(wanted: Iterator[str], hardware_version: int = NEWEST) -> str:
    """The first of these that there is in a hardware version."""
    return next(name for name in wanted if name in GUEST_IDS and since(name) <= hardware_version)


def replacement(guest_id: str, hardware_version: int) -> str:
    """For a name that a hardware version does not have: the latest of the same system that it has, or that of any system."""
    stem = re.sub(r"_?(?:64)?Guest(?:64)?$", "", guest_id)
    wide = "64" in guest_id[len(stem) :]
    number = re.search(r"(\d+)(xLinux)?$", stem)
    kin: list[str] = []
    if number:
        before, behind = stem[: number.start()], number[2] or ""
        ends = ("_64Guest", "64Guest") if wide else ("Guest",)
        kin += [f"{before}{n}{behind}{end}" for n in range(int(number[1]), _OLDEST - 1, -1) for end in ends]
        kin += [f"{before}{'64' if wide else ''}Guest"]
    distribution = {"rockylinux": "rocky", "amazonlinux2": "amzn", "amazonlinux3": "amzn", "vmwarePhoton": "photon"}.get(
        stem, stem
    )
    if distribution in _RELATIVES or "linux" in stem.lower() or any(x.startswith(stem[:4]) for x in _RELATIVES):
        kin += names(distribution, "", "x86_64" if wide else "i686")
    return nearest(iter([*kin, "otherGuest64" if wide else "otherGuest"]), hardware_version)
