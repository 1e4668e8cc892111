"""What is started with a guest, by its links and files, and what of that turns the switches for passing packets on.

A script, unit or job that is read is replayed. One that calls what was not read, and a program that is known to switch it on as
it likes, are doubts. Sources: systemd.unit(5), init(5) of upstart, crontab(5), wg-quick(8), openvpn(8), run-parts(8).
"""

import dataclasses
import fnmatch
import re
from collections.abc import Collection, Iterator, Mapping

from hikkoshi.guest.files import text
from hikkoshi.guest.forwarding.script import MENTION, NOT_UNDERSTOOD, UNREAD, settings
from hikkoshi.guest.forwarding.switch import Setting, doubtful, switch

UNITS, UPSTART, SCRIPTS = "/etc/systemd/system/", "/etc/init/", "/etc/init.d/"
LINKS = (  # where they lead is asked, too
    *(f"/etc/{folder}rc[2345S].d/S[0-9][0-9]*" for folder in ("", "rc.d/", "init.d/")),
    *("/etc/init.d/boot.d/S[0-9][0-9]*", "/etc/runlevels/*/*"),
)
PRESENT = (*LINKS, *(f"{UNITS}{name}" for name in ("*.service", "*.wants/*", "*.requires/*")))
AT_START = (  # run as they are
    *("/etc/rc.d/rc.local", "/etc/rc.local", "/etc/init.d/boot.local", "/etc/init.d/after.local", "/etc/rc.d/rc.firewall"),
    *("/sbin/ifup-local", "/sbin/ifup-pre-local", "/etc/local.d/*.start", "/etc/rc.d/rc.sysinit", "/etc/rc.modules"),
    *("/etc/rc.d/rc.modules", "/etc/sysconfig/modules/*.modules", "/var/lib/cloud/scripts/per-boot/*"),
    *("/etc/openvpn/openvpn-startup", "/etc/tinc/*/tinc-up"),
)
HOOKS = (  # whose names run-parts takes
    *("/etc/network/if-pre-up.d/*", "/etc/network/if-up.d/*"),
    *(
        f"{folder}/NetworkManager/dispatcher.d/{more}*"
        for folder in ("/etc", "/usr/lib")
        for more in ("", "pre-up.d/", "no-wait.d/")
    ),
    *("/etc/networkd-dispatcher/*.d/*", "/usr/lib/networkd-dispatcher/*.d/*"),
    *("/etc/ppp/ip-up.d/*", "/etc/ppp/ip-up", "/etc/ppp/ip-up.local"),
    *("/etc/sysconfig/network/if-up.d/*", "/etc/sysconfig/network/scripts/*"),
    *("/etc/dhcp*/dhclient-*-hooks", "/etc/dhcp*/dhclient-*-hooks.d/*", "/etc/dhclient-*-hooks", "/etc/dhcp/dhclient.d/*.sh"),
)
EXECUTED = (  # of these, whose callers pass over what is not executable: rc and systemd, ifup, run-parts, dispatchers, OpenRC
    *("/etc/rc.d/rc.local", "/etc/rc.local", "/sbin/ifup-local", "/sbin/ifup-pre-local", "/etc/local.d/*.start"),
    *("/etc/rc.modules", "/etc/rc.d/rc.modules", "/etc/sysconfig/modules/*.modules", "/var/lib/cloud/scripts/per-boot/*"),
    *(hook for hook in HOOKS if "/NetworkManager/" in hook or "networkd-dispatcher" in hook),
    *("/etc/network/if-pre-up.d/*", "/etc/network/if-up.d/*", "/etc/ppp/ip-up.d/*", "/etc/ppp/ip-up", "/etc/ppp/ip-up.local"),
)
PERIODIC = "/etc/cron.*ly/*"
TEMPORARY = "/etc/tmpfiles.d/*.conf"
JOBS = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/tabs/*")
TUNNELS = {  # {tool: its files}
    "wg-quick": ("/etc/wireguard/*.conf",),
    "openvpn": ("/etc/openvpn/*.conf", "/etc/openvpn/*/*.conf"),
    "ipsec": ("/etc/ipsec.conf", "/etc/ipsec.d/*.conf", "/etc/strongswan/ipsec.conf", "/etc/strongswan/ipsec.d/*.conf"),
    "strongswan": tuple(f"/etc/{more}swanctl/{name}.conf" for more in ("", "strongswan/") for name in ("swanctl", "conf.d/*")),
}
CLOUD = (
    *("/var/lib/cloud/instance/user-data.txt", "/var/lib/cloud/instances/*/user-data.txt"),
    *("/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d/*.cfg"),
)
TUNED = ("/etc/tuned/*/tuned.conf", "/etc/tuned/profiles/*/tuned.conf")
SEARCHED = ("/etc/udev/rules.d/*", "/etc/modprobe.conf", "/etc/modprobe.d/*", *TUNED, *CLOUD)
DROP_INS = f"{UNITS}*.service.d/*.conf"
FILES = (
    *(f"{UNITS}{name}.service" for name in ("*", "*.wants/*", "*.requires/*")),
    *(DROP_INS, PERIODIC, TEMPORARY, "/etc/inittab"),
    *(f"{SCRIPTS}*", f"{UPSTART}*.conf", f"{UPSTART}*.override"),
    *(
        *AT_START,
        *HOOKS,
        *JOBS,
        *(path for paths in TUNNELS.values() for path in paths),
        "/etc/openvpn/*.sh",
        "/etc/wireguard/*.sh",
    ),
    *(*TUNED, "/etc/tuned/active_profile", *CLOUD, "/etc/rc.local.d/*"),
)
_LINK = re.compile(
    r"/etc/(?:systemd/system/[^/]+\.(?:wants|requires)/(.+)\.(?:service|socket)"
    r"|(?:(?:rc|init)\.d/)?(?:rc[2345S]|boot)\.d/S\d\d(.+)|runlevels/[^/]+/([^/]+))"
)
# what these do is read from their files elsewhere, or is nothing; their scripts name the switches
_READ_ELSEWHERE = re.compile(
    r"network(?:ing|-interface.*)?|procps|sysctl|boot\.(?:sysctl|ipconfig|local)|NetworkManager|rc\.?local|local|rc|ufw|shorewall6?"
    r"|SuSEfirewall2.*|firewalld|docker|libvirtd|libvirt-bin|virtnetworkd|lxc-net|quagga|frr|zebra|keepalived|wg-quick.*|openvpn.*"
    r"|functions|halt|single|kudzu|systemd-(?!nspawn).*|firehol|ipsec"
)
# of these scripts somebody may have changed, or uncommented, a line that switches it on; all else that they do is known
_QUIET = re.compile(
    r"ip6?tables|openvpn(?:@.*|-client.*|-server.*)?|keepalived|quagga|frr|zebra|docker|libvirtd|libvirt-bin|NetworkManager"
)
_SWITCHING = re.compile(
    r"k3s.*|rke2.*|k0s.*|kubelet|crio|microk8s.*|snap\.(?:docker|lxd|microk8s)\..*|lxd|incus.*|podman.*|nomad|calico.*|flanneld?"
    r"|cilium.*|xend|xencommons|connman|rancher.*|balena.*|weave.*|containernetworking.*|antrea.*|systemd-nspawn@.*"
    r"|shorewall6?-lite|arno-iptables-firewall|ipmasq|firestarter|guarddog|vuurmuur|fwbuilder|ufw-docker|openvpnas|pritunl"
    r"|firezone.*|netclient|create_ap.*|vmware|vmnetd?|nova-network|pve-firewall|zentyal.*|ebox.*|multipass.*"
)


