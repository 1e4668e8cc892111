"""Does a guest pass packets on between its networks? By its files alone, and where these leave it open, that is the answer.

What turns the kernel's switches at a start is replayed in its order: arguments of the kernel, sysctl's files, the
distribution's files on the network, what configures NICs, firewalls, programs that switch it on themselves, scripts. The last
one counts, and a switch for all NICs is one for each of them.

Sources: sysctl(8), sysctl.d(5), ip-sysctl of the kernel's documentation, systemd.network(5), networkd.conf(5),
nm-settings-keyfile(5), interfaces(5), ufw-framework(8), firewalld.zone(5), shorewall.conf(5), dockerd(8), zebra(8),
keepalived.conf(5), and the scripts of Enterprise Linux, SUSE and Debian that read the rest.
"""

import fnmatch
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hikkoshi.guest.files import sysconfig, text

Texts = Mapping[str, str]  # {path in the guest: content}

SYSCTL = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")  # the first counts
CONF, LINK = "/etc/sysctl.conf", "/etc/sysctl.d/99-sysctl.conf"
NETWORKD = ("/etc/systemd/networkd.conf", "/etc/systemd/networkd.conf.d/*.conf", "/etc/systemd/network/*.network")
NETWORKD_MORE = "/etc/systemd/network/*.network.d/*.conf"
KEYFILES = "/etc/NetworkManager/system-connections/*"
INTERFACES = ("/etc/network/interfaces", "/etc/network/interfaces.d/*")
RULES = (
    *(
        "/etc/sysconfig/iptables",
        "/etc/sysconfig/ip6tables",
        "/etc/iptables/rules*",
        "/etc/iptables.rules",
        "/etc/iptables.up.rules",
    ),
    *("/etc/nftables.conf", "/etc/sysconfig/nftables.conf", "/etc/firewalld/direct.xml"),
)
AT_START = ("/etc/rc.d/rc.local", "/etc/rc.local", "/etc/init.d/boot.local", "/etc/rc.d/rc.firewall", "/sbin/ifup-local")
HOOKS = ("/etc/network/if-pre-up.d/*", "/etc/network/if-up.d/*", "/etc/NetworkManager/dispatcher.d/*")
ZEBRA = ("/etc/quagga/Quagga.conf", "/etc/quagga/zebra.conf", "/etc/frr/frr.conf", "/etc/frr/zebra.conf")
SERVICES = (
    *("docker", "firewalld", "frr", "keepalived", "libvirtd", "lxc-net", "quagga", "shorewall", "shorewall6"),
    *("SuSEfirewall2", "SuSEfirewall2_setup", "systemd-networkd", "ufw", "zebra"),
)
_STARTED = re.compile(
    r"/etc/(?:systemd/system/[^/]+\.(?:wants|requires)/(.+)\.service|(?:(?:rc|init)\.d/)?rc[2345]\.d/S\d\d(.+))"
)
FILES = (  # that are read for this answer, beside those that are read anyway; nothing of them is kept
    *(f"{folder}/*.conf" for folder in SYSCTL),
    *("/etc/sysconfig/sysctl", "/etc/sysconfig/SuSEfirewall2", "/etc/network/options", "/etc/debian_version"),
    *NETWORKD,
    NETWORKD_MORE,
    *(
        "/etc/ufw/sysctl.conf",
        "/etc/ufw/ufw.conf",
        "/etc/default/ufw",
        "/etc/firewalld/zones/*.xml",
        "/etc/firewalld/policies/*.xml",
    ),
    *("/etc/shorewall/shorewall.conf", "/etc/shorewall6/shorewall6.conf", "/etc/default/shorewall", "/etc/default/shorewall6"),
    *("/etc/docker/daemon.json", "/etc/libvirt/qemu/networks/autostart/*.xml", "/etc/default/lxc-net"),
    *("/etc/quagga/daemons", "/etc/frr/daemons", *ZEBRA, "/etc/keepalived/keepalived.conf"),
    *RULES,
    *AT_START,
    *HOOKS,
    *(f"/etc/systemd/system/*.wants/{name}.service" for name in SERVICES),
    *(f"/etc/{folder}rc[2345].d/S[0-9][0-9]{name}" for folder in ("", "rc.d/", "init.d/") for name in SERVICES),
)
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
_JUMPS = re.compile(
    r"(?!\s*#).*(?:-j|--jump)\s+(?:MASQUERADE|SNAT|DNAT|NETMAP)\b|\s*nft\s.*\b(?:masquerade|[sd]nat)\b|.*--add-masquerade\b"
)
_NFT = re.compile(r"(?!\s*#).*\b(?:masquerade|[sd]nat\s+(?:ip6?\s+)?to)\b")
_ECHO = re.compile(r"""echo\s+(?:-\w\s+)?["']?(\d+)["']?\s*>+\s*["']?/proc/sys/(net/[\w./*-]+)""")
_ASSIGNED = re.compile(r"""(net[./][\w./*-]+)\s*=\s*["']?(\d+)""")


