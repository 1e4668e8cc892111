"""The appendix of a report, for whoever checks it: NICs, hashes, versions, and what the runbooks showed."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

from hikkoshi.record import anatomy
from hikkoshi.record.engine import environment
from hikkoshi.report import pictures, standing
from hikkoshi.report.language import utc
from hikkoshi.report.openpoints import seen, speed
from hikkoshi.report.pictures import Picture, out_for
from hikkoshi.report.story import Story
from hikkoshi.translation import Gettext
from hikkoshi.vsphere.readback import NicFound

LONGEST_OUTPUT = 20_000  # characters of one cell's output; the whole of it is in the record
PAGE, WIDEST = 118, 150  # characters of a line that a printed page has room for: in letters of 7 pt, and of 5.6 pt


@dataclass(frozen=True)
class Fact:
    """One thing that is known, by its name."""

    what: str
    found: str


@dataclass(frozen=True)
class NicRow:
    """A planned NIC: where it has to be, what the rehearsed guest said, what vSphere has, what was seen from inside."""

    name: str
    mac: str
    segment: str
    vlan: str
    port_group: str
    driver: str
    addresses: str
    deployed: str
    seen: str


@dataclass(frozen=True)
class Output:
    """What one cell of a runbook showed."""

    title: str
    text: str
    images: tuple[Picture, ...]
    wide: bool  # a table that fits on a printed page in small letters only: broken lines would tear it apart


def facts(story: Story, _: Gettext = str) -> Iterator[Fact]:
    """The hashes and sizes by which the guest's parts are known."""
    s, p, c, d = story.survey, story.plan, story.conversion, story.deployment
    if s:
        g = s.guest
        size = _("{vcpus} vCPU, {memory} MB").format(vcpus=s.xen.vcpus, memory=s.xen.memory_mb)
        yield Fact(_("guest"), f"{g.distribution} {g.release}, {g.arch}, {size}")
        yield Fact(_("source disk"), _("{path}, {count} bytes").format(path=s.disk.path, count=f"{s.disk.bytes:,}"))
        yield Fact(_("content digest of the source, as surveyed last"), s.digest)
        for source, disk in zip(s.origin.disks, s.disks, strict=False):  # of one alone the line above tells
            yield Fact(_("content digest of {disk}").format(disk=source), disk.digest)
    if p:
        vm = p.vm
        version = _("hardware version {version}").format(version=vm.hardware_version)
        yield Fact(_("planned machine"), f"{vm.name}: {vm.guest_id}, {version}, {vm.controller}, {vm.nic_model}")
        yield Fact(_("plan hash"), p.hash)
    if story.prepared and story.prepared.source_digest:
        yield Fact(_("content digest of the source that was copied"), story.prepared.source_digest)
    if c:
        for made in c.each:
            times = f"{made.virtual_bytes / made.vmdk_bytes:.1f}"
            size = _("{path}, {count} bytes, {times} times smaller than the disk")
            yield Fact("VMDK", size.format(path=made.vmdk, count=f"{made.vmdk_bytes:,}", times=times))
            yield Fact(_("SHA-256 of the VMDK"), made.vmdk_sha256)
            yield Fact(_("SHA-1 of the VMDK"), made.vmdk_sha1)
        if c.disks:
            yield Fact(_("SHA-256 of all VMDKs together, of what sha256sum prints"), c.vmdk_sha256)
    if d:
        on = _("{name} ({id}) on {host}, {server}").format(name=d.name, id=d.moid, host=d.host, server=d.server)
        yield Fact(_("machine in vSphere"), on)
        yield Fact(_("received by vSphere (its own words)"), d.manifest)
    if h := story.handed:
        size = _("{path}, {count} bytes")
        yield Fact(_("handed over"), f"{h.time:%Y-%m-%d %H:%M} UTC, {h.folder}")
        yield Fact(_("SHA-256 of the OVF descriptor"), h.descriptor_sha256)
        for file in h.files:
            yield Fact(size.format(path=file.name, count=f"{file.bytes:,}"), f"SHA-256 {file.sha256}")
    if story.cutover:
        yield Fact(_("in service since"), utc(story.cutover.since))