def names(texts: Mapping[str, str]) -> dict[str, str]:
    """`{service: the link or file that starts it}`; one of a template has its whole name."""
    found: dict[str, str] = {}
    for path in texts:
        if m := _LINK.fullmatch(path):
            found.setdefault(m[1] or m[2] or m[3], path)
        elif path.startswith(UPSTART) and path.endswith(".conf"):
            name = path.removeprefix(UPSTART).removesuffix(".conf")
            if not re.search(r"^\s*manual\b", texts[path] + "\n" + texts.get(f"{UPSTART}{name}.override", ""), re.MULTILINE):
                found.setdefault(name, path)
    return found


def turned(texts: Mapping[str, str], links: Mapping[str, str]) -> Iterator[Setting]:
    """What all that is started turns; `links` tells where the links of runlevels lead."""
    for name, path in names(texts).items():
        if _SWITCHING.fullmatch(name):
            yield doubtful(name, path, "which switches it on where it needs to")
        elif _QUIET.fullmatch(name):
            yield from (s for s in _service(name, path, texts, links) if not s.doubt)
        elif not _READ_ELSEWHERE.fullmatch(name) or name.startswith("openvpn"):
            yield from _service(name, path, texts, links)
    started = {path.rpartition("/")[2] for path in texts if is_link(path)}
    for path in matching(texts, (f"{UNITS}*.service",)):
        if path.rpartition("/")[2] not in started and "@" not in path:  # it may be wanted by another
            for s in _unit(path, texts):
                if s.on and not s.doubt:
                    yield dataclasses.replace(s, doubt="and it is not seen that this unit is started")
    yield from _drop_ins(texts, started)
    yield from _run(texts)
    yield from _searched(texts)
    yield from _tunnels(texts)


