"""Does a guest pass packets on between its networks? By its files alone, and where these leave it open, that is the answer.

What turns the kernel's switches at a start is replayed in its order: arguments of the kernel, sysctl's files, the
distribution's files on the network, what configures NICs, firewalls, programs that switch it on themselves, scripts. The last
one counts, and a switch for all NICs is one for each of them. That it does not is said only where all that is started was read
and understood.

Sources: sysctl.d(5), systemd.network(5), networkd.conf(5), nm-settings-keyfile(5), interfaces(5), ufw-framework(8),
firewalld.zone(5), shorewall.conf(5), dockerd(8), zebra(8), keepalived.conf(5), ifsysctl(5), wg-quick(8), ipsec.conf(5), and the
scripts of Enterprise Linux, SUSE and Debian that read the rest.
"""

import fnmatch
import json
import re
from collections.abc import Collection, Iterator, Mapping

from hikkoshi.guest.files import sysconfig, text
from hikkoshi.guest.forwarding import rules, starts
from hikkoshi.guest.forwarding.script import settings as script
from hikkoshi.guest.forwarding.switch import Setting, doubtful, of_sysctl, replayed, switch
from hikkoshi.guest.interfaces import wicked

Texts = Mapping[str, str]  # {path in the guest: content}

SYSCTL = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")  # the first counts
CONF, LINK = "/etc/sysctl.conf", "/etc/sysctl.d/99-sysctl.conf"
NETWORKD = ("/etc/systemd/networkd.conf", "/etc/systemd/networkd.conf.d/*.conf", "/etc/systemd/network/*.network")
NETWORKD_MORE = "/etc/systemd/network/*.network.d/*.conf"
NETWORKD_SHIPPED = "/usr/lib/systemd/network/*.network"
KEYFILES = ("/etc/NetworkManager/system-connections/*", "/usr/lib/NetworkManager/system-connections/*.nmconnection")
DEFAULTS = ("/etc/NetworkManager/NetworkManager.conf", "/etc/NetworkManager/conf.d/*.conf")
ZONES = ("/usr/lib/firewalld/zones/*.xml", "/etc/firewalld/zones/*.xml", "/etc/firewalld/zones/*/*.xml")
ZEBRA = ("/etc/quagga/Quagga.conf", "/etc/quagga/zebra.conf", "/etc/frr/frr.conf", "/etc/frr/zebra.conf")
LXC = tuple(f"/etc/{folder}/{name}" for name in ("lxc-net", "lxc") for folder in ("default", "sysconfig"))  # the first says it
QUADLETS = "/etc/containers/systemd/*.[ckp]*"  # of podman
FILES = (  # that are read for this answer, beside those that are read anyway; nothing of them is kept
    *(f"{folder}/*.conf" for folder in SYSCTL),
    *("/etc/sysconfig/sysctl", "/etc/sysconfig/SuSEfirewall2", "/etc/network/options", "/etc/debian_version"),
    *NETWORKD,
    *(NETWORKD_MORE, NETWORKD_SHIPPED, *KEYFILES[1:], *DEFAULTS),
    *(
        "/etc/ufw/sysctl.conf",
        "/etc/ufw/ufw.conf",
        "/etc/default/ufw",
        "/etc/firewalld/zones/*.xml",
        "/etc/firewalld/policies/*.xml",
    ),
    *("/etc/shorewall/shorewall.conf", "/etc/shorewall6/shorewall6.conf", "/etc/default/shorewall", "/etc/default/shorewall6"),
    *("/etc/docker/daemon.json", "/etc/default/docker", "/etc/sysconfig/docker", "/etc/libvirt/qemu/networks/autostart/*.xml"),
    *(*LXC, QUADLETS),
    *("/etc/quagga/daemons", "/etc/frr/daemons", *ZEBRA, "/etc/keepalived/keepalived.conf"),
    *rules.FILES,
    *("/etc/sysctl.d/*", "/etc/sysconfig/network/ifsysctl*", "/boot/sysctl.conf-*", "/etc/network/*", "/etc/network/*/*"),
    "/etc/conf.d/iptables",
    *(*ZONES, "/etc/firewalld/firewalld.conf", "/etc/firehol/firehol.conf", "/etc/default/firehol", "/etc/ipsec.conf"),
    *("/etc/containers/networks/*.json", "/etc/cni/net.d/*"),
    *starts.FILES,
)
PRESENT = (*starts.PRESENT, *(f"{folder}/*.conf" for folder in SYSCTL))
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
_TRUE, _FALSE = ("1", "yes", "y", "true", "t", "on"), ("0", "no", "n", "false", "f", "off")  # for systemd
_LEFT = re.compile(r"~$|\.(?:bak|old|orig|rej|rpm(?:new|save|orig)|dpkg-\w+|swp)$")  # by editors and packages: nobody reads these


