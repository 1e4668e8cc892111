"""What is started with a guest, by its links and files, and what of that turns the switches for passing packets on.

A script, unit or job that is read is replayed. One that calls what was not read, and a program that is known to switch it on as
it likes, are doubts. Sources: systemd.unit(5), init(5) of upstart, crontab(5), wg-quick(8), openvpn(8), run-parts(8).
"""

import dataclasses
import fnmatch
import re
from collections.abc import Iterator, Mapping

from hikkoshi.guest.files import text
from hikkoshi.guest.forwarding.script import MENTION, NOT_UNDERSTOOD, UNREAD, settings
from hikkoshi.guest.forwarding.switch import Setting, doubtful

UNITS, UPSTART, SCRIPTS = "/etc/systemd/system/", "/etc/init/", "/etc/init.d/"
LINKS = tuple(f"/etc/{folder}rc[2345].d/S[0-9][0-9]*" for folder in ("", "rc.d/", "init.d/"))  # where they lead is asked, too
PRESENT = (*LINKS, *(f"{UNITS}{name}" for name in ("*.service", "*.wants/*", "*.requires/*")))
AT_START = (  # run as they are
    *("/etc/rc.d/rc.local", "/etc/rc.local", "/etc/init.d/boot.local", "/etc/init.d/after.local", "/etc/rc.d/rc.firewall"),
    *("/sbin/ifup-local", "/etc/local.d/*.start"),
)
HOOKS = (  # whose names run-parts takes
    *("/etc/network/if-pre-up.d/*", "/etc/network/if-up.d/*", "/etc/NetworkManager/dispatcher.d/*"),
    *(
        "/etc/networkd-dispatcher/*.d/*",
        "/etc/ppp/ip-up.d/*",
        "/etc/sysconfig/network/if-up.d/*",
        "/etc/sysconfig/network/scripts/*",
    ),
)
JOBS = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/tabs/*")
TUNNELS = ("/etc/wireguard/*.conf", "/etc/openvpn/*.conf", "/etc/openvpn/*/*.conf")
CLOUD = ("/var/lib/cloud/instance/user-data.txt", "/var/lib/cloud/instances/*/user-data.txt")
SEARCHED = ("/etc/udev/rules.d/*", "/etc/modprobe.conf", "/etc/modprobe.d/*", "/etc/tuned/*/tuned.conf", *CLOUD)
FILES = (
    *(f"{UNITS}{name}.service" for name in ("*", "*.wants/*", "*.requires/*")),
    *(f"{SCRIPTS}*", f"{UPSTART}*.conf", f"{UPSTART}*.override"),
    *(*AT_START, *HOOKS, *JOBS, *TUNNELS, "/etc/openvpn/*.sh", "/etc/wireguard/*.sh"),
    *("/etc/tuned/*/tuned.conf", "/etc/tuned/active_profile", *CLOUD),
)
_LINK = re.compile(
    r"/etc/(?:systemd/system/[^/]+\.(?:wants|requires)/(.+)\.(?:service|socket)|(?:(?:rc|init)\.d/)?rc[2345]\.d/S\d\d(.+))"
)
# what these do is read from their files elsewhere, or is nothing; their scripts name the switches
_READ_ELSEWHERE = re.compile(
    r"network(?:ing|-interface.*)?|procps|sysctl|boot\.(?:sysctl|ipconfig|local)|NetworkManager|rc\.?local|local|rc|ufw|shorewall6?"
    r"|SuSEfirewall2.*|firewalld|docker|libvirtd|libvirt-bin|virtnetworkd|lxc-net|quagga|frr|zebra|keepalived|wg-quick.*|openvpn.*"
    r"|functions|halt|single|kudzu|systemd-.*|firehol|ipsec"
)
_RULES_ALONE = ("iptables", "ip6tables")  # they may set what was saved with the rules; a script of this name may do more
_SWITCHING = re.compile(
    r"k3s.*|rke2.*|k0s.*|kubelet|crio|microk8s.*|snap\.(?:docker|lxd|microk8s)\..*|lxd|incus.*|podman.*|nomad|calico.*|flanneld?"
    r"|cilium.*|xend|xencommons|connman|rancher.*|balena.*|weave.*|containernetworking.*|antrea.*"
)


