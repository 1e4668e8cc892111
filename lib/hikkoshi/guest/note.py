"""What is to be known of a guest, or why something in it changes: a code with its facts. The words are made when it is shown."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from hikkoshi.artefact import Frozen

MEANINGS = {  # {code: its words; what differs stands in braces}
    "clock-drifts": "the clock of this kernel may drift on VMware: {article} has the arguments for 64-bit guests of this release",
    "clock-by-ntp": "the clock: let NTP keep it, and do not switch on VMware Tools' synchronisation beside it ({article})",
    "tools-packaged": "VMware Tools, after the cut-over in the running guest: {command} (from its own repositories)",
    "tools-from-disc": (
        "VMware Tools: the repositories of {system} have no open-vm-tools. After the cut-over choose 'Install VMware "
        "Tools' for the machine in vSphere, mount the disc in the guest, unpack VMwareTools-*.tar.gz, run "
        "vmware-install.pl; answer no where it would replace vmxnet3 or pvscsi: this guest starts from the drivers that "
        "it has"
    ),
    "tools-none": "VMware Tools: none, on purpose: {reason}",
    "tools-by-shell": "VMware Tools, in the cut-over by the moved guest's own shell: {command}",
    "tools-by-archive": "VMware Tools, at the moved guest's first start: the installer of {archive}, unattended",
    "tools-by-packages": "VMware Tools, installed on the copy by the guest's own package manager: {packages}",
    "nic-unconfigured": "no file of the guest configures {nic}: it will be there, unconfigured",
    "nic-not-planned": "{file} configures {nic}, which the plan does not have: it stays as it is",
    "mac-in-file": "{file} sets a MAC of its own ({setting}): the port group must allow MAC address changes",
    "nic-name-left": "{nic} is the NIC with MAC {mac}: nothing in the guest says so, but one NIC and one name were left",
    "nic-tied-to-nothing": "{place} is for any NIC: no name, MAC or pattern is there. See in the running guest which NIC uses it",
    "nic-conditions-unmet": "{place} is for NICs with {conditions}: after the move there is none, and nothing uses this file",
    "nic-patterns-unmatched": "{place} is for NICs named {patterns}: no planned NIC has such a name, and nothing uses this file",
    "nic-mac-not-planned": "{place} is for the NIC with MAC {mac}, which the plan does not have: nothing uses this file",
    "nic-configured-twice": "{one} and {other} configure {nic} differently: see in the running guest which of them counts",
    "nic-by-hand": "{place} is for {nic}, and nothing brings it up at a start ({setting}): the plan does not count on it",
    "nics-by-script": "{place} lets a script choose what configures {nics}: see in the running guest what it chooses",
    "nics-by-pattern": "{place} makes {name} of the NICs that fit {patterns}: see in the running guest which these are",
    "nic-by-command": "{place} sets up another interface by a command: {command}. See in the running guest what it does",
    "address-odd": "{place} has an address that programs read differently, or not at all: {address}. The plan goes without it",
    "address-range": "{place} gives the guest the addresses from {first} to {last}, which the plan does not list",
    "vlan-in-guest": (
        "{place} makes VLAN {vlan} on {nic}: the port group of that NIC must let tagged frames through (VLAN 4095, or a trunk)"
    ),
    "bridge-in-guest": (
        "{place} makes the bridge {name} of {nics}: if machines stand behind it, the port groups must allow promiscuous mode and "
        "forged transmits"
    ),
    "bond-in-guest": (
        "{place} makes {name} of {nics}: if they share one MAC, the port groups must allow MAC address changes and forged "
        "transmits"
    ),
    "file-not-used": "{file} is not used: {by} comes first, or does not name it",
    "file-is-copy": "{file} is called as a copy of {other}: it is for a NIC of that name, and there is none",
    "source-not-read": "{place} reads {source}, which the survey does not: see there for more NICs",
    "setting-by-shell": "{place} sets {key} to what only a shell knows: see in the running guest what that is",
    "rule-never-fits": "{place} names a NIC {nic} by a MAC in capitals, which udev never finds: it had no effect",
    "link-file-first": (
        "{file} is for every NIC, and comes before the files that tie names to MACs, which then do nothing: give it a name that "
        "begins with 11 or more"
    ),
    "rule-not-by-mac": "{place} names a NIC {nic} by something else than its MAC, which may be another after the move",
    "menu-kernel-missing": "boot menu entry {entry} names a kernel that is not there: {file}",
    "menu-initrd-missing": "boot menu entry {entry} names an initrd that is not there: {file}",
    "initrd-not-read": "the initrd {file} cannot be read: {why}",
    "file-not-read": "{file} cannot be read: {why}",
    "fstab-line-odd": "a line of /etc/fstab mounts nothing, since a field is missing or too many: {line}",
    "disk-by-letter": (
        "{file} names one of several disks by its letter, which the kernel may give another disk at any start: {line}. Where it "
        "makes swap or a file system there, another disk's data would be lost. Write a link of /dev/disk/by-id there in the "
        "running guest, or have one disk"
    ),
    "fstab-device-unknown": "a line of /etc/fstab names a device that is not on this disk: {line}",
    "xen-arguments-gone": "arguments of the kernel that only mean something under Xen go: {arguments}",
    "serial-first": (
        "{file} asks for a login, or shows the boot menu, on a serial port, which the new machine does not have unless you "
        "give it one: {line}"
    ),
    "screen-login-masked": "no login on the screen: {unit} is masked. In the running guest: systemctl unmask getty@tty1.service",
    "screen-without-login": "/etc/inittab asks for a login on no terminal that the new machine has: add a getty on tty1",
    "screen-without-job": "no job in {folder} asks for a login on the screen: in the running guest, let tty1 start a getty",
    "kernel-default": "the guest's own default: it boots without Xen and can drive {disk} and {nic}",
    "kernel-highest": "the highest of {kernels} that boot without Xen and can drive {disk} and {nic}",
    "kernel-only": "the only one that boots without Xen and can drive {disk} and {nic}",
    "boots-kernel": "boot {kernel}; no Xen disk, no Xen console",
    "xen-names-gone": "no Xen disk, no Xen console",
    "boot-disk-renamed": "the boot disk's new name",
    "disks-renamed": "the disks' new names",
    "drivers-in-initrds": "the disk's drivers in every initrd",
    "package-stays-default": "updates of {package} stay the default",
    "screen-login": "log in on the screen, not on Xen's console",
    "screen-root": "root may log in on the screen",
    "xen-drivers-gone": "no Xen, so none of its drivers",
    "vmware-screen": "a screen that VMware has",
    "xen-settings-gone": "settings that only Xen's kernel knew",
    "vmware-drivers": "NICs and disk on VMware's drivers",
    "names-by-mac": "every NIC keeps its name by its MAC",
    "nic-by-mac": "{nic} is the NIC with MAC {mac}",
    "own-names-by-mac": "the kernel's own names, given by MAC",
    "device-list-gone": "a list of old devices; made again by itself",
    "first-start": "what was brought along for the first start runs once, and takes itself away",
    "brought-along": "the list of what was brought along, so that nothing comes twice",
    "relabelled": "labels for what was written from outside",
    "xen-kernel-arguments": (
        "Xen gives the kernel arguments that no file of the guest has: {arguments}. They end with the move; write into the "
        "guest's own files what it needs of them, such as its address"
    ),
    "source-exported": (
        "the source is an export of XenServer or XCP-ng. What {guest} has written since the export is not moved, and nobody here "
        "sees whether it runs: it has to be off since it was exported, and stay off"
    ),
    "xen-processors": "Xen starts the guest with {online} of {most} processors; `vm: vcpus` gives the new machine more",
    "pci-device-stays": (
        "the PCI device {address} of the Dom-0 stays behind. Where it is a NIC, the guest has one less, and what configures "
        "that stays without a NIC"
    ),
    "xen-device-stays": "what {setting} gave the guest stays behind with the Dom-0: {value}",
    "disk-shared": "{disk} ({target}) may be written by another guest, too, under Xen: nobody else may write to it when it moves",
    "disk-read-only": "{disk} ({target}) cannot be written under Xen; on VMware it can",
    "nic-rate-limited": "Xen limits NIC {nic} ({mac}) to {rate}; its port group sets no such limit by itself",
    "nic-without-mac": (
        "NIC {nic} has no MAC in the Xen configuration, so that Xen draws one. While the guest runs, `xl list -l` or "
        "`xm list -l` shows it: write it as mac= into a copy of the configuration"
    ),
    "volume-encrypted": (
        "{volume} is encrypted (LUKS): it moves as it is, and nobody has looked into it. If the guest asks for its passphrase at "
        "the start, somebody has to type that on the new machine's screen, and a rehearsal comes to no login"
    ),
    "licence-by-mac": (
        "{file} has a licence for the MAC {mac}: it stays valid as long as a NIC of the new machine has that MAC, as the plan "
        "gives it"
    ),
    "licence-by-machine": (
        "{file} has a licence for one machine alone ({bound}): the new one is another. Ask who sold it for a new licence before "
        "the cut-over"
    ),
    "boot-loader-made": "a boot loader for a disk that had none: under Xen the Dom-0 did without",
}
EARLIER = {"setting": "MACADDR"}  # facts that notes of earlier versions lack


class Note(Frozen):
    """One thing that is to be known. Of an earlier version, which wrote words alone, these stay as they were written."""

    code: str
    facts: Mapping[str, str] = {}
    words: str = ""  # as an earlier version wrote them

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {**_earlier(value), "words": value} if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> Any:
        return self.words or {"code": self.code, "facts": dict(self.facts)}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Note):
            return NotImplemented
        return (self.code, self.facts) == (other.code, other.facts) and (bool(self.code) or self.words == other.words)

    def __hash__(self) -> int:
        return hash((self.code, *self.facts.values()))

    def said(self, _: Callable[[str], str] = str) -> str:
        """Its words, in English or in the language of `_`; those of nobody known stay as they are."""
        meaning = MEANINGS.get(self.code)
        return _(meaning).format(**EARLIER | dict(self.facts)) if meaning else self.words

    def __str__(self) -> str:
        return self.said()


def note(code: str, **facts: object) -> Note:
    """A note by its code, with what differs."""
    return Note(code=code, facts={name: str(value) for name, value in facts.items()})


def _earlier(sentence: str) -> dict[str, Any]:
    """Code and facts of what an earlier version wrote; no code where these are none of its words."""
    for code, meaning in MEANINGS.items():
        if found := _pattern(meaning).fullmatch(sentence):
            return {"code": code, "facts": found.groupdict()}
    return {"code": ""}


@functools.cache
def _pattern(meaning: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", meaning)
    return re.compile("".join(f"(?P<{p}>.+)" if n % 2 else re.escape(p) for n, p in enumerate(parts)), re.DOTALL)