def of(
    found: Texts,
    *,
    systemd: bool = False,
    linked: bool = True,
    present: Collection[str] = (),
    links: Texts | None = None,
    plain: Collection[str] = (),
) -> tuple[bool | None, str]:
    """Whether it does, and how that is known; None where its files leave it open, and then why.

    `systemd` says whether that starts the guest, and `linked` whether `LINK` is there, by which it reads /etc/sysctl.conf.
    `present` are paths that are there, `links` tells where some of them lead, and `plain` are scripts that are not executable.
    """
    texts = _whole(found, present, links or {})
    idle = {path for path in starts.matching(texts, starts.EXECUTED) if path in plain}
    run = {path: content for path, content in texts.items() if path not in idle}
    forwards, because = _told(run, present, links or {}, systemd, linked)
    if forwards is False and idle:
        would, line = _told(texts, present, links or {}, systemd, linked)
        because = because if would is False else f"{line}, but that script is not executable, and nothing runs it"
    return forwards, because


def _told(texts: Texts, present: Collection[str], links: Texts, systemd: bool, linked: bool) -> tuple[bool | None, str]:
    settings = [
        *_arguments(texts),
        *_sysctl(texts, {p for p in present if p not in texts}, systemd=systemd, linked=linked),
        *_distribution(texts),
        *_networks(texts),
        *_firewalls(texts),
        *rules.unread(texts),
        *_programs(texts),
        *starts.turned(texts, links),
    ]
    turned, untrusted = replayed(s for s in settings if not s.doubt), replayed(settings)
    if bool(turned) != bool(untrusted):
        last = [s for s in settings if s.doubt and s.on == bool(untrusted)][-1]
        return None, f"{last}, {last.doubt}"
    if turned:
        return True, str(turned)
    off = next((s for s in reversed(settings) if not s.on and not s.doubt and s.family == "ipv4" and s.nic == "all"), None)
    if rule := rules.translation(texts):
        return (None, f"{rule}, but {off}") if off else (True, rule)
    routers = list(_on(texts, "/etc/keepalived/keepalived.conf", r"\s*vrrp_instance\s.*"))
    if routers and off is None:
        return None, f"{routers[0]}: it takes addresses over from another machine, as routers do"
    return False, str(off) if off else "nothing in the files of its network, firewall or programs turns it on"


def _whole(found: Texts, present: Collection[str], links: Texts) -> Texts:
    """Every text by each of its names, with links that start what is not masked, and without copies that nobody reads."""
    texts = {path: content for path, content in found.items() if not _LEFT.search(path)}
    texts |= {path: found[to] for path, to in links.items() if to in found and path not in texts and not _LEFT.search(path)}
    masked = {p for p in present if p.startswith(starts.UNITS) and p.count("/") == 4 and p not in texts}
    texts |= {path: "" for path in present if starts.is_link(path) and path not in texts}
    return {path: content for path, content in texts.items() if starts.UNITS + path.rpartition("/")[2] not in masked}


def _arguments(texts: Texts) -> Iterator[Setting]:
    """`sysctl.KEY=VALUE` of a kernel's arguments, from Linux 5.8 on."""
    for path, content in texts.items():
        if path.startswith("/boot/") or path in ("/etc/default/grub", "/etc/kernel/cmdline"):
            for said in re.finditer(r"(?:^|[\s\"'])(sysctl[./](net[./][\w./-]+)=(\d+))", content):
                yield from switch(
                    said[2], said[3], said[1], path, "an argument of a kernel that may not be the one that is started"
                )