def names(texts: Mapping[str, str]) -> dict[str, str]:
    """`{service: the link or file that starts it}`; one of a template has its whole name."""
    found: dict[str, str] = {}
    for path in texts:
        if m := _LINK.fullmatch(path):
            found.setdefault(m[1] or m[2], path)
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
        elif not _READ_ELSEWHERE.fullmatch(name):
            found = list(_service(name, path, texts, links))
            yield from (s for s in found if not s.doubt or name not in _RULES_ALONE)
    started = {path.rpartition("/")[2] for path in texts if is_link(path)}
    for path in matching(texts, (f"{UNITS}*.service",)):
        if path.rpartition("/")[2] not in started and "@" not in path:  # it may be wanted by another
            for s in _unit(path, texts):
                if s.on and not s.doubt:
                    yield dataclasses.replace(s, doubt="and it is not seen that this unit is started")
    yield from _run(texts)
    yield from _searched(texts)
    yield from _tunnels(texts)


def _run(texts: Mapping[str, str]) -> Iterator[Setting]:
    """Scripts and jobs that no link starts."""
    for path in matching(texts, HOOKS):
        name = path.rpartition("/")[2]
        if re.fullmatch(r"[\w-]+", name) or not path.startswith(("/etc/network/", "/etc/ppp/")):
            later = "when a connection of ppp comes up" if path.startswith("/etc/ppp/") else ""
            yield from (dataclasses.replace(s, doubt=s.doubt or later) for s in settings(texts[path], path, texts))
    for path in matching(texts, AT_START):
        yield from settings(texts[path], path, texts)
    for path in matching(texts, JOBS):
        yield from _jobs(texts[path], path, texts)


def _searched(texts: Mapping[str, str]) -> Iterator[Setting]:
    """Files of other rules, where a name of a switch is a doubt."""
    for path in matching(texts, SEARCHED):
        if "/tuned/" not in path or texts.get("/etc/tuned/active_profile", path.split("/")[3]).strip() == path.split("/")[3]:
            yield from (doubtful(s, path, NOT_UNDERSTOOD) for s in text.lines(texts[path]) if MENTION.search(s.partition("#")[0]))


def _service(name: str, path: str, texts: Mapping[str, str], links: Mapping[str, str]) -> Iterator[Setting]:
    if path.startswith(UPSTART):
        yield from settings(texts[path], path, texts)
        return
    if path.startswith(UNITS):
        unit = re.sub(r"@.*", "@", name)
        place = next((p for p in (f"{UNITS}{name}.service", f"{UNITS}{unit}.service") if texts.get(p)), path)
        yield from _unit(place, texts)
        return
    place = links.get(path, SCRIPTS + name).replace("/etc/rc.d/init.d/", SCRIPTS)
    if place in texts:
        yield from settings(texts[place], place, texts)
    elif path in links:
        yield doubtful(f"{name} is {place}", path, UNREAD)
    elif texts[path]:
        yield from settings(texts[path], path, texts)


def _unit(path: str, texts: Mapping[str, str]) -> Iterator[Setting]:
    for line in text.lines(re.sub(r"\\\r?\n", " ", texts.get(path, ""))):
        if m := re.match(r"\s*Exec(?:StartPre|Start|StartPost)\s*=\s*[-@:+!|]*(.*)", line):
            yield from settings(m[1], path, texts)


def _jobs(content: str, path: str, texts: Mapping[str, str]) -> Iterator[Setting]:
    for line in text.lines(content):
        if m := re.match(r"\s*@reboot\s+(.*)", line):
            command = re.sub(r"^[a-z_][\w-]*\s+(?=\S)", "", m[1]) if path.startswith("/etc/") else m[1]
            yield from settings(command, path, texts)
        elif MENTION.search(line) and not line.lstrip().startswith("#"):
            yield doubtful(line, path, "a job that may not have run yet")


def _tunnels(texts: Mapping[str, str]) -> Iterator[Setting]:
    started = names(texts)
    for path in matching(texts, TUNNELS):
        tool = "wg-quick" if "/wireguard/" in path else "openvpn"
        name = path.rpartition("/")[2].removesuffix(".conf")
        seen = any(n == tool or (n.startswith(tool) and n.endswith(f"@{name}")) for n in started)
        for line in text.lines(texts[path]):
            if m := re.match(r"\s*(?:(?:Pre|Post)Up\s*=|(?:route-|tls-)?up\s|client-connect\s|learn-address\s)\s*(.*)", line):
                for s in settings(m[1].strip().strip("\"'"), path, texts):
                    doubt = "" if seen else f"and it is not seen that {tool} is started"
                    yield dataclasses.replace(s, doubt=s.doubt or doubt)


def matching(texts: Mapping[str, str], patterns: tuple[str, ...]) -> list[str]:
    """The paths of files there, in the order of the patterns; one that two of them name once."""
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