def nics(story: Story, _: Gettext = str) -> Iterator[NicRow]:
    """Every planned NIC."""
    rehearsed = {n.mac: n for n in story.rehearsal.after.nics} if story.rehearsal else {}
    machine = story.cutover or story.deployment
    there = {n.mac: n for n in machine.nics} if machine else {}
    inside = {n.name: n.verdict for n in story.wiring.witness.nics} if story.wiring else {}
    missing = {True: _("not seen"), False: _("not done yet")}
    for n in story.plan.vm.nics if story.plan else ():
        guest, card = rehearsed.get(n.mac), there.get(n.mac)
        yield NicRow(
            name=n.name,
            mac=n.mac,
            segment=n.segment,
            vlan=str(n.vlan),
            port_group=n.port_group,
            driver=guest.driver if guest else missing[story.rehearsal is not None],
            addresses=", ".join(guest.addresses) if guest else "–",
            deployed=_in_vsphere(card, _)
            if card
            else missing[bool(there) or (story.cutover is not None and standing.theirs(story))],
            seen=seen(inside[n.name], _) if n.name in inside else _("not looked at"),
        )


def measurements(story: Story, _: Gettext = str) -> Iterator[Fact]:
    """What was measured of the network: wiring, outage, speed, cause."""
    if story.wiring:
        w = story.wiring.witness
        bad = "".join(f"; {n.name} {seen(n.verdict, _)}" for n in w.nics if n.verdict != "ok")
        found = _("{good} of {all} NICs on their segments").format(good=sum(n.verdict == "ok" for n in w.nics), all=len(w.nics))
        yield Fact(_("wiring, seen from inside the guest"), found + bad)
    if story.outage:
        out = [
            f"{s.name} {out_for(story.outage, s.name, _)}"
            for s in story.outage.segments
            if s.outages or s.at_the_end != "answers"
        ]
        none = _("not known") if standing.gaps(story) else _("no segment was out")
        yield Fact(_("outage during the cut-over"), ", ".join(out) or none)
    whens = {"before the move": _("throughput before the move"), "since the move": _("throughput since the move")}
    for when, found_then in story.throughput.measured.items() if story.throughput else ():
        yield Fact(whens[when], speed(found_then.series, _))
    if story.offloads:
        yield Fact(_("cause named from counters"), story.offloads.diagnosis.cause)
        for what, measured in ((_("before the remedy"), story.offloads.before), (_("after the remedy"), story.offloads.after)):
            if measured and standing.remedied(story):
                yield Fact(what, speed(measured.series, _))


def versions(story: Story, _: Gettext = str) -> Iterator[Fact]:
    """What this report and the results were made with; every package is named in each sealed record."""
    now = environment.versions()
    yield from (Fact(what, str(now[name])) for what, name in (("Hikkoshi", "hikkoshi"), (_("commit"), "commit")))
    yield from (Fact(what, str(now[name])) for what, name in (("Python", "python"), (_("system"), "system")))
    yield from (Fact(name, version) for name, version in now["tools"].items())
    if story.conversion:
        yield Fact(_("qemu-img that converted"), story.conversion.qemu_img)
    if story.rehearsal:
        yield Fact(_("accelerator of the rehearsal"), story.rehearsal.after.accelerator)


def outputs(record: Path | None) -> Iterator[Output]:
    """What the cells of an executed notebook showed: introduction, texts, pictures."""
    if record is None:
        return
    nb = nbformat.read(record, as_version=4)
    for index, cell in enumerate(nb.cells):
        texts, images, title = [], [], anatomy.introduction(nb, index)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                alt = output.metadata.get("image/png", {}).get("alt") or f"Picture shown by {title}"
                images.append(Picture(title, pictures.png(base64.b64decode(data["image/png"])), alt, ""))
            elif output.output_type == "error":
                texts.append(f"{output.ename}: {output.evalue}")
            else:
                words = output.get("text") or data.get("text/plain", "")
                texts.append("" if words.startswith(("<IPython.", "<Figure ")) else words)
        shown = "\n".join(t.rstrip() for t in texts if t.strip())
        if images or shown:
            longest = max(map(len, shown.splitlines()), default=0)
            tabular = "show.table(" in cell.source or "show.exhibits(" in cell.source
            yield Output(title, shown[:LONGEST_OUTPUT], tuple(images), tabular and PAGE < longest <= WIDEST)


def _in_vsphere(nic: NicFound, _: Gettext) -> str:
    plugged = _("plugged in") if nic.start_connected else _("unplugged")
    return f"{nic.port_group}, VLAN {nic.vlan}, {plugged}"