def _sysctl(texts: Texts, masked: Collection[str], *, systemd: bool, linked: bool) -> Iterator[Setting]:
    """All of sysctl's files by their names, whatever their folder; the same name in an earlier folder hides a later one.

    systemd reads /etc/sysctl.conf by a link, in the place that the link's name has; others after all. Enterprise Linux 6 reads
    it first, and then whatever has a name in /etc/sysctl.d.
    """
    files: dict[str, str] = {}
    for folder in SYSCTL:
        for path in sorted({*fnmatch.filter(texts, f"{folder}/*.conf"), *fnmatch.filter(masked, f"{folder}/*.conf")}):
            files.setdefault(path.rpartition("/")[2], path)
    own = LINK in texts and texts[LINK] != texts.get(CONF)
    if systemd and linked and not own and CONF in texts:
        files[LINK.rpartition("/")[2]] = CONF
    enterprise = not systemd and "/etc/redhat-release" in texts
    if enterprise:
        yield from of_sysctl(texts.get(CONF, ""), CONF)
        files |= {path.rpartition("/")[2]: path for path in starts.matching(texts, ("/etc/sysctl.d/*",))}
    elif not systemd and "/etc/debian_version" not in texts:
        for path in starts.matching(texts, ("/etc/sysctl.d/*",)):
            if not path.endswith(".conf"):
                yield from of_sysctl(texts[path], path, "which Enterprise Linux 6 alone reads")
    for name in sorted(files):
        if systemd or own or files[name] != LINK:
            yield from of_sysctl(texts.get(files[name], ""), files[name])
    if not enterprise and not (systemd and linked):
        doubt = f"which systemd does not read without the link {LINK}" if systemd else ""
        yield from of_sysctl(texts.get(CONF, ""), CONF, doubt)
    for path in starts.matching(texts, ("/boot/sysctl.conf-*",)):
        yield from (s for s in of_sysctl(texts[path], path, "which counts with one kernel alone") if s.on)
    for path in starts.matching(texts, ("/etc/sysconfig/network/ifsysctl*",)):
        nic = path.partition("ifsysctl-")[2] or "*"
        yield from of_sysctl(re.sub(r"\$\{?(?:INTERFACE|SYSCTL_IF)\}?", nic.replace(".", "/"), texts[path]), path)


def _distribution(texts: Texts) -> Iterator[Setting]:
    """Files of distributions that say it in words of their own."""
    path = "/etc/sysconfig/network"
    if (value := sysconfig.values(texts.get(path, "")).get("FORWARD_IPV4", "").lower()) in ("yes", "true"):  # of Red Hat Linux 6
        yield Setting("ipv4", f"by {path}", on=True, line=f"FORWARD_IPV4={value}", path=path)
    for path in starts.matching(texts, (wicked.FILES,)):
        if re.search(r"<forwarding>\s*true\s*</forwarding>", text.uncommented(texts[path])):
            yield Setting("ipv4", f"by {path}", on=True, line="<forwarding>true</forwarding>", path=path)
    suse, debian = "which sysctl's files may undo", "which Debian ignores since 4.0"
    version = re.match(r"\d+", texts.get("/etc/debian_version", ""))
    for path, key, family, doubt_on, doubt_off in (
        ("/etc/sysconfig/network", "IPV6FORWARDING", "ipv6", "", "which counts with NETWORKING_IPV6=yes alone"),
        ("/etc/sysconfig/sysctl", "IP_FORWARD", "ipv4", "", suse),
        ("/etc/sysconfig/sysctl", "IPV6_FORWARD", "ipv6", "", suse),
        ("/etc/conf.d/iptables", "IPFORWARD", "ipv4", "", "which sysctl's files may undo"),
        ("/etc/network/options", "ip_forward", "ipv4", *[debian if version and int(version[0]) >= 4 else ""] * 2),
    ):
        value = sysconfig.values(texts.get(path, "")).get(key, "").lower()
        if value in (*_YES, *_NO):
            yield Setting(family, "all", value in _YES, f"{key}={value}", path, doubt_on if value in _YES else doubt_off)