def _run(texts: Mapping[str, str]) -> Iterator[Setting]:
    """Scripts and jobs that no link starts."""
    for path in matching(texts, HOOKS):
        name = path.rpartition("/")[2]
        if re.fullmatch(r"[\w-]+|ip-up\.local", name) or not path.startswith(("/etc/network/", "/etc/ppp/")):
            later = "when a connection of ppp comes up" if path.startswith("/etc/ppp/") else ""
            yield from (dataclasses.replace(s, doubt=s.doubt or later) for s in settings(texts[path], path, texts))
    for path in matching(texts, AT_START):
        yield from settings(texts[path], path, texts)
    for path in matching(texts, JOBS):
        yield from _jobs(texts[path], path, texts)
    for path in matching(texts, (PERIODIC,)):
        found = (line for line in text.lines(texts[path]) if MENTION.search(line) and not line.lstrip().startswith("#"))
        yield from (doubtful(line, path, "a job that may not have run yet") for line in found)
    for path in matching(texts, (TEMPORARY,)):  # tmpfiles.d(5): w /proc/sys/net/ipv4/ip_forward - - - - 1
        for line in text.lines(texts[path]):
            words = line.split(None, 6)
            if len(words) == 7 and words[0][0] in "wfF" and words[1].startswith("/proc/sys/"):
                yield from switch(words[1], words[6].strip("\"' \r\n"), line, path)
    for line in text.lines(texts.get("/etc/inittab", "")):
        if m := re.match(r"[^:#]*:[^:]*:(?:once|wait|sysinit|boot|bootwait|respawn):\+?(.*)", line):
            yield from settings(m[1], "/etc/inittab", texts)


def _searched(texts: Mapping[str, str]) -> Iterator[Setting]:
    """Files of other rules, where a name of a switch is a doubt."""
    for path in matching(texts, SEARCHED):
        profile = path.split("/")[-2]
        if "/tuned/" not in path or texts.get("/etc/tuned/active_profile", profile).strip() == profile:
            yield from (doubtful(s, path, NOT_UNDERSTOOD) for s in text.lines(texts[path]) if MENTION.search(s.partition("#")[0]))


def _service(name: str, path: str, texts: Mapping[str, str], links: Mapping[str, str]) -> Iterator[Setting]:
    if path.startswith(UPSTART):
        yield from settings(texts[path], path, texts)
        return
    if path.startswith(UNITS):
        unit = re.sub(r"@.*", "@", name)
        place = next((p for p in (f"{UNITS}{name}.service", f"{UNITS}{unit}.service") if texts.get(p)), path)
        yield from _unit(place, texts, f"{UNITS}{name}.service.d/*.conf", f"{UNITS}{unit}.service.d/*.conf")
        return
    place = links.get(path, SCRIPTS + name).replace("/etc/rc.d/init.d/", SCRIPTS)
    if place in texts:
        yield from settings(texts[place], place, texts)
    elif path in links:
        yield doubtful(f"{name} is {place}", path, UNREAD)
    elif texts[path]:
        yield from settings(texts[path], path, texts)