@dataclass(frozen=True)
class Setting:
    """One line that turns a switch of the kernel."""

    family: str  # ipv4, ipv6
    nic: str  # all, or one of them
    on: bool
    line: str
    path: str
    doubt: str = ""  # why it may have no effect

    def __str__(self) -> str:
        return f"{self.line.strip()} in {self.path}"


def of(texts: Texts, *, systemd: bool = False, linked: bool = True) -> tuple[bool | None, str]:
    """Whether it does, and how that is known; None where its files leave it open, and then why.

    `systemd` says whether that starts the guest, and `linked` whether `LINK` is there, by which it reads /etc/sysctl.conf.
    """
    settings = [
        *_arguments(texts),
        *_sysctl(texts, unread=systemd and not linked),
        *_distribution(texts),
        *_networks(texts),
        *_firewalls(texts),
        *_programs(texts),
        *_scripts(texts),
    ]
    turned, untrusted = _replayed(s for s in settings if not s.doubt), _replayed(settings)
    if bool(turned) != bool(untrusted):
        last = [s for s in settings if s.doubt and s.on == bool(untrusted)][-1]
        return None, f"{last}, {last.doubt}"
    if turned:
        return True, str(turned)
    off = next((s for s in reversed(settings) if not s.on and not s.doubt and s.family == "ipv4" and s.nic == "all"), None)
    if rule := _translation(texts):
        return (None, f"{rule}, but {off}") if off else (True, rule)
    routers = list(_on(texts, "/etc/keepalived/keepalived.conf", r"\s*vrrp_instance\s.*"))
    if routers and off is None:
        return None, f"{routers[0]}: it takes addresses over from another machine, as routers do"
    return False, str(off) if off else "nothing in the files of its network, firewall or programs turns it on"


def _replayed(settings: Iterable[Setting]) -> Setting | None:
    """The last switch that is on in the end. IPv6 is passed on by the switch for all NICs alone."""
    switches: dict[tuple[str, str], Setting] = {}
    for s in settings:
        if s.nic == "all":
            switches = {key: other for key, other in switches.items() if key[0] != s.family}
        switches.pop((s.family, s.nic), None)
        switches[s.family, s.nic] = s
    return next((s for s in reversed(switches.values()) if s.on), None)