def _networks(texts: Texts) -> Iterator[Setting]:
    """What configures NICs, and switches forwarding on for it; none of these switches it off."""
    doubt = "" if _started(texts, "systemd-networkd") else "and it is not seen that systemd-networkd is started"
    units: dict[str, list[str]] = {}
    shipped = [
        p for p in starts.matching(texts, (NETWORKD_SHIPPED,)) if not re.match(r"8\d-", p.rpartition("/")[2])
    ]  # systemd's own
    for path in (*shipped, *starts.matching(texts, (*NETWORKD, NETWORKD_MORE))):
        units.setdefault(re.sub(r"\.d/[^/]*$", "", path), []).append(path)
    for paths in units.values():
        yield from _networkd(texts, sorted(paths, key=lambda path: (path.count("/"), path)), doubt)
    for path in starts.matching(texts, KEYFILES):
        doubt = (
            "in a profile that is not brought up by itself" if re.search(r"(?m)^autoconnect=(?:false|no|0)", texts[path]) else ""
        )
        yield from _on(texts, path, r"\s*(?:method\s*=\s*shared|forwarding\s*=\s*(?:1|yes|true))\s*", doubt)
    default = r"\s*ipv4\.forwarding\s*=\s*(?:1|yes|true)\s*"
    yield from (s for path in starts.matching(texts, DEFAULTS) for s in _on(texts, path, default, "which a profile may undo"))
    for path in starts.matching(texts, ("/etc/sysconfig/network-scripts/ifcfg-*",)):
        if sysconfig.values(texts[path]).get("BOOTPROTO", "").lower() == "shared":
            yield Setting("ipv4", f"by {path}", on=True, line="BOOTPROTO=shared", path=path)
    files = starts.matching(texts, rules.INTERFACES)
    for path in files:  # grows by what these name
        content = re.sub(r"\\\r?\n", " ", texts[path])
        yield from _on({path: content}, path, r"\s*ip6?-forward\s+(?:yes|on|1)\s*", "an option that only ifupdown2 knows")
        stanza = ""
        for line in text.lines(content):
            if m := re.match(r"\s*(?:pre-|post-)?up\s+(.*)", line):
                yield from script(m[1], path, texts)
            elif m := re.match(r"\s*(?:iface|interface)\s+(\S+)", line):
                stanza = m[1]
            elif m := re.match(r"\s*forward-(ipv[46])\s+(\S+)", line):  # of ifupdown-ng
                yield Setting(m[1], stanza, m[2] in ("yes", "1"), line, path)
            elif m := re.match(r"\s*source(-directory)?\s+(\S+)", line):
                pattern = m[2] if m[2].startswith("/") else f"/etc/network/{m[2]}"
                named = starts.matching(texts, (f"{pattern.rstrip('/')}/*" if m[1] else pattern,))
                files += [other for other in named if other not in files]
                if not named and not any(starts.covers(p, pattern + ("/*" if m[1] else "")) for p in FILES):
                    yield doubtful(line, path, "a file that is not read here")


def _networkd(texts: Texts, paths: list[str], doubt: str) -> Iterator[Setting]:
    """A file of networkd with its drop-ins: of each key the last value counts. From systemd 256 on, no switches it off, too."""
    last: dict[str, tuple[str, str, str]] = {}
    nics: list[str] = []
    for path in paths:
        for line in text.lines(texts[path]):
            if m := re.fullmatch(r"\s*(IPForward|IPMasquerade|IPv[46]Forwarding)\s*=\s*(.*?)\s*", line):
                last[m[1]] = (m[2].lower(), line, path)
            elif m := re.fullmatch(r"\s*Name\s*=\s*(.*?)\s*", line):
                nics += m[1].split()
    everywhere = paths[0].startswith(NETWORKD[0].removesuffix(".conf"))
    for key, (value, line, path) in last.items():
        family = "ipv6" if key == "IPv6Forwarding" else "ipv4"
        if value in (*_TRUE, "ipv4", "ipv6", "both"):
            yield Setting(family, "all" if everywhere else f"by {path}", on=True, line=line, path=path, doubt=doubt)
        elif value in _FALSE and key.endswith("Forwarding"):
            for nic in ["all"] if everywhere else nics:
                yield Setting(family, nic, on=False, line=line, path=path, doubt=doubt)


