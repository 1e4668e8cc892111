"""NICs tied to their names by MAC, by udev's rules or by systemd: else the order on the PCI bus decides.

Rules: udev(7), and its versions back to 2006; what udev's own generator wrote, in Enterprise Linux 6 and Debian up to 8
(udev 175, rules/rule_generator). Link files: systemd.link(5). NetworkManager and netplan tie settings to names or MACs, and leave
the names to these two.

A name is tied to a MAC under Xen by whatever fits there. On VMware it holds only where every condition beside the MAC fits the
new NIC, too: no driver of Xen's or of a NIC that QEMU made, no place on another bus, no name that the kernel gives by order.

Link files alone cannot give ethN: the kernel uses these names too, and systemd's udev (252, rename_netif) gives up where the
name is taken, so that two NICs in the other order keep each other's name. A unit steps them aside first, as cloud-init does.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping

from hikkoshi.guest.files import text
from hikkoshi.guest.interfaces import address, networkd, udev
from hikkoshi.guest.note import Note, note

FOLDER = udev.FOLDER
RULES = FOLDER + "70-persistent-net.rules"
HOMES = (  # of Debian from 5, Enterprise Linux 6 and SUSE 11; Debian 4; SUSE 10; Ubuntu 6
    RULES,
    *(FOLDER + name for name in ("z25_persistent-net.rules", "30-net_persistent_names.rules", "25-net_persistent_names.rules")),
)
UNIT = "/etc/systemd/system/name-nics-by-mac.service"
SCRIPT = "/usr/local/sbin/name-nics-by-mac"
LINKS_RULE = FOLDER + "80-net-setup-link.rules"  # hides systemd's own, which makes udev read link files
FILES = (FOLDER + "*.rules", "/etc/iftab", "/etc/mactab", SCRIPT, UNIT)  # as patterns


def link_path(name: str) -> str:
    """Where the link file of a NIC belongs: before all others."""
    return f"/etc/systemd/network/10-{name}.link"


def link(name: str, mac: str) -> str:
    """The link file of a NIC."""
    return f"# {name} keeps the name that it had under Xen\n[Match]\nMACAddress={mac.lower()}\n\n[Link]\nName={name}\n"


def unit() -> str:
    """The unit that runs `script` when all NICs are there, and before anything looks at their names."""
    return f"""\
# written when this guest moved to VMware
[Unit]
Description=NICs keep the names that they had under Xen
DefaultDependencies=no
Wants=systemd-udev-settle.service network-pre.target
After=systemd-udev-settle.service local-fs.target
Before=network-pre.target nftables.service iptables.service netfilter-persistent.service firewalld.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {SCRIPT}

[Install]
WantedBy=multi-user.target
"""


def script(macs: Mapping[str, str]) -> str:
    """Gives every NIC its name; does nothing where all have theirs."""
    pairs = "\n".join(f"{name}={mac.lower()}" for name, mac in macs.items())
    return f"""\
