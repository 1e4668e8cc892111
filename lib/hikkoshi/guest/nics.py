"""Which NIC of the Xen configuration has which name in the guest, and which of the guest's files configure it."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hikkoshi.guest.facts import GuestFacts, Interface
from hikkoshi.guest.interfaces import address
from hikkoshi.guest.interfaces.networkd import matches, met

_KERNEL = re.compile(r"(eth|enX)\d+$")  # names that the kernel and systemd give Xen's NICs in their order
_IFNAME = re.compile(r"ifname=([\w.-]+):([0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5})")


@dataclass(frozen=True)
class Naming:
    """The guest's name for each NIC, in the order of the Xen configuration."""

    names: tuple[str, ...]
    unknown: tuple[str, ...]  # 'ens3 (00:16:3e:05:00:00)': names that are only a guess, or that two NICs have
    left: tuple[str, ...]  # names that the guest configures, and that no NIC is known to have


def naming(facts: GuestFacts, macs: Sequence[str]) -> Naming:
    """What the guest calls the NICs with these MACs.

    A NIC is named by the HWADDR of its ifcfg file, by the kernel's argument ifname=, by udev's rules or by systemd's link files,
    whatever its place in the configuration. Others get the names that are left, in order: ethN for the Nth where that is free,
    or what udev makes of this, or enXN, as systemd names Xen's NICs since version 253, where the guest configures such names.
    Where one NIC and one other name are left, they belong together; where more are left, nobody knows which is which.
    """
    known = tied(facts)
    macs = [m.lower() for m in macs]
    taken: dict[str, str] = {}
    for mac in macs:
        if mac in known:
            taken.setdefault(known[mac], mac)
    given = {mac: name for name, mac in taken.items()}
    twice = [m for m in macs if m in known and m not in given]
    wanted = _wanted(facts, taken)
    kind = _kind(facts, wanted)
    free = [f"{kind}{n}" for n in range(len(macs) + len(taken)) if f"{kind}{n}" not in taken]
    for n, mac in enumerate(macs):
        new = next((facts.renamed[old] for old in (f"{kind}{n}", f"vif-{n}") if old in facts.renamed), "")
        if mac not in given and new and new not in given.values():
            given[mac] = new
        elif mac not in given:
            given[mac] = f"{kind}{n}" if f"{kind}{n}" in free else free[0]
            free.remove(given[mac])
    by_mac = {i.mac for i in facts.interfaces if not i.name}
    loose = [m for m in macs if m not in known and m not in by_mac and not any(matches(given[m], w) for w in wanted)]
    odd = [w[0] for w in wanted if not any(matches(name, w) for name in given.values()) and _literal(w[0])]
    odd = [name for name in odd if not _KERNEL.match(name)]
    given |= dict(zip(loose, odd, strict=False))  # in order, for want of anything better
    guessed = loose if odd and (len(loose), len(odd)) != (1, 1) else []
    unknown = [f"{given[m]} ({m})" for m in guessed] + [f"{known[m]} ({m})" for m in twice]
    return Naming(tuple(given[m] for m in macs), tuple(unknown), tuple(odd) if guessed else ())


def tied(facts: GuestFacts) -> dict[str, str]:
    """{MAC: name} of what the guest ties together."""
    named = {i.mac.lower(): i.name for i in facts.interfaces if i.mac and i.name and i.kind == "nic"}
    for kernel in facts.kernels:
        if kernel.index == facts.default_kernel:  # dracut.cmdline(7)
            given = (_IFNAME.fullmatch(argument) for argument in kernel.arguments)
            named |= {address.mac(m[2]): m[1] for m in given if m}
    return named | {mac: name for name, mac in facts.pinned.items()}


def tie(facts: GuestFacts, interface: Interface) -> str:
    """What an interface is tied to: a MAC, else its name, patterns or conditions."""
    pinned = {name: mac for mac, name in tied(facts).items()}
    mac = interface.mac or pinned.get(interface.name, "")
    return mac or ("its name" if interface.name else " ".join((*interface.patterns, *interface.conditions)) or "nothing")


