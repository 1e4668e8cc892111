"""What the user writes: params/site.yml and params/guests/NAME.yml, and where things are.

A misspelt key, a wrong type or a value out of range is an error that names file, line, what was found, what was expected
and what to do; all errors of a file are told at once.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hikkoshi import files
from hikkoshi.artefact import Frozen
from hikkoshi.errors import BadInput, Problem, nearest
from hikkoshi.params import folder, identity, yamlfile
from hikkoshi.params.folder import GuestFolder
from hikkoshi.secret import reference
from hikkoshi.secret.reference import Secret

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
NAME_WORDS = "a name that begins with a letter or digit, of letters, digits, dots, _ and -, at most 63"
TAKEN = ("register.tsv",)  # stands among the guests' folders in outputs/records
Name = Annotated[str, StringConstraints(pattern=NAME), Field(description=NAME_WORDS)]


def can_be_guest(name: str) -> bool:
    """Whether a guest may have this name: it becomes the name of folders and files."""
    return bool(re.fullmatch(NAME.strip("^$"), name, re.ASCII)) and name.lower() not in TAKEN


def _not_taken(name: str) -> str:
    if not can_be_guest(name):
        raise ValueError(f"another name: {name} is a file of the records")
    return name


Mac = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$"),
    Field(description="MAC address: six pairs of hexadecimal digits, with colons", examples=["00:16:3e:05:00:0a"]),
]
SecretRef = Annotated[str, StringConstraints(pattern=r"^(env|file|keyring):.+$")]
Address = Annotated[
    str,
    StringConstraints(pattern=r"^(here|netns:.+|ssh://.+)$"),
    Field(examples=["here", "ssh://root@gateway", "netns:outputs/lab/netns/gw"]),
]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$")]


class Segment(Frozen):
    """One VLAN with its port group in vSphere and its subnet."""

    vlan: int = Field(ge=0, le=4094, description="802.1Q VLAN id; 0 is untagged")
    port_group: str = Field(min_length=1, description="name of the port group in vSphere")
    subnet: ipaddress.IPv4Network | None = Field(None, description="the segment's IPv4 subnet")
    answers: ipaddress.IPv4Address | None = Field(
        None,
        description="a machine of the segment that always answers: one with a single NIC that does not move, and no router, "
        "since Linux answers on any NIC for all its addresses; for the wiring's active probe",
    )

    @model_validator(mode="after")
    def _answers_inside(self) -> "Segment":
        if self.answers and self.subnet and self.answers not in self.subnet:
            raise ValueError(f"answers has to be an address in the segment's subnet {self.subnet}")
        return self


class Dom0(Frozen):
    """A Xen host as it can be read from here."""

    root: Path = Field(
        Path("/"),
        description="folder under which the Dom-0's files are found: / on the Dom-0 itself, else where its disk is mounted",
    )


class VSphere(Frozen):
    """The vCenter or ESXi host to move to. The certificate is checked against `ca`, or its SHA-256 against `sha256`."""

    server: str = Field(pattern=r"^[^:/\s]+(:\d+)?$", description="host or host:port")
    user: str
    password: SecretRef = Field(description="where the password is: env:NAME, file:PATH (mode 0600) or keyring:SERVICE/USER")
    ca: Path | None = Field(None, description="file with the certificate authority's certificate (PEM)")
    sha256: Fingerprint | None = Field(None, description="SHA-256 fingerprint of the server's own certificate")
    datacenter: str
    cluster: str
    datastore: str
    folder: str = Field("vm", description="folder for virtual machines below the datacenter")
    hardware_version: int = Field(10, ge=4, le=22, description="virtual hardware version of new machines: 10 is ESXi 5.5")

    @model_validator(mode="after")
    def _one_way_to_trust(self) -> "VSphere":
        if (self.ca is None) == (self.sha256 is None):
            raise ValueError("give either ca or sha256: one way to know that the server is the right one")
        return self


class Signing(Frozen):
    """Who seals records and approves plans, by OpenSSH keys; and what an approval has to be."""

    key: Path = Field(
        Path("~/.ssh/id_ed25519"),
        description="private key of whoever runs the steps; the .pub beside it where an agent holds the private one",
    )
    allowed_signers: Path = Field(
        Path("params/allowed_signers"),
        description='OpenSSH\'s list of who may sign what: PRINCIPAL namespaces="evidence" (or "approval") KEYTYPE KEY',
    )
    revoked: Path | None = Field(None, description="keys that are good no more: public keys, or OpenSSH's KRL")
    two_persons: bool = Field(True, description="whoever carries a step out may not be the one who approved it")
    valid_days: int = Field(7, ge=1, le=90, description="days after which an approval has to be given again")
    time_stamp: str | None = Field(
        None,
        pattern=r"^https?://[^@]+$",
        description="http or https address, without user and password, of an RFC 3161 service that says when",
    )
    time_stamp_ca: Path | None = Field(None, description="certificate authority of that service (PEM)")

    @model_validator(mode="after")
    def _time_can_be_checked(self) -> "Signing":
        if (self.time_stamp is None) != (self.time_stamp_ca is None):
            raise ValueError("give time_stamp and time_stamp_ca together: a time that nobody can check proves nothing")
        return self


class Site(Frozen):
    """One vSphere and one or more Dom-0s."""

    name: str
    lang: Literal["en", "ja"] = "en"
    signing: Signing = Signing()
    vsphere: VSphere
    dom0s: dict[Name, Dom0] = Field(min_length=1)
    segments: dict[Name, Segment] = Field(min_length=1)


class NicMap(Frozen):
    """On which segment a NIC of the guest has to be; the NIC is named by its MAC, never by its number."""

    mac: Mac
    segment: Name


class VmWish(Frozen):
    """What the new machine should be where it is not simply what the Xen guest was."""

    name: str | None = Field(None, description="the virtual machine's name; default: the guest's")
    memory_mb: int | None = Field(None, description="memory in MB; default: as in Xen")
    vcpus: int | None = Field(None, ge=1, description="virtual CPUs; default: as in Xen")
    nic: Literal["vmxnet3", "e1000"] = "vmxnet3"
    controller: Literal["pvscsi", "lsisas1068", "lsilogic"] = "pvscsi"


class MeasuredPath(Frozen):
    """A path that traffic takes: from a client to a netserver."""

    client: Address = Field(description="where netperf runs: here, ssh://user@host or netns:PATH")
    server: ipaddress.IPv4Address = Field(description="address at which netserver listens")
    server_shell: Address | None = Field(None, description="the server itself, for its state before and after; default: not told")


class Measurement(Frozen):
    """How a guest's network is measured. The addresses of hosts are here, ssh://[user@]host[:port] or netns:PATH."""

    shell: Address = Field(description="the guest itself, as root: for its wiring, its counters and remedies")
    through: MeasuredPath = Field(description="the path in question: it crosses the guest")
    direct: MeasuredPath = Field(description="the path to compare it with: the same, without the guest between")
    segments: dict[Name, MeasuredPath] = Field(
        default_factory=dict, description="paths from other segments through the guest, each compared with the direct one too"
    )
    watch: Annotated[str, StringConstraints(pattern=r"^(here|netns:.+)$")] = Field(
        "here",
        description="from where every segment is pinged during the cut-over: this computer, or a namespace of it, with an "
        "address of its own in every segment; without one the ping may come in by another NIC of the guest",
    )
    seconds: int = Field(10, ge=1, le=3600, description="seconds of one netperf run")
    link_mbps: int = Field(
        1000, ge=1, description="rate of the slowest link of both paths, in 10^6 bits/s: a faster run counts as not made"
    )


