"""Chooses what switches off the merging of received frames on a guest that forwards, for exactly this guest.

What its kernel, driver and ethtool can do is asked, never concluded from versions: a module parameter that a module does not
list keeps old kernels from loading it at all, so that `disable_lro` is written only where `modinfo -p vmxnet3` lists it.
Text in, plan out: `hikkoshi.network.remedy.remedy` carries it out.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from hikkoshi.artefact import Frozen
from hikkoshi.network.diagnosis import aggregation
from hikkoshi.network.diagnosis.diagnosis import UNKNOWN
from hikkoshi.network.diagnosis.snapshot import HEADER, NicState, Snapshot
from hikkoshi.network.remedy.persistence import Feature

PARAMETER = "disable_lro"
OLD = "vmxnet"  # Enhanced VMXNET, vmxnet 2: a driver of VMware Tools alone
DISPATCHER = "/etc/NetworkManager/dispatcher.d/50-forwarding-without-lro"
IFUP_LOCAL = "/sbin/ifup-local"
CONNECTIONS = "/etc/NetworkManager/system-connections/"
KEYFILES_SINCE = (1, 14)  # NetworkManager that knows [ethtool], by the documentation of libnm's NMSettingEthtool
Way = Literal["modprobe", "ifcfg", "ifup-local", "dispatcher", "keyfile", "interfaces", "link"]
SCRIPTS: tuple[Way, ...] = ("ifup-local", "dispatcher")
_HOW: Mapping[Way, str] = {
    "modprobe": "options vmxnet3 disable_lro=1",
    "ifcfg": 'ETHTOOL_OPTS="-K {nic} {feature} off"',
    "ifup-local": "ethtool -K {nic} {feature} off, as soon as the NIC is up",
    "dispatcher": "ethtool -K {nic} {feature} off, as soon as the NIC is up",
    "keyfile": "[ethtool] feature-{feature}=false",
    "interfaces": "post-up ethtool -K {nic} {feature} off",
    "link": "the [Link] key for {feature}: no",
}
_SAFE = re.compile(r"[A-Za-z0-9_.-]+")  # names that need no quotes in any of the files


class Switch(Frozen):
    """A flag of a NIC that has to be off."""

    nic: str
    feature: Feature


class File(Frozen):
    """A file that has to say so for every start."""

    path: str
    way: Way
    nics: tuple[str, ...] = ()
    feature: Feature = "lro"


class Prescription(Frozen):
    """What has to be so. Both may be empty, and the notes then say why."""

    switches: tuple[Switch, ...] = ()
    files: tuple[File, ...] = ()
    ethtool: str = "/sbin/ethtool"
    restart: bool = False  # nothing changes before the guest is started anew
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, str]]:
        """What it would do, for a reader."""
        now = [
            {"when": "now", "where": s.nic, "what": f"{self.ethtool} -K {s.nic} {s.feature} off, and read back"}
            for s in self.switches
        ]
        kept = [
            {"when": "at every start", "where": f.path, "what": _HOW[f.way].format(nic=", ".join(f.nics), feature=f.feature)}
            for f in self.files
        ]
        return [*now, *kept, *({"when": "note", "where": "", "what": note} for note in self.notes)]


def remedies(snapshot: Snapshot, cause: str = aggregation.LRO) -> Prescription:
    """What to change on this guest where the diagnosis named this cause: nothing, where that is no merging of frames.

    LRO goes off on every NIC where the flag can be changed. Where it is fixed, and frames were merged all the same, it is GRO
    that goes off on the NICs of that driver.
    """
    if cause == UNKNOWN:
        return Prescription(notes=("No cause was found.",))
    if cause not in (aggregation.LRO, aggregation.MERGED):
        return Prescription(notes=(f"The cause is {cause}: what to do about it is in the diagnosis.",))
    if snapshot.forwards is False:
        return Prescription(notes=("The guest forwards nothing: LRO is good for it, and stays.",))
    nics = [nic for nic in snapshot.ethernet if _SAFE.fullmatch(nic.name)]
    parameter = PARAMETER in (snapshot.parameters or ()) and any(nic.driver == "vmxnet3" for nic in nics)
    blamed = {nic.driver for nic in nics if _merges(nic)}
    switches: list[Switch] = []
    helpless: list[str] = []
    for nic in nics:
        if nic.lro and not nic.lro.fixed:
            switches.append(Switch(nic=nic.name, feature="lro"))
        elif parameter and nic.driver == "vmxnet3":
            continue
        elif nic.driver in blamed and nic.gro and not nic.gro.fixed:
            switches.append(Switch(nic=nic.name, feature="gro"))
        elif nic.driver in blamed or (nic.driver in ("vmxnet3", OLD) and nic.lro is None):
            helpless.append(nic.name)
    files, notes = _files(snapshot, switches, parameter)
    if not (switches or files or helpless):
        helpless = [nic.name for nic in nics]  # which of them merge, the guest cannot tell
    notes += _host(snapshot, helpless)
    return Prescription(
        switches=tuple(switches),
        files=tuple(files),
        ethtool=snapshot.ethtool or "/sbin/ethtool",
        restart=parameter and not switches,
        notes=tuple(notes),
    )


def _host(snapshot: Snapshot, helpless: Sequence[str]) -> list[str]:
    """What is left for NICs on which nothing in the guest can be switched by us: each driver has options of its own."""
    notes = []
    if old := [name for name in helpless if snapshot.nics[name].driver == OLD]:
        own = PARAMETER in (snapshot.old_parameters or ())
        notes.append(
            f"The driver of {', '.join(old)} is {OLD} (Enhanced VMXNET), which the options of vmxnet3 do not touch. "
            + (
                f"Its module lists {PARAMETER}: write `options {OLD} {PARAMETER}=1` in the guest's modprobe.conf. Or "
                if own
                else ""
            )
            + "set Net.Vmxnet2SwLRO and Net.Vmxnet2HwLRO of the ESXi host to 0 (esxcli system settings advanced set "
            "-o /Net/Vmxnet2SwLRO -i 0), which every machine on it feels, or give the machine an e1000, or a vmxnet3 whose LRO "
            "the guest can switch off."
        )
    if rest := [name for name in helpless if name not in old]:
        notes.append(
            f"Nothing in the guest switches it off for {', '.join(rest)}: set Net.Vmxnet3SwLRO and Net.Vmxnet3HwLRO of the "
            "ESXi host to 0 (hikkoshi host-offloads), which every machine on it feels, or use an e1000, which has no LRO."
        )
    return notes


def _merges(nic: NicState) -> bool:
    """Whether this NIC, by any sign, has handed up frames longer than its MTU."""
    if not nic.mtu:
        return False
    long = nic.traffic is not None and nic.traffic.rx_bytes > nic.traffic.rx_packets * (nic.mtu + HEADER)
    return bool(nic.oversized) or long or any(mtu >= nic.mtu for mtu in nic.told or ())


def _files(snapshot: Snapshot, switches: Sequence[Switch], parameter: bool) -> tuple[list[File], list[str]]:
    """Where it is written down, and a note on NICs for which no place is known."""
    if not snapshot.whole:
        return [], ["This is a network namespace, not a whole machine: nothing is written down for a restart."]
    files: list[File] = []
    if parameter:
        known = "/etc/modprobe.conf" in snapshot.settings
        files.append(File(path="/etc/modprobe.conf" if known else "/etc/modprobe.d/vmxnet3-lro.conf", way="modprobe"))
    places: dict[tuple[Way, str, Feature], list[str]] = {}
    loose: list[str] = []
    for nic, feature in ((s.nic, s.feature) for s in switches):
        way, path = _place(snapshot, snapshot.nics[nic])
        if way is None:
            loose.append(nic)
        else:
            places.setdefault((way, path, feature), []).append(nic)
    files += [File(path=path, way=way, nics=tuple(nics), feature=f) for (way, path, f), nics in places.items()]
    note = f"No file of the guest is known to set up {', '.join(loose)}: have it run ethtool at every start by hand."
    return files, [note] if loose else []


def _place(snapshot: Snapshot, nic: NicState) -> tuple[Way | None, str]:
    """The file that is read whenever this NIC comes up."""
    ifcfg = _ifcfg(snapshot, nic)
    stanza = _holding(snapshot, "/etc/network/interfaces", rf"\s*iface\s+{re.escape(nic.name)}\s.*")
    if ifcfg and re.search(r"^\s*NM_CONTROLLED=[\"']?no\b", "\n".join(snapshot.settings[ifcfg]), re.M | re.I):
        managed = False
    else:
        managed = snapshot.manager is not None and not stanza  # NetworkManager leaves ifupdown's NICs alone
    if managed:
        connection = _holding(snapshot, CONNECTIONS, rf"\s*interface-name\s*=\s*{re.escape(nic.name)}\s*") or _holding(
            snapshot, CONNECTIONS, rf"(?i:\s*mac-address\s*=\s*{nic.mac})\s*"
        )
        since = (snapshot.manager or (0, 0)) >= KEYFILES_SINCE
        return ("keyfile", connection) if connection and since else ("dispatcher", DISPATCHER)
    if ifcfg:
        # before Enterprise Linux 6, initscripts had no other use for ETHTOOL_OPTS than `ethtool -s`
        release = re.search(r"release (\d+)", snapshot.release)
        return ("ifcfg", ifcfg) if release and int(release[1]) >= 6 else ("ifup-local", IFUP_LOCAL)
    if stanza:
        return "interfaces", stanza
    link = next((path for path in sorted(snapshot.settings) if _is_link_of(nic, path, snapshot.settings[path])), "")
    return ("link", link) if link else (None, "")


def _ifcfg(snapshot: Snapshot, nic: NicState) -> str:
    folder = "/etc/sysconfig/network-scripts/ifcfg-"
    named = _holding(snapshot, folder, rf"\s*DEVICE=[\"']?{re.escape(nic.name)}[\"']?\s*")
    return folder + nic.name if folder + nic.name in snapshot.settings else named


def _holding(snapshot: Snapshot, start: str, line: str) -> str:
    """The first file whose path starts so and that has such a line; empty where there is none."""
    paths = (path for path in sorted(snapshot.settings) if path.startswith(start))
    return next((p for p in paths if any(re.fullmatch(line, one) for one in snapshot.settings[p])), "")


def _is_link_of(nic: NicState, path: str, lines: Sequence[str]) -> bool:
    """Whether systemd takes this file for the NIC: of several the first by name."""
    if not path.startswith("/etc/systemd/network/"):
        return False
    pairs = (line.partition("=") for line in lines)
    settings = {key.strip(): value for key, _, value in pairs}
    macs = (settings.get("MACAddress", "") + " " + settings.get("PermanentMACAddress", "")).lower().replace("-", ":")
    names = settings.get("OriginalName", "").split()
    return nic.mac in macs.split() or any(fnmatch.fnmatch(nic.name, pattern) for pattern in names)