def configured(facts: GuestFacts, macs: Mapping[str, str], *, driver: str = "") -> dict[str, list[Interface]]:
    """{name: what configures this NIC, what fits best first}; `macs` are the NICs' MACs by their names.

    With a driver, what is only for NICs of another, or of Xen, does not fit.
    """
    nics = [i for i in facts.interfaces if i.kind == "nic" and (not driver or meets(i, driver))]
    found = {}
    for name, mac in macs.items():
        fits = [i for i in nics if _fits(i, name, mac)]
        found[name] = sorted(fits, key=lambda i: (bool(i.by_hand), i.mac != mac, not i.name))
    empty = [name for name, fits in found.items() if not fits and not above(facts, name)]
    if len(empty) == 1:
        loose = [i for i in nics if not (i.name or i.mac or i.patterns or (_of_its_kind(i) and not driver))]
        found[empty[0]] = [i for i in loose if _takes(i, macs[empty[0]])]
    return found


def only_left(facts: GuestFacts, name: str) -> bool:
    """Whether a NIC has this name only because it was the one name left; the kernel's own names need no such reason."""
    return not _KERNEL.match(name) and name not in facts.renamed.values() and any(name in wanted for wanted in _wanted(facts, {}))


def used(facts: GuestFacts) -> set[str]:
    """The names of NICs that the guest's files have anything to say of."""
    own = {i.name for i in facts.interfaces if i.kind == "nic" and i.name}
    known = tied(facts)
    return own | {known.get(name, name) for i in facts.interfaces for name in i.over}


def above(facts: GuestFacts, name: str) -> list[Interface]:
    """The bridges, bonds and VLANs that are made of this NIC."""
    known = tied(facts)
    return [i for i in facts.interfaces if i.kind != "nic" and name in (known.get(n, n) for n in i.over)]


def stacked(facts: GuestFacts, name: str) -> list[Interface]:
    """The same, and what is made of these in turn: the VLANs of a bond."""
    found = above(facts, name)
    for one in found:  # grows
        found += [i for i in above(facts, one.name) if one.name and i not in found]
    return found


def meets(interface: Interface, driver: str) -> bool:
    """Whether a NIC of this driver, on VMware, meets the interface's conditions."""
    by_key: dict[str, list[str]] = {}
    for condition in _of_its_kind(interface):
        key, _, value = condition.partition("=")
        by_key.setdefault(key, []).append(value)
    return all(met(key, values, driver) for key, values in by_key.items())


def _of_its_kind(interface: Interface) -> list[str]:
    """The conditions that are about the kind of NIC, and not about one."""
    return [c for c in interface.conditions if not c.startswith(address.NOT_MAC)]


def _takes(interface: Interface, mac: str) -> bool:
    """Whether an interface does not leave out the NIC with this MAC."""
    return address.NOT_MAC + mac not in interface.conditions


def _fits(interface: Interface, name: str, mac: str) -> bool:
    if not _takes(interface, mac):
        return False
    if interface.name or interface.mac:
        return name == interface.name or (not interface.name and mac == interface.mac)
    return bool(interface.patterns) and matches(name, interface.patterns)


def _literal(pattern: str) -> bool:
    return not set("*?[!") & set(pattern)


def _wanted(facts: GuestFacts, taken: Mapping[str, str]) -> list[tuple[str, ...]]:
    """What NICs without a MAC are called in the guest's files: of each the names and patterns that it may have, in order."""
    uppers = {i.name for i in facts.interfaces if i.kind != "nic"}
    below = [n for i in facts.interfaces if i.kind != "nic" for n in i.over if ":" not in n and "/" not in n and _literal(n)]
    names = [i.name for i in facts.interfaces if i.kind == "nic" and i.name and not i.mac]
    names = [n for n in dict.fromkeys([*names, *below]) if n not in uppers and n not in taken]
    patterns = [i.patterns for i in facts.interfaces if i.patterns and not i.mac]
    return [*((n,) for n in sorted(names, key=_natural)), *patterns]


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.findall(r"\d+|\D+", name)]


def _kind(facts: GuestFacts, wanted: list[tuple[str, ...]]) -> str:
    """eth or enX: the names that the guest's files use, or that their patterns fit."""
    if any(i.name.startswith("enX") for i in facts.interfaces):
        return "enX"
    if any(matches("eth0", w) or any(fnmatch.fnmatchcase(p, "eth*") for p in w) for w in wanted):
        return "eth"
    return "enX" if any(not _literal(w[0]) and matches("enX0", w) for w in wanted) else "eth"