#!/bin/sh
# written when this guest moved to VMware: the kernel names NICs by their place on the bus, these are their names by MAC
renamed=no
nics='
{pairs}
'
net=/sys/class/net
for nic in $nics; do # a name that another NIC has becomes free
    name=${{nic%%=*}}
    if [ -e $net/$name ] && [ "$(cat $net/$name/address)" != ${{nic#*=}} ]; then
        ip link set dev $name down
        ip link set dev $name name was-$name
    fi
done
for nic in $nics; do
    name=${{nic%%=*}}
    [ -e $net/$name ] && continue
    for path in $net/*; do
        if [ -e $path/device ] && [ "$(cat $path/address)" = ${{nic#*=}} ]; then
            ip link set dev ${{path##*/}} name $name && renamed=yes
        fi
    done
done
# udev gave up on these: it has to settle again what hangs on a NIC, by its right name
[ "$renamed" = yes ] && udevadm trigger --subsystem-match=net --action=add
exit 0
"""


def home(texts: Mapping[str, str]) -> str:
    """The file of rules that the guest's own udev writes, by whatever name its version has for it."""
    return next((path for path in HOMES if path in texts), RULES)


def rules(content: str, macs: Mapping[str, str], *, complete: bool = True, driver: str = "") -> str:
    """The rules without those that name a planned NIC by its place, or give its name or its MAC otherwise; where `complete`, with
    one for each NIC that none is sure to find on VMware, with a NIC of this driver.

    New ones are like those that are there: old versions of udev know other words.
    """
    wanted = {name: mac.lower() for name, mac in macs.items()}
    right: set[str] = set()
    kept, like = [], ""
    for _, whole, body, rule in udev.each(content):
        pairs = [(name, mac) for name in rule.names for mac in rule.macs] if rule else []
        holds = bool(rule and rule.holds(driver))
        like = like or (body.strip() if pairs and holds else "")
        ours = [pair for pair in pairs if pair[0] in wanted or pair[1] in wanted.values()]
        if rule and not rule.macs and {*rule.names, *rule.renames().values()} & set(wanted):
            continue  # by its place: that is another's now
        if rule and ours:
            if ours[0][0] in right or not rule.works or rule.xen or any(wanted.get(name) != mac for name, mac in pairs):
                continue
            right |= {ours[0][0]} if holds else set()
        kept.append(whole)
    new = "".join(kept)
    missing = [_line(name, mac, like) for name, mac in wanted.items() if name not in right and complete]
    made = text.append(new, missing)
    joined = missing and [body for _, _, body in udev.logical(made)][-len(missing) :] != missing  # to a last line that goes on
    return text.append(new, ["", *missing]) if joined else made if missing else new


def read(texts: Mapping[str, str]) -> dict[str, str]:
    """{name: MAC} of what the guest's rules, link files and lists of names tie together. A rule counts before a link file."""
    found: dict[str, str] = {}  # {MAC: name}
    for _, name, mac, _ in _listed(texts):
        if mac:
            found[mac] = name
    found |= _linked(texts) | _named(texts)
    return {name: mac for mac, name in found.items()}


def _listed(texts: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """`(place, name, MAC, place on Xen's bus)` of each line of the lists of nameif and ifrename, mactab and iftab(5)."""
    for path in ("/etc/mactab", "/etc/iftab"):
        for n, _, line in udev.logical(texts.get(path, "")):
            name, *words = line.partition("#")[0].split() or [""]
            mac = next((m for w in words if (m := address.mac(w.removeprefix("mac=")))), "")
            bus = next((w for w in words if re.fullmatch(r"vif-\d+", w)), "")
            if words:
                yield f"{path}:{n}", name, mac, bus


def holding(texts: Mapping[str, str], driver: str) -> dict[str, str]:
    """{name: MAC} of what ties them together on VMware as well, with NICs of this driver: what does so only under Xen, or
    perhaps, is left out."""
    found = _linked(texts, driver) | _named(texts, driver)
    return {name: mac for mac, name in found.items()}


def _linked(texts: Mapping[str, str], driver: str | None = None) -> dict[str, str]:
    """{MAC: name} of link files; with a driver, of those that fit a NIC of it on VMware. Of files that fit the first counts, and
    one that gives no name hides those behind it."""
    found: dict[str, str] = {}
    for _, unit in networkd.units(texts, ".link", []):
        macs = _macs(unit)
        name = unit.last("Link", "Name") if len(macs) == 1 and not unit.last("Link", "NamePolicy") else ""
        fits = networkd.meets(unit, driver or "", udev.KERNEL)
        if macs and (fits or (driver is None and name)):
            found = dict.fromkeys(macs, name) | found
        elif fits and not unit.words("Match", "MACAddress", "PermanentMACAddress"):
            break  # for every NIC
    return {mac: name for mac, name in found.items() if name}


def _macs(unit: networkd.Sections) -> list[str]:
    return [m for w in unit.words("Match", "PermanentMACAddress", "MACAddress") if (m := address.mac(w))]


def link_file(texts: Mapping[str, str], name: str, mac: str, driver: str) -> tuple[str, str]:
    """`(path, content)` of the link file that gives a NIC its name: the one that is for it already and sets other things, else a
    new one."""
    for path, unit in networkd.units(texts, ".link", []):
        if _macs(unit) == [mac.lower()] and networkd.meets(unit, driver, udev.KERNEL):
            kept = [s for s in unit if s.section == "Link" and s.key not in ("Name", "NamePolicy")]
            return path, _with_name(texts[path], name) if kept else link(name, mac)
    return link_path(name), link(name, mac)


def _with_name(content: str, name: str) -> str:
    section = ""

    def change(body: str) -> str | None:
        nonlocal section
        section = body.strip() if body.strip().startswith("[") else section
        return None if section == "[Link]" and re.match(r"\s*Name(?:Policy)?\s*=", body) else body

    return text.append(text.edit(content, change), ["", "[Link]", f"Name={name}"])


def links_work(texts: Mapping[str, str]) -> bool:
    """Whether udev gives names by link files at all, and ours come first."""
    masks = texts.get(LINKS_RULE)
    first = (p for p, unit in networkd.units(texts, ".link", []) if not unit.words("Match", "MACAddress", "PermanentMACAddress"))
    return (masks is None or "net_setup_link" in masks) and not any(posixpath.basename(p) < "10-" for p in first)


def _named(texts: Mapping[str, str], driver: str | None = None) -> dict[str, str]:
    """{MAC: name} of rules: the last counts, or the first with :=; with a driver, of those that are sure to hold with it."""
    found: dict[str, str] = {}
    final: set[str] = set()
    for _, _, rule in udev.rules(texts):
        counts = rule.works and rule.reached is not False if driver is None else rule.holds(driver)
        if counts and rule.names and udev.NAME.match(rule.names[0]):
            found |= dict.fromkeys((mac for mac in rule.macs if mac not in final), rule.names[0])
            final |= set(rule.macs) if rule.final else set()
    return found


def renamed(texts: Mapping[str, str]) -> dict[str, str]:
    """{name that the kernel gave: new name} of rules and link files that go by it, or by Xen's bus: its first NIC is vif-0."""
    found: dict[str, str] = {}
    for _, old, new in by_name(texts):
        found.setdefault(old, new)
    found |= {bus: name for _, name, mac, bus in _listed(texts) if bus and not mac}
    for _, _, rule in udev.rules(texts):
        found |= rule.renames()
    return found


def by_name(texts: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """`(path, old, new)` of the link files that name a NIC by the name that the kernel gave it, or by its place on Xen's bus."""
    found = []
    for path, unit in networkd.units(texts, ".link", []):
        old, new = unit.words("Match", "OriginalName"), unit.last("Link", "Name")
        if not old:
            old = [w.removeprefix("xen-") for w in unit.words("Match", "Path") if re.fullmatch(r"xen-vif-\d+", w)]
        if len(old) == 1 and re.fullmatch(r"vif-\d+|" + udev.NAME.pattern, old[0]) and new:
            found += [] if unit.words("Match", "MACAddress", "PermanentMACAddress") else [(path, old[0], new)]
    return found


def names_nics(path: str, content: str) -> bool:
    """Whether a file of rules names NICs."""
    return any(True for _ in udev.rules({path: content}))


def told(texts: Mapping[str, str]) -> list[Note]:
    """What is to be known of rules: those that never fit a NIC, and those that find one by something else than its MAC."""
    notes = []
    for path, line, rule in udev.rules(texts):
        place, nic = f"{path}:{line}", ", ".join(rule.names) or "–"
        if rule.reached is False:
            continue
        if rule.macs and not rule.works:
            notes.append(note("rule-never-fits", place=place, nic=nic))
        elif not rule.macs or not rule.names or re.search("[%$]", nic):
            notes.append(note("rule-not-by-mac", place=place, nic=nic))
    notes += [note("rule-not-by-mac", place=place, nic=name) for place, name, mac, _ in _listed(texts) if not mac]
    for path, unit in networkd.units(texts, ".link", []):
        macs = unit.words("Match", "MACAddress", "PermanentMACAddress")
        if unit.last("Link", "MACAddressPolicy").lower() == "random":
            notes.append(note("mac-in-file", file=path, setting="MACAddressPolicy"))
        if address.mac(unit.last("Link", "MACAddress")):
            notes.append(note("mac-in-file", file=path, setting="MACAddress"))
        if posixpath.basename(path) < "10-" and not macs and networkd.meets(unit, "", udev.KERNEL):
            notes.append(note("link-file-first", file=path))
    return notes


def _line(name: str, mac: str, like: str) -> str:
    """A rule for a NIC: as `like` is, where that is of an old udev, which knows no ATTR."""
    old = udev.rule_of(like)
    if old and old.macs and not re.search(r"ATTRS?\{address\}", like):
        made = re.sub(re.escape(old.macs[0]), mac, like, flags=re.I)
        made = re.sub(r'KERNEL=="[^"]*"', 'KERNEL=="eth*"', made)
        made = re.sub(rf'([" ]){re.escape(old.names[0])}"', rf'\g<1>{name}"', made)
        new = udev.rule_of(made)
        if new and (new.names, new.macs, new.works) == ((name,), (mac,), True):
            return made
    return (
        f'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{{address}}=="{mac}", ATTR{{type}}=="1", '
        f'KERNEL=="eth*", NAME="{name}"'
    )