def _unit(path: str, texts: Mapping[str, str], *more: str) -> Iterator[Setting]:
    """What a unit runs to start, with its drop-ins; an empty ExecStart= takes back those before it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part in (path, *matching(texts, more)):
        for line in text.lines(re.sub(r"\\\r?\n", " ", texts.get(part, ""))):
            if m := re.match(r"\s*(Exec(?:Condition|StartPre|Start|StartPost))\s*=\s*[-@:+!|]*(.*)", line):
                found[m[1]] = [*found.get(m[1], []), (m[2], part)] if m[2].strip() else []
            elif MENTION.search(line) and re.match(r"\s*(?:StandardOutput|Environment\w*)\s*=", line):
                yield doubtful(line, part, NOT_UNDERSTOOD)
    for commands in found.values():
        for command, part in commands:
            yield from settings(command, part, texts)


def _drop_ins(texts: Mapping[str, str], started: Collection[str]) -> Iterator[Setting]:
    """Those of units whose own file is not read, or was read for something else."""
    for path in matching(texts, (DROP_INS,)):
        unit = path.split("/")[-2].removesuffix(".d")
        doubt = "" if unit in started else "and it is not seen that this unit is started"
        read = unit in started and not _READ_ELSEWHERE.fullmatch(unit.removesuffix(".service"))
        for s in () if read else _unit(path, texts):
            if s.on and (not s.doubt or not _READ_ELSEWHERE.fullmatch(unit.removesuffix(".service"))):
                yield dataclasses.replace(s, doubt=s.doubt or doubt)


def _jobs(content: str, path: str, texts: Mapping[str, str]) -> Iterator[Setting]:
    for line in text.lines(content):
        if m := re.match(r"\s*@reboot\s+(.*)", line):
            command = re.sub(r"^[a-z_][\w-]*\s+(?=\S)", "", m[1]) if path.startswith("/etc/") else m[1]
            yield from settings(command, path, texts)
        elif MENTION.search(line) and not line.lstrip().startswith("#"):
            yield doubtful(line, path, "a job that may not have run yet")


def _tunnels(texts: Mapping[str, str]) -> Iterator[Setting]:
    """What tunnels run when they come up."""
    started = names(texts)
    runs = r"(?:(?:Pre|Post)Up\s*=|(?:route-|tls-)?up\s|client-connect\s|learn-address\s|(?:left|right)?updown\s*=)\s*(.*)"
    for tool, patterns in TUNNELS.items():
        for path in matching(texts, patterns):
            name = path.rpartition("/")[2].removesuffix(".conf")
            seen = any(n == tool or (n.startswith(tool) and re.split("[@.]", n)[-1] == name) for n in started)
            seen = seen or (
                tool in ("ipsec", "strongswan") and any(re.match("ipsec|strongswan|openswan|charon", n) for n in started)
            )
            for line in text.lines(texts[path]):
                if m := re.match(rf"\s*{runs}", line):
                    for s in settings(m[1].strip().strip("\"'"), path, texts):
                        doubt = "" if seen else f"and it is not seen that {tool} is started"
                        yield dataclasses.replace(s, doubt=s.doubt or doubt)


def matching(texts: Collection[str], patterns: tuple[str, ...]) -> list[str]:
    """The paths that are there and fit, in the order of the patterns; one that two of them name once."""
    return list(
        dict.fromkeys(path for pattern in patterns for path in sorted(fnmatch.filter(texts, pattern)) if _inside(path, pattern))
    )


def covers(pattern: str, other: str) -> bool:
    """Whether whatever fits `other`, a pattern too, is read by `pattern`."""
    return fnmatch.fnmatchcase(other.replace("*", "x"), pattern) and _inside(other, pattern)


def is_link(path: str) -> bool:
    """Whether the path is one that starts a service."""
    return bool(_LINK.fullmatch(path))


def _inside(path: str, pattern: str) -> bool:
    return path.count("/") == pattern.count("/")
