"""params/site.yml: the vSpheres, the segments, the Dom-0s, and who signs."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from hikkoshi.artefact import Frozen
from hikkoshi.params.forms import Fingerprint, Name, SecretRef, Whole
from hikkoshi.ssh import ADDRESS, Login

HANDED_OVER = "the contractor's vSphere"  # what one is called that nobody here can ask


class Segment(Frozen):
    """One VLAN with its port group in vSphere and its subnet."""

    vlan: Whole = Field(ge=0, le=4094, description="802.1Q VLAN id; 0 is untagged")
    port_group: str = Field(min_length=1, description="name of the port group in vSphere")
    port_groups: dict[Name, Annotated[str, StringConstraints(min_length=1)]] = Field(
        default_factory=dict, description="its name in those of `vspheres` where it has another"
    )
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
    """A Xen host as it is reached from here: `root: /` is this machine, `root: FOLDER` its files, `ssh` another machine."""

    root: Path | None = Field(
        None,
        description="/ where hikkoshi runs on the Dom-0 itself, else the folder where its disk is mounted or copied to; a Dom-0 "
        "over ssh has `ssh` in its place",
    )
    ssh: str | None = Field(
        None,
        pattern=ADDRESS,
        description="the Dom-0 over ssh: [user@]host[:port], the host as ssh knows it, an IPv6 address in brackets",
        examples=["xenhost", "root@xenhost.example.org:2222", "root@[2001:db8::5]"],
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "Dom0":
        if self.root is not None and self.ssh is not None:
            raise ValueError("give either root or ssh: a Dom-0 is reached in one way")
        if self.root is not None and re.search(r"^[^/]+:/|^[^/]*@[^/]*:|^ssh:", str(self.root)):
            raise ValueError("root is / or a folder here; for a Dom-0 over ssh write ssh: [user@]host[:port] in its place")
        if self.root == Path():
            raise ValueError("root is / or a folder here; it is not empty, nor is it this folder")
        if self.ssh is not None:
            Login.of(self.ssh)
        return self

    @property
    def kind(self) -> Literal["here", "folder", "ssh"]:
        """How it is reached."""
        if self.ssh is not None:
            return "ssh"
        return "folder" if self.root is not None and os.path.normpath(self.root).strip("/") else "here"

    @property
    def login(self) -> Login:
        """What ssh is told; of the kind `ssh` only."""
        return Login.of(self.ssh or "")

    def __str__(self) -> str:
        return f"ssh://{self.ssh}" if self.kind == "ssh" else str(self.root or "/")


_LOGIN = ("server", "user", "password", "datacenter", "cluster", "datastore")  # what a vSphere needs that we log in to
_PLACE = ("ca", "sha256", "folder")


class VSphere(Frozen):
    """The vCenter or ESXi host to move to. The certificate is checked against `ca`, or its SHA-256 against `sha256`.

    With `handover` it is a contractor's, and nobody logs in to it from here; as a text it is what it is called.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"handover": {"const": True}}, "required": ["handover"]},
            "then": {"properties": dict.fromkeys((*_LOGIN, *_PLACE), False)},
            "else": {"required": list(_LOGIN)},
        }
    )

    handover: bool = Field(
        False,
        description="true: a contractor runs the vSphere, and nobody logs in to it from here; then server, user, password, ca, "
        "sha256, datacenter, cluster, datastore and folder are left out",
    )
    contractor: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] = Field(
        "the contractor", description="with handover: who runs the vSphere, and their telephone, as at night"
    )
    server: str = Field("", pattern=r"^[^:/\s]+(:\d+)?$", description="host or host:port")
    user: str = Field("", description="the user that logs in; docs/security.md lists the privileges")
    password: SecretRef = Field("", description="where the password is: env:NAME, file:PATH (mode 0600) or keyring:SERVICE/USER")
    ca: Path | None = Field(None, description="file with the certificate authority's certificate (PEM)")
    sha256: Fingerprint | None = Field(None, description="SHA-256 fingerprint of the server's own certificate")
    datacenter: str = Field("", description="name of the datacenter")
    cluster: str = Field("", description="name of the cluster whose hosts run the machines")
    datastore: str = Field("", description="name of the datastore that gets the disks")
    folder: str = Field("vm", description="folder for virtual machines below the datacenter")
    lowered: dict[str, Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]] = Field(
        default_factory=dict,
        description="rules of docs/preflight.md that are told and stop nothing here, each with the reason, which goes on record",
    )
    hardware_version: Whole = Field(10, ge=4, le=22, description="virtual hardware version of new machines: 10 is ESXi 5.5")

    def __str__(self) -> str:
        return HANDED_OVER if self.handover else self.server

    @model_validator(mode="after")
    def _whose(self) -> "VSphere":
        given = self.model_fields_set
        if self.handover and (much := [key for key in (*_LOGIN, *_PLACE) if key in given]):
            raise ValueError(f"with `handover: true` nobody logs in, so leave out {', '.join(much)}")
        if self.handover:
            return self
        if lacking := [key for key in _LOGIN if key not in given]:
            raise ValueError(f"give {', '.join(lacking)}; or `handover: true`, where a contractor runs the vSphere")
        if "contractor" in given:
            raise ValueError("contractor is for `handover: true` alone: leave it out, or write that")
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
    valid_days: Whole = Field(7, ge=1, le=90, description="days after which an approval has to be given again")
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


