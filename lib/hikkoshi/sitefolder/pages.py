"""The texts of parameter files, as a person would write them: values in their keys, and beside them where they come from.

What is not known stands as a line with FILL IN. Words that others have chosen, such as names of port groups, end no line here
and no text.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hikkoshi.errors import printable
from hikkoshi.params.site import Dom0, VSphere
from hikkoshi.params.yamlfile import scalar
from hikkoshi.sitefolder.mapping import SegmentChoice
from hikkoshi.sitefolder.signers import PublicKey
from hikkoshi.sitefolder.sources import SourceGuest, SourceNic
from hikkoshi.vsphere.handover import FILL_IN as _HERE

FILL_IN = "FILL IN"


def remark(words: str) -> str:
    """Words as a comment holds them: on one line."""
    return printable(words, keep="")


def site(name: str, key: PublicKey, vsphere: VSphere, dom0s: Mapping[str, Dom0], segments: Sequence[SegmentChoice]) -> str:
    """params/site.yml."""
    lines = [
        "# yaml-language-server: $schema=schema/site.schema.json",
        "# Written by `hikkoshi init`. It is yours: nothing writes over it.",
        f"name: {scalar(name)}",
        "lang: en # of runbooks, reports and the page to approve: en or ja",
        "",
        "signing:",
        f"  key: {scalar(str(key.path))} # the operator's; the .pub, so that an agent may hold the private one (ssh-add)",
        "  allowed_signers: params/allowed_signers",
        "  # revoked: params/revoked # public keys that are good no more; the file may be empty",
        "  two_persons: true # whoever carries it out may not be who approved it",
        "  # time_stamp: https://… # an RFC 3161 service that says when, with time_stamp_ca",
        "",
        "vsphere:",
        *(_theirs(vsphere) if vsphere.handover else _login(vsphere)),
        f"  hardware_version: {vsphere.hardware_version} # 10 is ESXi 5.5",
        "",
        "dom0s:",
        *(f"  {scalar(dom0_name)}: {_dom0(dom0)}" for dom0_name, dom0 in dom0s.items()),
        "",
        "# Write `subnet: 10.3.1.0/24` too, where you know it: the plan then holds each guest's address against it. 70 knows a\n"
        "# segment by it, or else by the guest's own address there: a guest that is on it by DHCP alone needs it.",
        "# `answers` is a machine there that always answers, for the proof of the wiring.",
        "segments:",
        *(line for choice in segments for line in segment(choice, theirs=vsphere.handover)),
    ]
    return "\n".join(lines) + "\n"


def _login(vsphere: VSphere) -> list[str]:
    trust = f"ca: {scalar(str(vsphere.ca))}" if vsphere.ca else f"sha256: {scalar(str(vsphere.sha256))}"
    return [
        f"  server: {scalar(vsphere.server)}",
        f"  user: {scalar(vsphere.user)}",
        f"  password: {scalar(vsphere.password)} # a reference, never the value",
        f"  {trust}",
        *(f"  {key}: {scalar(getattr(vsphere, key))}" for key in ("datacenter", "cluster", "datastore")),
        "  # folder: vm/migrated # for the machines, below the datacenter; default: vm",
    ]


def _theirs(vsphere: VSphere) -> list[str]:
    return [
        "  handover: true # a contractor runs it, and nobody logs in from here: docs/contractor.md",
        f"  contractor: {scalar(vsphere.contractor)} # whom you call",
        f"  # {FILL_IN} hardware_version: ask the contractor for their version of ESXi",
    ]


def _dom0(dom0: Dom0) -> str:
    way = f"ssh: {scalar(dom0.ssh)}" if dom0.ssh is not None else f"root: {scalar(str(dom0.root or '/'))}"
    return f"{{ {way} }}"


def segment(choice: SegmentChoice, *, theirs: bool = False) -> list[str]:
    """The lines of one segment; `theirs`: of a vSphere that a contractor runs."""
    what = f"ask the contractor which of theirs has VLAN {choice.vlan}" if theirs else _several(choice)
    said = [] if choice.port_group else [remark(f"  # {FILL_IN} port_group of {choice.name}: {what}")]
    return [*said, f"  {choice.name}: {{ vlan: {choice.vlan}, port_group: {scalar(choice.port_group or _HERE)} }}"]


def _several(choice: SegmentChoice) -> str:
    return f"one of {', '.join(choice.groups)}" if choice.groups else f"vSphere has none with VLAN {choice.vlan}, make one there"


def guest(found: SourceGuest, segments: Mapping[int, Sequence[str]]) -> str:
    """params/guests/NAME.yml; `segments` are the site's, by VLAN."""
    state = "it runs" if found.runs else "it was not seen to run"
    shape = ", ".join(filter(None, (found.shape, state)))
    lines = [
        "# yaml-language-server: $schema=../schema/guest.schema.json",
        "# Written by `hikkoshi init`. It is yours: nothing writes over it.",
        remark(f"# On {found.dom0}: {shape}."),
        *(remark(f"# Note: {words}.") for words in found.remarks),
        *(remark(f"# {FILL_IN}: {words}.") for words in found.open),
        f"name: {scalar(found.name)}",
        f"dom0: {scalar(found.dom0)}",
        f"config: {scalar(str(found.config))}",
        "# start_config: /etc/xen/… # the guest's own file, where `config` is a copy of it that leaves disks out",
        *_nics(found.nics, segments),
        "# vm: { memory_mb: 2048, vcpus: 2 } # where the machine is not to be as the Xen guest was",
        "# tools: { none: … } # VMware Tools: packages, archive, repository, or the reason why it gets none",
        "# measurement: … # for a guest whose network is measured: docs/measurement.md",
    ]
    return "\n".join(lines) + "\n"