def _switch(key: str, value: str, line: str, path: str, doubt: str = "") -> Iterator[Setting]:
    """The setting that a key of sysctl and its value are; the first separator of a key says which of the two it has."""
    first = re.search(r"[./]", key)
    parts = key.translate(str.maketrans("./", "/.")).split("/") if first and first[0] == "." else key.split("/")
    number = re.match(r"-?(0[xX][0-9a-fA-F]+|\d+)(?!\S)", value)
    if not number:
        return  # the kernel takes a number, and whatever stands behind a blank; of anything else it leaves all as it is
    on = bool(int(number[1], 16 if number[1][:2] in ("0x", "0X") else 10))
    match parts:
        case ["net", "ipv4", "ip_forward"]:
            yield Setting("ipv4", "all", on, line, path, doubt)
        case ["net", "ipv4" | "ipv6", "conf", "all" | "*", "forwarding"]:
            yield Setting(parts[1], "all", on, line, path, doubt)
        case ["net", "ipv4", "conf", nic, "forwarding"] if nic != "lo":
            later = "which counts for NICs that appear after it alone" if nic == "default" else ""
            yield Setting("ipv4", nic, on, line, path, doubt or later)
        case ["net", "ipv6", "conf", nic, "force_forwarding"] if nic != "lo":
            yield Setting("ipv6", nic, on, line, path, doubt)


def _sysctl_file(content: str, path: str, doubt: str = "") -> Iterator[Setting]:
    for line in text.lines(content):
        key, is_one, value = line.strip().removeprefix("-").partition("=")
        if is_one and not key.startswith(("#", ";")):
            yield from _switch(key.strip(), value.strip(), line, path, doubt)


def _arguments(texts: Texts) -> Iterator[Setting]:
    """`sysctl.KEY=VALUE` of a kernel's arguments, from Linux 5.8 on."""
    for path, content in texts.items():
        if path.startswith("/boot/") or path in ("/etc/default/grub", "/etc/kernel/cmdline"):
            for said in re.finditer(r"(?:^|[\s\"'])(sysctl[./](net[./][\w./-]+)=(\d+))", content):
                yield from _switch(
                    said[2], said[3], said[1], path, "an argument of a kernel that may not be the one that is started"
                )


def _sysctl(texts: Texts, *, unread: bool) -> Iterator[Setting]:
    """All of sysctl's files by their names, whatever their folder; the same name in an earlier folder hides a later one."""
    files: dict[str, str] = {}
    for folder in SYSCTL:
        for path in sorted(fnmatch.filter(texts, f"{folder}/*.conf")):
            files.setdefault(path.rpartition("/")[2], path)
    for name in sorted(files):
        if files[name] != LINK or texts[LINK] != texts.get(CONF):  # else it is that file, and comes last
            yield from _sysctl_file(texts[files[name]], files[name])
    doubt = f"which systemd does not read without the link {LINK}" if unread else ""
    yield from _sysctl_file(texts.get(CONF, ""), CONF, doubt)


def _distribution(texts: Texts) -> Iterator[Setting]:
    """Files of distributions that say it in words of their own."""
    yield from _on(texts, "/etc/sysconfig/network", r"\s*FORWARD_IPV4=[\"']?(?:yes|true)[\"']?\s*")
    suse, debian = "which sysctl's files may undo", "which Debian ignores since 4.0"
    version = re.match(r"\d+", texts.get("/etc/debian_version", ""))
    for path, key, family, doubt_on, doubt_off in (
        ("/etc/sysconfig/network", "IPV6FORWARDING", "ipv6", "", "which counts with NETWORKING_IPV6=yes alone"),
        ("/etc/sysconfig/sysctl", "IP_FORWARD", "ipv4", "", suse),
        ("/etc/sysconfig/sysctl", "IPV6_FORWARD", "ipv6", "", suse),
        ("/etc/network/options", "ip_forward", "ipv4", *[debian if version and int(version[0]) >= 4 else ""] * 2),
    ):
        value = sysconfig.values(texts.get(path, "")).get(key, "").lower()
        if value in (*_YES, *_NO):
            yield Setting(family, "all", value in _YES, f"{key}={value}", path, doubt_on if value in _YES else doubt_off)


