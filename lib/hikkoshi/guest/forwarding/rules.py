"""Rules of firewalls that translate addresses: only a guest that passes packets on has some for packets that pass.

Sources: iptables-restore(8), nft(8), ufw-framework(8), and the places where distributions keep what their services load.
"""

import re
from collections.abc import Iterator, Mapping

from hikkoshi.guest.files import sysconfig, text
from hikkoshi.guest.forwarding import starts
from hikkoshi.guest.forwarding.switch import Setting, doubtful

Texts = Mapping[str, str]  # {path in the guest: content}

INCLUDED = ("/etc/nftables.d/*", "/etc/nftables/*")
INTERFACES = ("/etc/network/interfaces", "/etc/network/interfaces.d/*")
RULES = (
    *("/etc/sysconfig/iptables", "/etc/sysconfig/ip6tables", "/etc/iptables/rules", "/etc/iptables/rules.v[46]"),
    *("/etc/iptables.rules", "/etc/iptables.up.rules"),
    *("/etc/nftables.conf", "/etc/sysconfig/nftables.conf", "/etc/firewalld/direct.xml"),
    *("/etc/iptables/iptables.rules", "/etc/iptables/rules-save", "/etc/iptables/rules6-save", "/var/lib/iptables/rules-save"),
    "/etc/ufw/before.rules",
)
RESTORED = (
    "/etc/*iptables*",
    "/etc/*firewall*",
    "/etc/*.rules",
    "/etc/*.nft",
    "/etc/iptables/*rules*",
)  # where a script may name one
_RESTORE = re.compile(
    r"(?!\s*#).*\b(?:ip6?tables-(?:restore|apply)\s+(?:-\w+\s+)*<?\s*|nft\s+(?:-\w+\s+)*-f\s*)[\"']?(/[^\s\"';|&)]+)"
)
FILES = (*RULES, *RESTORED, *INCLUDED)
_JUMPS = re.compile(
    r"(?!\s*#)(?!.*-A\s+OUTPUT\b).*(?:-j|--jump)\s+(?:MASQUERADE|SNAT|DNAT|NETMAP)\b|\s*nft\s.*\b(?:masquerade|[sd]nat)\b|.*--add-masquerade\b"
)
_NFT = re.compile(r"(?!\s*#).*\b(?:masquerade|[sd]nat\s+(?:ip6?\s+)?to)\b")
_UNREAD = "a file that is not read here"


def unread(texts: Texts) -> Iterator[Setting]:
    """Files of rules that are loaded, or included, and were not read."""
    for line, path, file in _restored(texts):
        if file not in texts and not any(starts.covers(p, file) for p in FILES):
            yield doubtful(line, path, _UNREAD)
    for path in starts.matching(texts, RULES):
        for line in text.lines(texts[path]):
            m = re.match(r"""\s*include\s+["']([^"']+)""", line)
            if m and not starts.matching(texts, (m[1],)) and not any(starts.covers(p, m[1]) for p in INCLUDED):
                yield doubtful(line, path, _UNREAD)


def _scripts(texts: Texts) -> list[str]:
    """What is run at a start, or may be, and is no rules alone."""
    tunnels = (path for paths in starts.TUNNELS.values() for path in paths)
    units = (f"{starts.UNITS}*.wants/*", f"{starts.SCRIPTS}*")
    return starts.matching(texts, (*starts.AT_START, *starts.HOOKS, *INTERFACES, *tunnels, *units))


def _restored(texts: Texts) -> Iterator[tuple[str, str, str]]:
    """`(line, script, file)` of files of rules that scripts load."""
    for path in _scripts(texts):
        for line in text.lines(texts[path]):
            if m := _RESTORE.match(line):
                yield line, path, m[1]


def translation(texts: Texts) -> str:
    """A rule that translates addresses of packets that pass, which only a guest has that passes some on."""
    loaded = [file for _, _, file in _restored(texts) if file in texts]
    ufw = sysconfig.values(texts.get("/etc/ufw/ufw.conf", "")).get("ENABLED", "").lower() != "no"
    for path in (*starts.matching(texts, (*RULES, *INCLUDED)), *loaded, *_scripts(texts)):
        pattern = _NFT if "nft" in path else _JUMPS
        lines = [line for line in text.lines(texts[path]) if pattern.match(line)]
        if lines and (ufw or not path.startswith("/etc/ufw/")) and not path.startswith(starts.SCRIPTS):
            return f"{lines[-1].strip()} in {path}"
    return ""
