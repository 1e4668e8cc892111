"""What an approved plan holds beside its decisions: to which vSphere the guest goes, and which addresses are believed.

These are parameters that the approver reads on the page, and that approved steps act on. They stand in plan.json, so that
another value is another plan; secrets do not, nor what they are called.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from hikkoshi import files
from hikkoshi.artefact import Frozen, unsaid
from hikkoshi.errors import BadInput, Problem
from hikkoshi.params.guest import Guest, MeasuredPath
from hikkoshi.params.home import Home
from hikkoshi.params.site import HANDED_OVER, Site


class Target(Frozen):
    """The vSphere to move to, the place in it, and how it is known to be the right one."""

    server: str
    user: str
    ca: str  # SHA-256 of the file with the authority's certificate; empty where the server's own is known
    certificate: str  # SHA-256 of the server's own, in lower case without colons; else empty
    datacenter: str
    cluster: str
    datastore: str
    folder: str
    handover: bool = unsaid(False)  # it is a contractor's, and has none of these
    lowered: dict[str, str] = unsaid({})  # {rule of the preflight that stops nothing there: the reason}

    def __str__(self) -> str:
        return HANDED_OVER if self.handover else self.server


class XenHost(Frozen):
    """The Xen host, and where the guest's configuration is on it."""

    name: str
    root: str
    config: str
    start_config: str = ""  # what a rollback starts the source from, where that is another file


class Addresses(Frozen):
    """Where commands run and packets go when the guest is measured, or changed; as `measurement` has them."""

    shell: str
    watch: str
    through: MeasuredPath
    direct: MeasuredPath
    segments: dict[str, MeasuredPath]


class Terms(Frozen):
    """All of them; `measurement` is None where the guest's parameters have none."""

    vsphere: Target
    dom0: XenHost
    dom0s: dict[str, str] = Field({})  # {name: root} of all that are asked whether the source is off; empty in older plans
    measurement: Addresses | None
    two_persons: bool  # whether whoever approves may not carry it out

    @classmethod
    def of(cls, home: Home, guest: Guest, site: Site) -> Self:
        """The terms as these parameters have them."""
        vc, wanted = site.vsphere, guest.measurement
        ca = home.path(vc.ca) if vc.ca else None
        return cls(
            vsphere=Target(
                server=vc.server,
                user=vc.user,
                ca=_digest(ca, str(vc.ca)) if ca else "",
                certificate=(vc.sha256 or "").replace(":", "").lower(),
                datacenter=vc.datacenter,
                cluster=vc.cluster,
                datastore=vc.datastore,
                folder="" if vc.handover else vc.folder,
                handover=vc.handover,
                lowered=dict(vc.lowered),
            ),
            dom0=XenHost(
                name=guest.dom0,
                root=str(site.dom0s[guest.dom0]),
                config=str(guest.config),
                start_config=str(guest.start_config or ""),
            ),
            dom0s={name: str(host) for name, host in site.dom0s.items()},
            measurement=Addresses(
                shell=wanted.shell, watch=wanted.watch, through=wanted.through, direct=wanted.direct, segments=wanted.segments
            )
            if wanted
            else None,
            two_persons=site.signing.two_persons,
        )

    @model_serializer(mode="wrap")
    def _written(self, rest: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As JSON has it: what an earlier version did not write is not written either, so that its plan keeps its hash."""
        tree: dict[str, Any] = rest(self)
        return tree if self.dom0s else {name: value for name, value in tree.items() if name != "dom0s"}

    def changed(self, now: "Terms") -> Iterator[str]:
        """What is another by now; a plan that does not name the site's Dom-0s cannot tell of them."""
        yield from differences(self, now if self.dom0s else now.model_copy(update={"dom0s": {}}))


def _digest(ca: Path, written: str) -> str:
    """SHA-256 of the authority's file; `BadInput` where it is there and cannot be read."""
    try:
        return files.sha256(ca) if ca.is_file() else f"no such file: {written}"
    except OSError as e:
        remedy = "let this user read it, or correct `vsphere.ca` in params/site.yml"
        what, expected = "the certificate authority's file cannot be read", "a certificate (PEM)"
        raise BadInput(
            Problem(
                code="ca-file-unreadable", what=what, where=str(ca), found=e.strerror or str(e), expected=expected, remedy=remedy
            )
        ) from None


def differences(planned: BaseModel, now: BaseModel) -> Iterator[str]:
    """What is not the same in two results of one kind: `vsphere.datastore was X when it was planned, is Y now`."""
    before, after = dict(_flat(planned.model_dump(mode="json"))), dict(_flat(now.model_dump(mode="json")))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            was, is_now = (found.get(name) or "nothing" for found in (before, after))
            yield f"{name} was {was} when it was planned, is {is_now} now"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, value) of everything that is written in a tree."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value, 1) if isinstance(value, list) else ()
    for key, part in pairs:
        yield from _flat(part, f"{name}.{key}" if name else str(key))
    if not isinstance(value, dict | list) and value is not None:
        yield name, str(value)
