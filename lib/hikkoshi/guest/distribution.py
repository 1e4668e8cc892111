"""Which distribution a guest is, by its own words, and which release.

Oracle's calls itself Red Hat's in /etc/redhat-release, and Ubuntu's files say Debian's name for the release to come: what is of
one distribution alone counts before. Sources: os-release(5), lsb_release(1), the release files of the distributions.
"""

import re
from collections.abc import Mapping

from hikkoshi.guest.files import sysconfig

FILES = ("/etc/oracle-release", "/etc/enterprise-release", "/etc/lsb-release")  # beside those that others read, too
_ENTERPRISE = {  # {how /etc/redhat-release begins: the distribution}; "Red Hat Linux" came before Enterprise Linux
    **{"red hat linux": "redhat", "red hat": "rhel", "centos": "centos", "scientific": "scientificlinux", "fedora": "fedora"},
    **{"oracle": "oracle", "enterprise linux": "oracle"},
    **dict.fromkeys(("cloudlinux", "springdale", "puias", "virtuozzo", "clearos", "nethserver", "eurolinux"), "rhel"),
}
_RELEASE = re.compile(r"(.*?)\s+(?:Linux\s+)?(?:\w+\s+)?release\s+([\d.]+)(?:.*Update (\d+))?")
_NAMES = {"ol": "oracle"}  # of os-release
_DEBIAN = {  # {name: number}; of the next release Debian says `name/sid`
    **{"potato": "2.2", "woody": "3.0", "sarge": "3.1", "etch": "4", "lenny": "5", "squeeze": "6", "wheezy": "7", "jessie": "8"},
    **{"stretch": "9", "buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "duke": "15"},
}
_KNOWN = (
    *("almalinux", "amzn", "asianux", "centos", "debian", "fedora", "linuxmint", "miraclelinux", "opensuse", "oracle", "photon"),
    *("raspbian", "rhel", "rocky", "scientific", "sled", "sles", "suse", "ubuntu"),
)


def of(texts: Mapping[str, str]) -> tuple[str, str]:
    """`('centos', '5.11')`."""
    told = sysconfig.values(texts.get("/etc/os-release", ""))
    own = _NAMES.get(told.get("ID", ""), told.get("ID", ""))
    like = told.get("ID_LIKE", "").split()
    for path in ("/etc/oracle-release", "/etc/enterprise-release", "/etc/redhat-release"):
        line = texts.get(path, "")
        if match := _RELEASE.match(line):
            words = " ".join(line.lower().split())
            name = next((v for k, v in _ENTERPRISE.items() if words.startswith(k)), match[1].lower())
            if path != "/etc/redhat-release" or own == "oracle":
                name = "oracle"
            elif name not in {*_ENTERPRISE.values(), *_KNOWN} and own in _KNOWN:
                break  # as Amazon's, which has a name in os-release alone
            elif name not in {*_ENTERPRISE.values(), *_KNOWN} and "rhel" in like:
                name = "rhel"
            return name, match[2] + (f".{match[3]}" if match[3] else "")
    if own:
        return _by_itself(own, like, told.get("VERSION_ID", ""), texts)
    suse = re.match(r"((?:open)?SUSE|Novell)\b(.*)", texts.get("/etc/SuSE-release", ""), re.IGNORECASE)
    if suse:
        said = dict(re.findall(r"^(VERSION|PATCHLEVEL)\s*=\s*([\d.]+)", texts["/etc/SuSE-release"], re.MULTILINE))
        release = said.get("VERSION", "unknown") + (f".{said['PATCHLEVEL']}" if said.get("PATCHLEVEL", "0") != "0" else "")
        name = "sles" if "enterprise" in suse[2].lower() else suse[1].lower()
        return "sled" if name == "novell" else name, release  # Novell's Linux Desktop 9 came before SUSE's
    lsb = sysconfig.values(texts.get("/etc/lsb-release", ""))
    if (name := lsb.get("DISTRIB_ID", "").lower()) in _KNOWN and name != "debian":
        return name, lsb.get("DISTRIB_RELEASE") or "unknown"
    if release := _debian(texts):
        return "debian", release
    return "unknown", told.get("VERSION_ID", "unknown")


def _by_itself(own: str, like: list[str], version: str, texts: Mapping[str, str]) -> tuple[str, str]:
    """What os-release says; of a relative whose name nobody knows, the one that it is like."""
    known = own in _KNOWN or own.startswith(("opensuse", "sle"))
    if own == "amzn" and re.match(r"201\d", version):  # before Amazon Linux 2, whose releases are no years
        return "amazon-linux-ami", version
    if not known and "ubuntu" in like:
        return "ubuntu", version or "unknown"
    if not known and "rhel" in like:
        return "rhel", version or "unknown"
    if own == "debian" or (not known and "debian" in like and "ubuntu" not in like):
        release = version if own == "debian" and version else _debian(texts)
        if release:
            return "debian", release
    return own, version or "unknown"


def _debian(texts: Mapping[str, str]) -> str:
    """The number in /etc/debian_version, or the one that its name stands for."""
    version = texts.get("/etc/debian_version", "").strip()
    return _DEBIAN.get(version.partition("/")[0], version)