class Guest(Frozen):
    """One Xen Dom-U to move."""

    name: Annotated[Name, AfterValidator(_not_taken)]
    dom0: Name
    config: Path = Field(description="the guest's xm or xl configuration on its Dom-0")
    start_config: Path | None = Field(
        None,
        description="the configuration that the source is started from, where `config` is a copy of it that leaves out "
        "disks, or code; default: config",
    )
    nics: tuple[NicMap, ...] = Field(description="every NIC with its segment")
    vm: VmWish = VmWish()
    measurement: Measurement | None = Field(None, description="how its network is measured; without it, it is not")

    @property
    def own_config(self) -> Path:
        """What the source is started from on its Dom-0."""
        return self.start_config or self.config


@dataclass(frozen=True)
class Home:
    """The folder that holds params/ and outputs/; relative paths in parameter files start here."""

    root: Path

    @classmethod
    def find(cls, named: str = "", start: Path | None = None) -> "Home":
        """The folder that is named here or by HIKKOSHI_HOME, exactly; else the nearest upwards with params/site.yml.

        `start` is where the way upwards begins: the current folder.
        """
        named = named or os.environ.get("HIKKOSHI_HOME", "")
        begin = Path(named or start or Path.cwd()).expanduser().absolute()
        for place in (begin,) if named else (begin, *begin.parents):
            if (place / "params" / "site.yml").is_file():
                return cls(place.resolve())
        raise BadInput(
            Problem(
                code="no-parameters",
                what="no parameters found",
                where=str(begin),
                found="no params/site.yml" if begin.is_dir() else "no such folder",
                expected="a folder with params/site.yml" + ("" if named else ", here or above"),
                remedy="change into the project's folder, or name it by HIKKOSHI_HOME or the parameter home",
            )
        )

    @property
    def outputs(self) -> Path:
        """Where runs, journals and reports are kept."""
        return self.root / "outputs"

    def identity(self) -> str:
        """UUID of this site folder, which every machine that it makes carries; see `hikkoshi.params.identity`."""
        return identity.of(self.outputs)

    def folder(self, guest: str) -> GuestFolder:
        """The guest's folder in outputs/; `BadInput` for what can be no guest's name, and might lead elsewhere."""
        if not can_be_guest(guest):
            raise BadInput(_no_name(guest, self.guest_names()))
        return folder.of(self.outputs, guest)

    def folders(self) -> list[GuestFolder]:
        """The folder of every guest that has one, with parameters or without, sorted."""
        return list(folder.all_in(self.outputs))

    @property
    def reports(self) -> Path:
        """The folder of all reports."""
        return self.outputs / "reports"

    def report(self, guest: str) -> Path:
        """The guest's report for a browser; its PDF is beside it."""
        return self.reports / f"{guest}.html"

    def records(self, guest: str = "") -> Path:
        """The folder of a guest's sealed records; of everybody's where none is named."""
        return self.outputs / "records" / guest

    def guest_file(self, guest: str) -> Path:
        """The guest's parameters, params/guests/NAME.yml."""
        return self.root / "params" / "guests" / f"{guest}.yml"

    @property
    def site_file(self) -> Path:
        """The site's parameters, params/site.yml."""
        return self.root / "params" / "site.yml"

    def path(self, written: Path) -> Path:
        """A path as written in a parameter file, made absolute."""
        return self.root / written.expanduser()

    def inputs(self, guest: str) -> dict[str, str]:
        """{name: SHA-256} of what a run of a guest is made from: plan and parameter files; of those that are there."""
        names = {
            GuestFolder.plan: self.folder(guest).plan,
            "params/site.yml": self.site_file,
            f"params/guests/{guest}.yml": self.guest_file(guest),
        }
        return {name: files.sha256(path) for name, path in names.items() if path.is_file()}

    def site(self) -> Site:
        """Read params/site.yml."""
        return yamlfile.read(Site, self.site_file)

    def guest_names(self) -> list[str]:
        """Names of all guests that have a parameter file, sorted. A file whose name can be no guest's is left out."""
        return [name for name in self._stems() if can_be_guest(name)]

    def misnamed(self) -> list[str]:
        """Parameter files that no guest can have, for their names; without `.yml`."""
        return [name for name in self._stems() if not can_be_guest(name)]

    def _stems(self) -> list[str]:
        return sorted(p.stem for p in (self.root / "params" / "guests").glob("*.yml"))

    def guest(self, name: str) -> Guest:
        """Read params/guests/NAME.yml; the name inside has to be the same, and its Dom-0 and segments the site's."""
        if not can_be_guest(name):
            raise BadInput(_no_name(name, self.guest_names()))
        path = self.guest_file(name)
        if not path.is_file():
            raise BadInput(
                Problem(
                    code="guest-unknown",
                    what="no such guest",
                    where=str(path),
                    found=f"{name!r}",
                    expected="one of: " + (", ".join(self.guest_names()) or "(no guest has a file yet)"),
                    remedy=nearest(name, self.guest_names()) or f"write {path.name}, or correct the name",
                )
            )
        guest = yamlfile.read(Guest, path)
        _cross_check(guest, self.site(), path)
        return guest

    def parameters(self, guest: str) -> tuple[Guest, Site]:
        """A guest's parameters and the site's; `BadInput` lists all that is wrong with either file."""
        problems: list[Problem] = []
        try:
            site = self.site()
        except BadInput as e:
            problems += e.problems
        try:
            found = self.guest(guest)
        except BadInput as e:
            problems += [p for p in e.problems if p not in problems]
        if problems:
            raise BadInput(*problems)
        return found, site

    def secret(self, written: str) -> Secret:
        """The secret that a reference points to; `BadInput` says what is wrong with the reference or the place."""
        return Secret(written, reference.value(written, self.path))

    def secrets(self) -> list[Secret]:
        """Every secret that the site's parameters point to, as far as it can be read now."""
        found = []
        for written in self._references():
            try:
                found.append(self.secret(written))
            except BadInput:
                continue  # what cannot be read here cannot be read, and told, by the kernel
        return found

    def unread_secrets(self) -> list[str]:
        """References of the site whose secret cannot be read now: nothing can be searched for what they point to."""
        return sorted(set(self._references()) - {s.name for s in self.secrets()})

    def _references(self) -> list[str]:
        return list(reference.within(self.site().model_dump(mode="json")))