def _firewalls(texts: Texts) -> Iterator[Setting]:
    enabled = sysconfig.values(texts.get("/etc/ufw/ufw.conf", "")).get("ENABLED", "").lower()
    own = sysconfig.values(texts.get("/etc/default/ufw", "")).get("IPT_SYSCTL", "/etc/ufw/sysctl.conf")
    if enabled != "no" and own != CONF:
        doubt = "" if enabled == "yes" else "and it is not seen that ufw is started"
        yield from of_sysctl(texts.get(own, ""), own, doubt)
    doubt = "" if _started(texts, "firewalld") else "and it is not seen that firewalld is started"
    yield from _zones(texts, doubt)
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
    values = sysconfig.values(texts.get(path, ""))
    for key in ("FW_ROUTE", "FW_MASQUERADE"):
        if values.get(key, "").lower() == "yes":
            doubt = "" if seen else "and it is not seen that this firewall is started"
            yield Setting("ipv4", f"by {path}", on=True, line=f"{key}=yes", path=path, doubt=doubt)
    default = sysconfig.values(texts.get("/etc/default/firehol", "")).get("START_FIREHOL", "").lower()
    doubt = "" if default == "yes" or _started(texts, "firehol") else "and it is not seen that firehol is started"
    yield from _on(texts, "/etc/firehol/firehol.conf", r"\s*router4?6?\s.*", doubt)


def _zones(texts: Texts, doubt: str) -> Iterator[Setting]:
    """firewalld's own zones count where a NIC or the default names them, those in /etc always."""
    default = re.findall(r"^\s*DefaultZone\s*=\s*[\"']?([\w-]+)", texts.get("/etc/firewalld/firewalld.conf", ""), re.MULTILINE)
    used = {(default or ["public"])[-1]: "/etc/firewalld/firewalld.conf"}
    for path in starts.matching(texts, ("/etc/sysconfig/network-scripts/ifcfg-*", "/etc/sysconfig/network/ifcfg-*", *KEYFILES)):
        for zone in re.findall(r"^\s*(?:ZONE|zone)\s*=\s*[\"']?([\w-]+)", texts[path], re.MULTILINE):
            used.setdefault(zone, path)
    files = {path.rpartition("/")[2].removesuffix(".xml"): path for path in starts.matching(texts, ZONES)}  # those in /etc later
    on = r"(?i:.*<(?:masquerade\b(?![^>]*enabled\s*=\s*[\"'](?:no|false)\b)|forward-port\b[^>]*\bto-addr=).*)"
    for zone, path in files.items():
        if zone in used or path.startswith("/etc/"):
            yield from _on(texts, path, on, doubt)
    for path in starts.matching(texts, ("/etc/firewalld/policies/*.xml",)):
        yield from _on(texts, path, on, doubt)
    if "external" in used and "external" not in files:  # as it is shipped
        yield Setting(
            "ipv4", "by external", on=True, line="the zone external, which masquerades", path=used["external"], doubt=doubt
        )


