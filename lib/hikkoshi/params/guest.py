"""params/guests/NAME.yml: one Xen Dom-U to move."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hikkoshi.artefact import Frozen
from hikkoshi.params.forms import NAME_WORDS, Address, Mac, Name, Whole, not_taken


class NicMap(Frozen):
    """On which segment a NIC of the guest has to be; the NIC is named by its MAC, never by its number."""

    mac: Mac
    segment: Name = Field(description=f"{NAME_WORDS}: the segment that it belongs to")


class VmWish(Frozen):
    """What the new machine should be where it is not simply what the Xen guest was."""

    name: str | None = Field(None, description="the virtual machine's name; default: the guest's")
    memory_mb: Whole | None = Field(None, description="memory in MB; default: as in Xen")
    vcpus: Whole | None = Field(None, ge=1, description="virtual CPUs; default: as in Xen")
    guest_id: str | None = Field(
        None, description="vSphere's name for the operating system, such as centos64Guest; default: by the guest's own files"
    )
    nic: Literal["vmxnet3", "e1000"] = Field("vmxnet3", description="kind of the NICs; e1000 merges nothing that it receives")
    controller: Literal["pvscsi", "lsisas1068", "lsilogic"] = Field("pvscsi", description="kind of the disks' controller")
    disks: Literal["thin", "thick", "eager"] = Field(
        "thin",
        description="what they take of the datastore: thin, as much as is written; thick, all of it at once; eager, all of it, "
        "filled with zeros first",
    )


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
    seconds: Whole = Field(10, ge=1, le=3600, description="seconds of one netperf run")
    link_mbps: Whole = Field(
        1000, ge=1, description="rate of the slowest link of both paths, in 10^6 bits/s: a faster run counts as not made"
    )


class ToolsWish(Frozen):
    """Where VMware Tools come from: one of four. Without any, the plan only says what to do in the running guest."""

    packages: tuple[Path, ...] = Field(
        (), description="deb or rpm files, with what they need, installed on the copy by the guest's own package manager"
    )
    archive: Path | None = Field(
        None, description="VMwareTools-*.tar.gz, whose installer runs unattended at the moved guest's first start"
    )
    repository: bool = Field(
        False, description="true: the moved guest installs them from its own repositories, by its own shell, in the cut-over"
    )
    none: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        None, description="the reason why this guest gets none; it goes on record"
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(map(bool, (self.packages, self.archive, self.repository, self.none))) != 1:
            raise ValueError("exactly one of packages, archive, repository and none")
        return self


class Guest(Frozen):
    """One Xen Dom-U to move."""

    name: Annotated[Name, AfterValidator(not_taken)] = Field(description=f"{NAME_WORDS}: the guest's name, and its file's")
    dom0: Name = Field(description=f"{NAME_WORDS}: the Dom-0 that it is on")
    vsphere: Name | None = Field(None, description="the one of the site's `vspheres` that it goes to; default: its `vsphere`")
    config: Path = Field(description="the guest's xm or xl configuration on its Dom-0, or its export (XVA)")
    start_config: Path | None = Field(
        None,
        description="the configuration that the source is started from, where `config` is a copy of it that leaves out "
        "disks, or code; default: config",
    )
    nics: tuple[NicMap, ...] = Field(description="every NIC with its segment")
    vm: VmWish = VmWish()
    measurement: Measurement | None = Field(None, description="how its network is measured; without it, it is not")
    tools: ToolsWish | None = Field(None, description="where VMware Tools come from")
    prepare: tuple[Path, ...] = Field(
        (), description="scripts of your own that change the copy, in the appliance, each once, in this order"
    )
    pause: bool = Field(
        False,
        description="true: 10 may pause a guest that runs on a Dom-0 over ssh, while it reads disks that are no LVM volumes; "
        "all who use the guest wait that long",
    )
    window: Whole | None = Field(
        None,
        ge=5,
        le=1440,
        description="minutes of the maintenance window, from the source's shutdown on: until then 70 shows that you can go back",
    )
    wave: Whole | None = Field(
        None,
        ge=1,
        le=9999,
        description="in which wave `hikkoshi fleet run` moves it; default: in one of its own, after all others",
    )
    first_start: tuple[Path, ...] = Field(
        (), description="scripts of your own that run once in the moved guest, when it starts first, in this order"
    )

    @property
    def own_config(self) -> Path:
        """What the source is started from on its Dom-0."""
        return self.start_config or self.config