def _networks(texts: Texts) -> Iterator[Setting]:
    """What configures NICs, and switches forwarding on for it; none of these switches it off."""
    doubt = "" if _started(texts, "systemd-networkd") else "and it is not seen that systemd-networkd is started"
    pattern = r"\s*(?:IPForward|IPMasquerade|IPv[46]Forwarding)\s*=\s*(?:yes|true|on|1|ipv4|ipv6|both)\s*"
    for path in _matching(texts, (*NETWORKD, NETWORKD_MORE)):
        yield from _on(texts, path, f"(?i:{pattern})", doubt)
    for path in _matching(texts, (KEYFILES,)):
        yield from _on(texts, path, r"\s*(?:method\s*=\s*shared|forwarding\s*=\s*(?:1|yes|true))\s*")
    for path in _matching(texts, ("/etc/sysconfig/network-scripts/ifcfg-*",)):
        yield from _on(texts, path, r"\s*BOOTPROTO=[\"']?shared[\"']?\s*")
    for path in _matching(texts, INTERFACES):
        yield from _on(texts, path, r"\s*ip6?-forward\s+(?:yes|on|1)\s*", "an option that only ifupdown2 knows")
        ups = "\n".join(line for line in text.lines(texts[path]) if re.match(r"\s*(?:pre-|post-)?up\s", line))
        yield from _script(ups, path)


def _firewalls(texts: Texts) -> Iterator[Setting]:
    enabled = sysconfig.values(texts.get("/etc/ufw/ufw.conf", "")).get("ENABLED", "").lower()
    own = sysconfig.values(texts.get("/etc/default/ufw", "")).get("IPT_SYSCTL", "/etc/ufw/sysctl.conf")
    if enabled != "no" and own != CONF:
        doubt = "" if enabled == "yes" else "and it is not seen that ufw is started"
        yield from _sysctl_file(texts.get(own, ""), own, doubt)
    doubt = "" if _started(texts, "firewalld") else "and it is not seen that firewalld is started"
    for path in _matching(texts, ("/etc/firewalld/zones/*.xml", "/etc/firewalld/policies/*.xml")):
        yield from _on(texts, path, r".*<(?:masquerade\b|forward-port\b[^>]*\bto-addr=).*", doubt)
    for name, family in (("shorewall", "ipv4"), ("shorewall6", "ipv6")):
        path = f"/etc/{name}/{name}.conf"
        values = sysconfig.values(texts.get(path, ""))
        value = values.get("IP_FORWARDING", "keep").lower()
        default = sysconfig.values(texts.get(f"/etc/default/{name}", "")).get("startup")
        started = default == "1" if default is not None else _started(texts, name)
        if value in (*_YES, *_NO) and values.get("STARTUP_ENABLED", "yes").lower() != "no":
            doubt = "" if started else f"and it is not seen that {name} is started"
            yield Setting(family, "all", value in _YES, f"IP_FORWARDING={value.title()}", path, doubt)
    path = "/etc/sysconfig/SuSEfirewall2"
    seen = _started(texts, "SuSEfirewall2") or _started(texts, "SuSEfirewall2_setup")
    yield from _on(
        texts,
        path,
        r"\s*FW_(?:ROUTE|MASQUERADE)=[\"']?yes[\"']?\s*",
        "" if seen else "and it is not seen that this firewall is started",
    )


