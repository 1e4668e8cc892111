"""What runs on a Dom-0, as `xl` and `xm` list it, and what of that is a certain guest, or could be.

A guest is there under its name; under the name that a migration or a restart gives it for a while; or under any other, with
its UUID, one of its MACs or one of its disks. What the lists leave open is not known, and not known never counts as off.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import BaseModel, TypeAdapter

from hikkoshi.errors import Problem, ToolFailed
from hikkoshi.xen import sxp
from hikkoshi.xen.config import XenGuest
from hikkoshi.xen.disks import path as path_of
from hikkoshi.xen.reach.local import marks

_LINE = re.compile(  # name, ID, memory, VCPUs, state, time, and with -v the UUID and more
    r"(?P<name>.*?)\s+(?P<id>\d{1,9})\s+\d+\s+\d+\s+(?P<state>[a-z-]{4,10})\s+\d+(?:\.\d+)?"
    r"(?:\s+(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))?(?:\s.*)?",
    re.ASCII,
)
_OFF = re.compile(r".*\S\s+\d+\s+\d+\s+\d+(?:\.\d+)?\s*", re.ASCII)  # xm also lists guests that it knows and that are off
_HEADING = re.compile(r"^Name\s+ID\s+Mem.*State.*$", re.MULTILINE)
# what xl and xend call a guest during a migration, after one, beside its restart, and while it dies
_FORMS = r"(?:Zombie-|migrating-)?{}(?:--.*|-\d{{8}}T\d{{4}}Z|-dm)?"
_STORED = re.compile(r'^(/[^\s=]+) = "(.*)"$', re.MULTILINE)
_UUID = re.compile(r"/vm/([0-9a-f-]{36})")
_FRONTEND = re.compile(r"/local/domain/(?P<id>\d+)/device(?:/(?P<kind>vbd|tap|tap2)/(?P<device>\d+)/backend)?")
_BACKEND = re.compile(r"/local/domain/\d+/backend/(?P<kind>[a-z0-9]+)/(?P<id>\d+)/(?P<device>\d+)/(?P<key>[a-z-]+)")


@dataclass(frozen=True)
class Domain:
    """One domain that exists. `disks` are paths on the Dom-0; None where no list tells them."""

    id: int
    name: str = ""  # empty where it has none, as while it is taken down
    state: str = ""  # letters as listed: r b p s c d; empty where only the long list has it
    uuid: str = ""
    disks: frozenset[str] | None = None
    macs: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.name or 'a domain without a name'} (ID {self.id}, state {self.state or 'not listed'})"

    @property
    def ending(self) -> bool:
        """Whether it has shut down or dies: some seconds later it is gone, as a rule."""
        return bool({"s", "d"} & set(self.state))


@dataclass(frozen=True)
class Sighting:
    """A domain that is a certain guest, by `why`, or, where not `certain`, could be."""

    domain: Domain
    why: str
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.domain}: {self.why}"


@dataclass(frozen=True)
class Traits:
    """By what a guest is known on a Dom-0. Of its disks only those that it writes to: others may be read by many."""

    names: frozenset[str]
    uuid: str = ""
    disks: frozenset[str] = frozenset()
    macs: frozenset[str] = frozenset()

    @classmethod
    def of(cls, name: str, *configurations: XenGuest) -> "Traits":
        """Those of a guest with this name and these configurations."""
        return cls(
            frozenset({name, *(x.name for x in configurations)}),
            next((x.uuid for x in configurations if x.uuid), ""),
            frozenset(d.target for x in configurations for d in x.disks if not d.cdrom and d.access != "r"),
            frozenset(v.mac.lower() for x in configurations for v in x.vifs if v.mac),
        )

    def shares(self, other: "Traits") -> bool:
        """Whether the two have anything in common that no two guests have."""
        both = bool(self.uuid) and self.uuid == other.uuid
        return both or bool(self.names & other.names or self.macs & other.macs or self.disks & other.disks)

    def sighting(self, domain: Domain, marks: Callable[[str], frozenset[str]] = marks) -> Sighting | None:
        """Whether a domain is this guest, or could be; None where it is another one for sure. `marks`: of disks, there."""
        macs = self.macs & domain.macs
        disks = [own for own in sorted(self.disks) for other in domain.disks or () if marks(own) & marks(other)]
        forms = [_FORMS.format(re.escape(name)) for name in self.names]
        ending = "shut down, but not yet gone" if domain.ending else "it has the guest's name"
        reasons = (
            (domain.name in self.names, ending),
            (any(re.fullmatch(f, domain.name) for f in forms), "the guest's name while it migrates, restarts or dies"),
            (bool(self.uuid) and domain.uuid == self.uuid, "it has the guest's UUID"),
            (bool(macs), f"it has the guest's MAC {min(macs, default='')}"),
            (bool(disks), f"it has the guest's disk {disks[0] if disks else ''} in use"),
        )
        why = next((words for holds, words in reasons if holds), "")
        if why and domain.id:
            return Sighting(domain, why)
        other = domain.ending and self.uuid and domain.uuid  # the guest has always the same UUID, and this is not it
        if domain.id and domain.disks is None and not other:
            return Sighting(domain, "not known which guest it is: no list tells its disks", certain=False)
        return None

    def elsewhere(self, seen: Sighting) -> Sighting:
        """A sighting on another Dom-0 than the guest's own. There its name, or a path, may be another guest's."""
        domain = seen.domain
        if not seen.certain or self.macs & domain.macs or (self.uuid and domain.uuid == self.uuid):
            return seen
        return replace(
            seen, why=f"{seen.why}; whether it is the guest or another one, its UUID and MACs do not tell", certain=False
        )


def listed(text: str) -> list[Domain]:
    """The domains that exist, out of what `xl list` or `xm list` prints; `ValueError` for a list that is not whole."""
    heading = _HEADING.search(text)
    if heading is None:
        raise ValueError("no list of domains: " + (text.strip()[:80] or "nothing was printed"))
    if not text.endswith("\n"):
        raise ValueError("the list of domains is cut off in its last line")
    found = []
    for line in filter(str.strip, text[heading.end() :].split("\n")):
        if m := _LINE.fullmatch(line.rstrip()):
            name = "" if m["name"] == "(null)" else m["name"]
            found.append(Domain(int(m["id"]), name, m["state"], m["uuid"] or ""))
        elif not _OFF.fullmatch(line):
            raise ValueError(f"a line of the list of domains cannot be read: {line.strip()[:80]}")
    if not any(d.id == 0 for d in found):
        raise ValueError("the list of domains has no Domain-0 in it")
    return found


class _Disk(BaseModel):
    pdev_path: str | None = None


class _Nic(BaseModel):
    mac: str | None = None


class _Created(BaseModel):
    name: str | None = None
    uuid: str | None = None


class _Configured(BaseModel):
    c_info: _Created = _Created()
    disks: list[_Disk] = []
    nics: list[_Nic] = []


class _Detail(BaseModel):
    domid: int
    config: _Configured


_DETAILS = TypeAdapter(list[_Detail])


def detailed(text: str) -> dict[int, Domain]:
    """{ID: domain} with UUIDs, disks and MACs, out of `xl list -l` (JSON, earlier S-expressions) or `xm list -l`.

    `ValueError` for what is not whole. xl leaves out domains that it did not make.
    """
    if text.lstrip().startswith("["):
        return {d.domid: _from_json(d) for d in _DETAILS.validate_json(text)}
    trees = [t for t in sxp.parse(text) if t and t[0] == "domain"]
    if not trees:
        raise ValueError("no domain in the long list: " + (text.strip()[:80] or "nothing was printed"))
    found = map(from_sxp, trees)
    return {d.id: d for d in found if d.id >= 0}


def _from_json(d: _Detail) -> Domain:
    paths = frozenset(device_path(x.pdev_path) for x in d.config.disks if x.pdev_path)
    macs = frozenset(n.mac.lower() for n in d.config.nics if n.mac)
    told = paths if d.config.disks or d.config.nics or not d.domid else None  # while it is made, nothing is told yet
    return Domain(d.domid, d.config.c_info.name or "", "", (d.config.c_info.uuid or "").lower(), told, macs)


def from_sxp(tree: sxp.Tree) -> Domain:
    """One `(domain …)`; one without an ID is known to xend and off, and gets the ID -1."""
    written = sxp.value(tree, "domid")
    if not re.fullmatch(r"[0-9]{1,9}|-1|None|", written):
        raise ValueError(f"a domain with the ID {written[:40]!r}, which is no number")
    number = int(written) if written.isdigit() else -1
    inside = sxp.within(tree)
    disks = {sxp.value(t, key) for t in inside if not sxp.value(t, "dev").endswith(":cdrom") for key in ("uname", "physpath")}
    macs = {sxp.value(t, "mac").lower() for t in inside}
    paths = frozenset(map(device_path, disks - {""})) if any(t[:1] == ("device",) for t in inside) else None
    state = sxp.value(tree, "state")
    return Domain(number, sxp.value(tree, "name"), state, sxp.value(tree, "uuid").lower(), paths, frozenset(macs - {""}))


def stored(text: str) -> dict[int, Domain]:
    """{ID: domain} with what `xenstore-ls -f` tells of them, whoever made them; `ValueError` for what is cut off.

    Disks are known only where all of those that the domain's own side names are told.
    """
    if not text.endswith("\n"):
        raise ValueError("what xenstore-ls prints is cut off in its last line")
    names: dict[int, str] = {}
    uuids: dict[int, str] = {}
    devices: dict[tuple[int, str, str], dict[str, str]] = {}
    wanted: dict[int, set[tuple[int, str, str]]] = {}  # disks, by the domain's own side; a domain without any has the folder
    for path, value in _STORED.findall(text):
        if m := re.fullmatch(r"/local/domain/(\d{1,9})/(name|vm)", path):
            uuid = _UUID.match(value)
            if m[2] == "name":
                names[int(m[1])] = value
            elif uuid:
                uuids[int(m[1])] = uuid[1]
        elif m := _FRONTEND.fullmatch(path):
            own_side = wanted.setdefault(int(m["id"]), set())
            there = _BACKEND.fullmatch(f"{value}/key")  # a disk of a frontend `vbd` may be one of a backend `qdisk`
            kind = there["kind"] if there and there["id"] == m["id"] else m["kind"]
            own_side |= {(int(m["id"]), kind, m["device"])} if m["kind"] else set()
        elif m := _BACKEND.fullmatch(path):
            devices.setdefault((int(m["id"]), m["kind"], m["device"]), {})[m["key"]] = value
    found = {}
    for number, name in names.items():
        own = {kind + device: keys for (n, kind, device), keys in devices.items() if n == number}
        told = {d: _params(devices.get(d, {})) for d in wanted.get(number, ())}
        paths = {p for keys in own.values() if keys.get("device-type") != "cdrom" for p in _params(keys)}
        macs = {k["mac"].lower() for k in own.values() if k.get("mac")}
        cdroms = {d for d, keys in devices.items() if keys.get("device-type") == "cdrom"}
        whole = number in wanted and all(parts or d in cdroms for d, parts in told.items())
        disks = frozenset(map(device_path, paths)) if whole else None
        found[number] = Domain(number, name, "", uuids.get(number, ""), disks, frozenset(macs))
    return found


def _params(keys: Mapping[str, str]) -> set[str]:
    """What one disk is made of; blktap names its own device there, and the file beside it."""
    return {keys[key] for key in ("params", "tapdisk-params") if keys.get(key)}


def merged(short: Iterable[Domain], *more: dict[int, Domain]) -> list[Domain]:
    """Every domain that any list has, each with all that is told of it; of two lists the earlier one counts."""
    found = {d.id: d for d in short}
    for known in more:
        for number, d in known.items():
            one = found.get(number, d)
            found[number] = replace(
                one,
                name=one.name or d.name,
                uuid=one.uuid or d.uuid,
                disks=d.disks if one.disks is None else one.disks,
                macs=one.macs | d.macs,
            )
    return list(found.values())


def unreadable(e: ValueError | ToolFailed, dom0: str) -> ToolFailed:
    """The error for a list that does not tell what runs."""
    return ToolFailed(
        Problem(
            code="domains-unknown",
            what="what runs on the Dom-0 is not known",
            where=dom0,
            found=f"{e.problems[0].what}: {e.problems[0].found}" if isinstance(e, ToolFailed) else str(e).splitlines()[0],
            expected="whole lists of domains",
            remedy="type `xl list` there (older: `xm list`), and mend what keeps it from answering; or look there yourself",
        )
    )


def device_path(written: str) -> str:
    """The path in a device's name such as `tap:aio:/srv/a.img` or `phy:vg0/a`; what is no path stays as it is."""
    return path_of(re.sub(r"^(?:(?:phy|file|tap|tap2|tapdisk|aio|sync|ioemu|raw|qcow2?|vhd|qed):)+", "", written))
