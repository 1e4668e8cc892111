"""Files of licences that count on one machine alone, known by a MAC or by what a move changes.

FlexLM's are read, which most vendors use: a line of the server (`SERVER host 00163e050000 27000`) and HOSTID= of a feature.
Source: FlexNet Publisher, License Administration Guide, "Hostids for Supported Platforms".
"""

import re
from collections.abc import Iterator, Mapping

from hikkoshi.guest.files import text
from hikkoshi.guest.interfaces import address
from hikkoshi.guest.note import Note, note

FILES = (
    *("/usr/local/flexlm/licenses/*.dat", "/usr/local/flexlm/licenses/*.lic", "/usr/local/flexlm/license*.dat"),
    *(
        "/etc/*.lic",
        "/etc/*/license.dat",
        "/opt/*/license*.dat",
        "/opt/*/*.lic",
        "/opt/*/licenses/*.dat",
        "/opt/*/licenses/*.lic",
    ),
    *("/opt/*/*/license*.dat", "/usr/local/*/license*.dat", "/usr/local/*/licenses/*.lic", "/var/flexlm/*.dat"),
)
_SERVER = re.compile(r"\s*SERVER\s+\S+\s+(\S+)", re.IGNORECASE)
_HOST = re.compile(r"\bHOSTID=(\"[^\"]*\"|\S+)", re.IGNORECASE)
_MAC = re.compile(r"(?:ETHERNET=)?([0-9a-f]{12})$", re.IGNORECASE)
# of these hostids a move keeps what is meant: any machine, the host's name, its address, a person's name, a dongle
_KEPT = re.compile(r"(?:ANY|DEMO|(?:HOSTNAME|INTERNET|USER|DISPLAY|ID|FLEXID|LM_HOSTID)(?:=.*)?)$", re.IGNORECASE)


def told(texts: Mapping[str, str]) -> Iterator[Note]:
    """What the licences are bound to: each MAC, and each that the move does not keep, once a file."""
    for path, content in texts.items():
        if _is_licence(path):
            yield from dict.fromkeys(_notes(path, content))


def _notes(path: str, content: str) -> Iterator[Note]:
    for bound in _bound(content):
        if mac := _MAC.match(bound):
            pairs = ":".join(mac[1][n : n + 2] for n in range(0, 12, 2))
            yield note("licence-by-mac", file=path, mac=address.mac(pairs))
        elif not _KEPT.match(bound):
            yield note("licence-by-machine", file=path, bound=bound[:100])


def _is_licence(path: str) -> bool:
    return path.endswith((".lic", ".dat")) and path.startswith(("/usr/local/", "/etc/", "/opt/", "/var/flexlm/"))


def _bound(content: str) -> Iterator[str]:
    for line in text.lines(content):
        if line.lstrip().startswith("#"):
            continue
        found = [m[1] for m in (_SERVER.match(line), *_HOST.finditer(line)) if m]
        yield from (word for hosts in found for word in hosts.strip('"').split())