def _nics(nics: Sequence[SourceNic], segments: Mapping[int, Sequence[str]]) -> Iterator[str]:
    """Every NIC in its order; one that is not wholly known as a comment."""
    lines = [(nic, _open(nic, segments)) for nic in nics]
    names = ", ".join(sorted({name for names in segments.values() for name in names}))
    if any(left for _, left in lines):
        yield f"# The segments of params/site.yml: {names}. Take the # away from each line that you fill in."
    if all(left for _, left in lines):
        yield "nics: []" + (f" # {FILL_IN}: without these brackets, and with the lines below" if lines else "")
    else:
        yield "nics:"
    for nic, left in lines:
        at = f"NIC {nic.number}, {nic.bridge or 'the default bridge'}"
        if left or not nic.vlan:
            yield remark(f"  # {FILL_IN} {at}: {left}")
            yield f'  # - {{ mac: "{nic.mac or _HERE}", segment: {scalar(_likely(nic, segments))} }}'
        else:
            on = scalar(segments[nic.vlan][0])
            yield f'  - {{ mac: "{nic.mac}", segment: {on} }} {remark(f"# {at}, VLAN {nic.vlan} by {nic.by}")}'


def _open(nic: SourceNic, segments: Mapping[int, Sequence[str]]) -> str:
    """What a person has to find out about a NIC; empty where all is known."""
    fit = segments.get(nic.vlan, ()) if nic.vlan is not None else ()
    if nic.vlan == 0:
        left = f"untagged by {nic.by}; which VLAN the switch's port there is in, the Dom-0 cannot tell"
    elif nic.vlan is None:
        left = f"VLAN not known, {nic.by}"
    elif len(fit) != 1:
        left = f"VLAN {nic.vlan}, {' or '.join(fit) or 'of which params/site.yml has no segment'}"
    else:
        left = ""
    if nic.mac and not nic.drawn:
        return left
    wanted = f"write mac={nic.mac or 'its MAC'} into its Xen configuration first, for that gives it none"
    return "; ".join([wanted, left or f"segment {fit[0]}"])


def _likely(nic: SourceNic, segments: Mapping[int, Sequence[str]]) -> str:
    """The segment that a person will write for a NIC, as a rule."""
    if nic.vlan is None:
        return _HERE
    fit = segments.get(nic.vlan, [SegmentChoice(nic.vlan, ()).name] if nic.vlan else ())
    return fit[0] if len(fit) == 1 else _HERE


def signers(key: PublicKey) -> str:
    """params/allowed_signers."""
    return (
        '# Who may sign what, by OpenSSH keys (ssh-keygen(1), ALLOWED SIGNERS): namespaces="evidence" for who runs the steps,\n'
        '# namespaces="approval" for who approves a plan.\n'
        f'{key.principal} namespaces="evidence" {key.kind} {key.blob}\n'
        f"# {FILL_IN} the second person, with their own public key:\n"
        '# boss@example namespaces="approval" ssh-ed25519 AAAA…\n'
    )


def open_lines(path: Path, text: str) -> list[str]:
    """The lines of a file that a person has to fill in, each with its place."""
    lines = enumerate(text.splitlines(), 1)
    return [f"{path}:{n}: {line.partition('# ')[2].strip()}" for n, line in lines if FILL_IN in line]