def _programs(texts: Texts) -> Iterator[Setting]:
    """Programs that switch it on when they start."""
    daemon = "/etc/docker/daemon.json"
    unit = next((path for path in texts if (m := _STARTED.fullmatch(path)) and "docker" in m.groups()), "")
    if (unit or daemon in texts) and _json(texts.get(daemon, "")).get("ip-forward") is not False:
        yield Setting(
            "ipv4",
            "all",
            on=True,
            line="docker",
            path=unit or daemon,
            doubt="" if unit else "and it is not seen that it is started",
        )
    doubt = "" if _started(texts, "libvirtd") else "and it is not seen that libvirtd is started"
    for path in _matching(texts, ("/etc/libvirt/qemu/networks/autostart/*.xml",)):
        yield from _on(texts, path, r".*<forward\b.*", doubt)
    doubt = "" if _started(texts, "lxc-net") else "and it is not seen that lxc-net is started"
    yield from _on(texts, "/etc/default/lxc-net", r"\s*USE_LXC_BRIDGE=[\"']?true[\"']?\s*", doubt)
    listed = {
        s for p in ("/etc/quagga/daemons", "/etc/frr/daemons") for s in re.findall(r"^\s*(\w+)=yes", texts.get(p, ""), re.M)
    }
    seen = listed or any(_started(texts, name) for name in ("frr", "quagga", "zebra"))
    for path in _matching(texts, ZEBRA):
        for line in text.lines(texts[path]):
            if said := re.fullmatch(r"\s*(no\s+)?(ip|ipv6)\s+forwarding\s*", line):
                family = {"ip": "ipv4", "ipv6": "ipv6"}[said[2]]
                yield Setting(family, "all", not said[1], line, path, "" if seen else "and it is not seen that zebra is started")
    doubt = "" if _started(texts, "keepalived") else "and it is not seen that keepalived is started"
    yield from _on(texts, "/etc/keepalived/keepalived.conf", r"\s*(?:lvs_method|lb_kind)\s+(?:NAT|DR|TUN)\b.*", doubt)


def _scripts(texts: Texts) -> Iterator[Setting]:
    for path in _matching(texts, (*HOOKS, *AT_START)):
        yield from _script(texts[path], path)


def _script(content: str, path: str) -> Iterator[Setting]:
    """Of a shell script, up to the first `exit` that is in no block: on counts, for what switches it off may be its other end."""
    found: list[Setting] = []
    for line in text.lines(content):
        if re.match(r"exit\b", line):
            break
        said = re.sub(r"(?:^|\s)#.*", "", line)
        pairs = [(m[2], m[1]) for m in _ECHO.finditer(said)]
        pairs += [(m[1], m[2]) for m in _ASSIGNED.finditer(said)] if "sysctl" in said else []
        for key, value in pairs:
            found += _switch(key, value, line, path)
    on = [s for s in found if s.on]
    if on and not found[-1].on:
        yield Setting(on[-1].family, on[-1].nic, on=True, line=on[-1].line, path=path, doubt="but it is switched off there, too")
    else:
        yield from found


def _translation(texts: Texts) -> str:
    """A rule that translates addresses of packets that pass, which only a guest has that passes some on."""
    for path in _matching(texts, (*RULES, *AT_START, *HOOKS, *INTERFACES)):
        pattern = _NFT if "nftables" in path else _JUMPS
        lines = [line for line in text.lines(texts[path]) if pattern.match(line)]
        if lines:
            return f"{lines[-1].strip()} in {path}"
    return ""


def _on(texts: Texts, path: str, pattern: str, doubt: str = "") -> Iterator[Setting]:
    """A setting for the last line of a file that is as the pattern; what XML has as a comment is none."""
    content = texts.get(path, "")
    if path.endswith(".xml"):
        content = re.sub(r"<!--.*?-->", "", content, flags=re.DOTALL)
    if lines := [line for line in content.splitlines() if re.fullmatch(pattern, line)]:
        yield Setting("ipv4", f"by {path}", on=True, line=lines[-1], path=path, doubt=doubt)


def _started(texts: Texts, service: str) -> bool:
    """Whether a link starts the service: of systemd, or of one of the runlevels."""
    return any((m := _STARTED.fullmatch(path)) and service in m.groups() for path in texts)


def _matching(texts: Texts, patterns: Iterable[str]) -> list[str]:
    """The paths of files there, in the order of the patterns."""
    return [path for pattern in patterns for path in sorted(fnmatch.filter(texts, pattern))]


def _json(content: str) -> dict[str, object]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