def _no_name(name: str, known: Sequence[str]) -> Problem:
    return Problem(
        code="guest-name-malformed",
        what="this can be no guest's name",
        found=repr(name),
        expected=f"{NAME_WORDS}, and not {', '.join(TAKEN)}",
        remedy=nearest(name, known) or "name the guest as its file params/guests/NAME.yml, without folders",
    )


def _cross_check(guest: Guest, site: Site, path: Path) -> None:
    problems = []
    if guest.name != path.stem:
        problems.append(
            Problem(
                code="guest-name-differs",
                what="the name inside differs from the file's",
                where=str(path),
                found=guest.name,
                expected=path.stem,
                remedy="make the two the same",
            )
        )
    if guest.dom0 not in site.dom0s:
        problems.append(
            Problem(
                code="dom0-unknown",
                what="unknown Dom-0",
                where=str(path),
                found=guest.dom0,
                expected="one of: " + ", ".join(site.dom0s),
                remedy="add it to params/site.yml",
            )
        )
    named = [(f"nics.{n} ({nic.mac})", nic.segment) for n, nic in enumerate(guest.nics)]
    named += [("measurement.segments", name) for name in (guest.measurement.segments if guest.measurement else ())]
    for key, name in named:
        if name not in site.segments:
            problems.append(
                Problem(
                    code="segment-unknown",
                    what="unknown segment",
                    where=f"{path}: {key}",
                    found=name,
                    expected="one of: " + ", ".join(site.segments),
                    remedy=nearest(name, list(site.segments)) or "add it to params/site.yml",
                )
            )
    if problems:
        raise BadInput(*problems)