def _programs(texts: Texts) -> Iterator[Setting]:
    """Programs that switch it on when they start."""
    daemon = "/etc/docker/daemon.json"
    link = starts.names(texts).get("docker", "")
    said = (
        link,
        *starts.matching(texts, (f"{starts.UNITS}docker.service.d/*.conf",)),
        "/etc/default/docker",
        "/etc/sysconfig/docker",
    )
    refused = re.search(r"^[^#\n]*--ip-forward=(?:false|0|f)\b", "\n".join(texts.get(path, "") for path in said), re.M | re.I)
    config = _json(texts.get(daemon, "{}"))
    if (link or daemon in texts) and not refused and config.get("ip-forward") is not False:
        doubt = "" if link else "and it is not seen that it is started"
        odd = "whose daemon.json is not understood" if not config and texts.get(daemon, "{}").strip() not in ("{}", "") else ""
        yield Setting("ipv4", "all", on=True, line="docker", path=link or daemon, doubt=doubt or odd)
    doubt = (
        ""
        if any(_started(texts, d) for d in ("libvirtd", "libvirt-bin", "virtnetworkd"))
        else "and it is not seen that libvirtd is started"
    )
    for path in starts.matching(texts, ("/etc/libvirt/qemu/networks/autostart/*.xml",)):
        yield from _on(texts, path, r""".*<forward(?![^>]*\bmode=["'](?!nat|route|open))\b.*""", doubt)
    link = starts.names(texts).get("lxc-net", "")
    doubt = "" if link else "and it is not seen that lxc-net is started"
    bridge = {path: v for path in LXC if (v := sysconfig.values(texts.get(path, "")).get("USE_LXC_BRIDGE"))}
    bridge = bridge or ({link: "true"} if link and not link.endswith(".conf") else {})  # as its script has it, but for upstart's
    for path, value in list(bridge.items())[:1]:
        if value == "true":
            yield Setting("ipv4", "all", on=True, line=f"USE_LXC_BRIDGE={value}", path=path, doubt=doubt)
    listed = {
        s for p in ("/etc/quagga/daemons", "/etc/frr/daemons") for s in re.findall(r"^\s*(\w+)=yes", texts.get(p, ""), re.M)
    }
    seen = listed or any(_started(texts, name) for name in ("frr", "quagga", "zebra"))
    for path in starts.matching(texts, ZEBRA):
        switches = [m for line in text.lines(texts[path]) if (m := re.fullmatch(r"\s*(no\s+)?(ip|ipv6)\s+forwarding\s*", line))]
        for m in switches:
            family = {"ip": "ipv4", "ipv6": "ipv6"}[m[2]]
            yield Setting(family, "all", not m[1], m[0], path, "" if seen else "and it is not seen that zebra is started")
        if seen and not switches and re.search(r"^router\s|^ip route\s", texts[path], re.MULTILINE):
            yield doubtful("zebra, without a word on forwarding", path, "which some versions switch on by themselves")
    for path in starts.matching(texts, ("/etc/containers/networks/*.json", "/etc/cni/net.d/*", QUADLETS)):
        yield doubtful("a network of containers", path, "which is switched on where one starts")
    doubt = "" if _started(texts, "ipsec") or _started(texts, "openswan") else "and it is not seen that it is started"
    yield from _on(texts, "/etc/ipsec.conf", r"\s*forwardcontrol\s*=\s*[\"']?yes[\"']?\s*(?:#.*)?", doubt)
    doubt = "" if _started(texts, "keepalived") else "and it is not seen that keepalived is started"
    yield from _on(texts, "/etc/keepalived/keepalived.conf", r"\s*(?:lvs_method|lb_kind)\s+(?:NAT|DR|TUN)\b.*", doubt)


def _on(texts: Texts, path: str, pattern: str, doubt: str = "") -> Iterator[Setting]:
    """A setting for the last line of a file that is as the pattern; what XML has as a comment is none."""
    lines = texts.get(path, "").splitlines()
    if path.endswith(".xml"):  # a tag may go over lines
        lines = [" ".join(tag.split()) for tag in re.findall(r"<[^<>]*>", text.uncommented(texts.get(path, "")))]
    if lines := [line for line in lines if re.fullmatch(pattern, line)]:
        yield Setting("ipv4", f"by {path}", on=True, line=lines[-1], path=path, doubt=doubt)


def _started(texts: Texts, service: str) -> bool:
    """Whether a link starts the service: of systemd, or of one of the runlevels; or a file of upstart."""
    return service in starts.names(texts)


def _json(content: str) -> dict[str, object]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