class FleetLimits(Frozen):
    """How much `hikkoshi fleet run` does at once. Measurements of the network run one at a time, whatever stands here."""

    jobs: Whole = Field(2, ge=1, description="guests at once on this machine; on a cluster, as many as its workers have threads")
    per_dom0: Whole = Field(1, ge=1, description="guests at once that read their disks from one Dom-0")
    per_vsphere: Whole = Field(2, ge=1, description="guests at once with one vSphere, its datastore and the link to it")

    @property
    def slots(self) -> dict[str, int]:
        """{kind of what steps share: how many tasks may have one of it at once}."""
        return {"dom0": self.per_dom0, "vsphere": self.per_vsphere}


class Notify(Frozen):
    """Who is told when a fleet's guest fails, when it comes to a hold point, and when it ends."""

    command: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(
        min_length=1, description="program with its arguments; it gets one JSON document on stdin, and has half a minute"
    )


class Site(Frozen):
    """A vSphere, or several, and one or more Dom-0s."""

    name: str = Field(description="what the site is called in reports")
    lang: Literal["en", "ja"] = Field(
        "en", description="language of the runbooks' texts, of the page that is approved, of reports and of a contractor's sheet"
    )
    signing: Signing = Signing()
    vsphere: VSphere
    vspheres: dict[Name, VSphere] = Field(
        default_factory=dict, description="further ones, by the name by which a guest's file says that the guest goes there"
    )
    dom0s: dict[Name, Dom0] = Field(min_length=1, description="the Xen hosts, by names of your own")
    segments: dict[Name, Segment] = Field(min_length=1, description="the VLANs, by names of your own")
    fleet: FleetLimits = FleetLimits()
    notify: Notify | None = Field(None, description="who is told how `hikkoshi fleet run` goes")

    @model_validator(mode="after")
    def _known(self) -> "Site":
        for name, segment in self.segments.items():
            if unknown := [there for there in segment.port_groups if there not in self.vspheres]:
                raise ValueError(f"segments.{name}.port_groups names {', '.join(unknown)}, which vspheres does not have")
        return self

    def towards(self, name: str | None) -> "Site":
        """The site as it is for a guest that goes to this one of `vspheres`: that is its vSphere, with the port groups there."""
        if name is None:
            return self
        segments = {
            key: segment.model_copy(update={"port_group": segment.port_groups.get(name, segment.port_group)})
            for key, segment in self.segments.items()
        }
        return self.model_copy(update={"vsphere": self.vspheres[name], "segments": segments})

    def servers(self) -> list[VSphere]:
        """Each server that guests go to once, `vsphere` first, whatever places in it are named; and each contractor's."""
        found: dict[str, VSphere] = {}
        for vsphere in (self.vsphere, *self.vspheres.values()):
            found.setdefault(vsphere.server or vsphere.contractor, vsphere)
        return list(found.values())
