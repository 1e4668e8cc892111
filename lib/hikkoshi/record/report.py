"""The report: everything about one guest on one page that needs nothing but a browser, now and in ten years."""

import base64
import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from markupsafe import Markup

from hikkoshi import files, masking
from hikkoshi.check import Check
from hikkoshi.errors import BadInput
from hikkoshi.guest import preparation
from hikkoshi.journal import Journal
from hikkoshi.masking import Mask
from hikkoshi.network.outage import duration
from hikkoshi.params import Home
from hikkoshi.record import anatomy
from hikkoshi.record.story import Story, gather, open_points, rehearsed, sources, told, verdict
from hikkoshi.rehearsal.outcome import Outcome
from hikkoshi.status import READ_ONLY, runs
from hikkoshi.vsphere.readback import NicFound

TEMPLATE = "report.html.j2"
LONGEST_OUTPUT = 20_000  # characters of one cell's output; the whole of it is in the record


def path(home: Home, guest: str) -> Path:
    """Where a guest's report is."""
    return home.outputs / "reports" / f"{guest}.html"


def write(home: Home, guest: str) -> Path:
    """Write the report from what is known now, finished or not; returns its path. Reads everything, changes nothing else."""
    mask = Mask(masking.known(home))
    story = gather(home, guest)
    level, sentence = verdict(story)
    page = _template().render(
        lang="en",
        read_only=READ_ONLY,
        story=story,
        level=level,
        verdict=sentence,
        made=datetime.now(UTC),
        open_points=list(open_points(story)),
        rehearsed=rehearsed(story),
        pictures=list(_pictures(story)),
        nics=list(_nics(story)),
        measured=list(_measured(story)),
        facts=list(_facts(story)),
        diffs=preparation.diffs(story.plan.preparation, story.survey.guest) if story.plan and story.survey else [],
        steps=[(step, list(_outputs(step.record))) for step in story.steps],
        manifest=_manifest(story),
    )
    files.write(path(home, guest), mask.text(page))
    return path(home, guest)


def complete(home: Home, guest: str) -> Check:
    """Whether the report is there and tells of every result and run as they are now, by hash and name."""
    folder, report = home.folder(guest), path(home, guest)
    past = told(runs(Journal(folder / "journal.jsonl").entries())).values()
    wanted = {s.sha256: s.name for s in sources(folder)} | {r.id: r.id for r in past}
    found = "no report yet"
    if report.is_file():
        manifest = re.search(r'<meta name="hikkoshi-sources" content="([^"]*)">', report.read_text(encoding="utf-8"))
        named = set(manifest[1].split()) if manifest else set()
        missing = [name for key, name in wanted.items() if key not in named]
        surplus = named - set(wanted)
        found = (
            f"without {', '.join(missing)}"
            if missing
            else f"tells of {len(surplus)} that changed since"
            if surplus
            else ""
        )
    return Check(
        "the report tells of every result and run as they are now",
        not found,
        found or f"{len(wanted)} results and runs, {files.human(report.stat().st_size)}",
        "the hash of every result and the last run of every step",
        "run 90-report again",
        str(report),
    )


def checks(home: Home, guest: str) -> list[Check]:
    """What a report can be made from: the journal whole, every result readable. A bad result is told of in the report."""
    found, broken = "every line follows from the one before it", ""
    try:
        Journal(home.folder(guest) / "journal.jsonl").check()
    except BadInput as e:
        broken = "; ".join(p.where for p in e.problems)
    unreadable = gather(home, guest).unreadable
    return [
        Check("the journal is as it was written", not broken, broken or found, found, "take it from a backup"),
        Check(
            "every result can be read",
            not unreadable,
            "; ".join(unreadable) or ", ".join(s.name for s in sources(home.folder(guest))) or "none is there yet",
            "results as this version writes them",
            "run the step again that made it",
            later=True,
        ),
    ]


def table(home: Home, guest: str) -> list[dict[str, str]]:
    """The report's first page as rows for a reader."""
    story = gather(home, guest)
    _, sentence = verdict(story)
    return [
        {"what": "verdict", "found": sentence},
        {"what": "steps done", "found": ", ".join(story.done) or "none"},
        *({"what": f["what"], "found": f["found"]} for f in _facts(story)),
        *({"what": "open", "found": point} for point in open_points(story)),
    ]


def _manifest(story: Story) -> str:
    return " ".join([*(s.sha256 for s in story.sources), *story.run_ids])


def _facts(story: Story) -> Iterator[dict[str, str]]:
    """The hashes and sizes by which the guest's parts are known."""
    s, p, c = story.survey, story.plan, story.conversion
    if s:
        g = s.guest
        yield {
            "what": "guest",
            "found": f"{g.distribution} {g.release}, {g.arch}, {s.xen.vcpus} vCPU, {s.xen.memory_mb} MB",
        }
        yield {"what": "source disk", "found": f"{s.disk.path}, {s.disk.bytes:,} bytes"}
        yield {"what": "content digest of the source", "found": s.digest}
    if p:
        vm = f"{p.vm.name}: {p.vm.guest_id}, hardware version {p.vm.hardware_version}, {p.vm.controller}, {p.vm.nic_model}"
        yield {"what": "planned machine", "found": vm}
        yield {"what": "plan hash", "found": p.hash}
    if c:
        yield {"what": "VMDK", "found": f"{c.vmdk}, {c.vmdk_bytes:,} bytes, {c.ratio:.1f} times smaller than the disk"}
        yield {"what": "SHA-256 of the VMDK", "found": c.vmdk_sha256}
        yield {"what": "SHA-1 of the VMDK", "found": c.vmdk_sha1}
    if story.deployment:
        d = story.deployment
        yield {"what": "machine in vSphere", "found": f"{d.name} ({d.moid}) on {d.host}, {d.server}"}
        yield {"what": "received by vSphere", "found": d.manifest}
    if story.cutover:
        yield {"what": "in service since", "found": story.cutover.since}


def _pictures(story: Story) -> Iterator[dict[str, str]]:
    """The screens before and after, as data: URLs with their words."""
    r = story.rehearsal
    titles = ("before: the disk as it was under Xen", "after: the disk as it goes to vSphere")
    for title, outcome in zip(titles, (r.before, r.after) if r else (None, None), strict=True):
        picture = story.folder / outcome.picture if outcome else None
        yield {
            "title": title,
            "image": _data_url(picture.read_bytes()) if picture and picture.is_file() else "",
            "alt": f"Screen at the end of the boot, {title}. It reads: {outcome.words}" if outcome else "",
            "caption": _caption(outcome) if outcome else "Not rehearsed yet.",
            "screen": _text(story.folder / outcome.screen) if outcome else "",
        }


def _caption(outcome: Outcome) -> str:
    return (
        f"{outcome.ending}: {outcome.words} ({outcome.seconds:.0f} s, {outcome.controller}, {outcome.nic_model}, "
        f"{outcome.accelerator}; disk {'unchanged' if outcome.disk_unchanged else 'CHANGED'})"
    )


def _nics(story: Story) -> Iterator[dict[str, str]]:
    """Every planned NIC: where it has to be, what the rehearsed guest said, what vSphere has."""
    seen = {n.mac: n for n in story.rehearsal.after.nics} if story.rehearsal else {}
    machine = story.cutover or story.deployment
    there = {n.mac: n for n in machine.nics} if machine else {}
    for n in story.plan.vm.nics if story.plan else ():
        guest, card = seen.get(n.mac), there.get(n.mac)
        yield {
            "name": n.name,
            "mac": n.mac,
            "segment": n.segment,
            "vlan": str(n.vlan),
            "port_group": n.port_group,
            "driver": guest.driver if guest else "not seen" if story.rehearsal else "not done yet",
            "addresses": ", ".join(guest.addresses) if guest else "–",
            "deployed": _in_vsphere(card) if card else "not seen" if there else "not done yet",
        }


def _measured(story: Story) -> Iterator[dict[str, str]]:
    """What was measured of the network: wiring, outage, speed, cause."""
    if story.wiring:
        w = story.wiring.witness
        bad = [f"{n.name} {n.verdict}" for n in w.nics if n.verdict != "ok"]
        found = f"{len(w.nics) - len(bad)} of {len(w.nics)} NICs on their segments" + (
            f"; {', '.join(bad)}" if bad else ""
        )
        yield {"what": "wiring, seen from inside the guest", "found": found}
    if story.outage:
        told = [f"{s.name} {duration(o)} s" for s in story.outage.segments for o in s.outages]
        yield {"what": "outage during the cut-over", "found": ", ".join(told) or "no segment lost a probe"}
    for when, measured in story.throughput.measured.items() if story.throughput else ():
        yield {"what": f"throughput {when}", "found": measured.series.words()}
    if story.offloads:
        yield {"what": "cause named from counters", "found": story.offloads.diagnosis.cause}
        if story.offloads.before and story.offloads.after:
            yield {"what": "before the remedy", "found": story.offloads.before.series.words()}
            yield {"what": "after the remedy", "found": story.offloads.after.series.words()}


def _in_vsphere(nic: NicFound) -> str:
    return f"{nic.port_group}, VLAN {nic.vlan}, {'plugged in' if nic.start_connected else 'unplugged'}"


def _outputs(record: Path | None) -> Iterator[dict[str, Any]]:
    """What the cells of an executed notebook showed: introduction, texts, pictures as data: URLs."""
    if record is None:
        return
    nb = nbformat.read(record, as_version=4)
    for index, cell in enumerate(nb.cells):
        texts, images = [], []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                png = base64.b64decode(data["image/png"])
                alt = (
                    output.metadata.get("image/png", {}).get("alt")
                    or f"Picture shown by {anatomy.introduction(nb, index)}"
                )
                images.append({"url": _data_url(png), "alt": alt})
            elif output.output_type == "error":
                texts.append(f"{output.ename}: {output.evalue}")
            else:
                words = output.get("text") or data.get("text/plain", "")
                texts.append("" if words.startswith(("<IPython.", "<Figure ")) else words)
        if images or any(t.strip() for t in texts):
            yield {
                "title": anatomy.introduction(nb, index),
                "text": "\n".join(t.rstrip() for t in texts if t.strip())[:LONGEST_OUTPUT],
                "images": images,
            }


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _diff(unified: str) -> Markup:
    """A unified diff as HTML: signs stay, colours only repeat what they say."""
    kinds = {"+": "ins", "-": "del"}
    lines = []
    for line in unified.splitlines():
        kind, words = kinds.get(line[:1]), html.escape(line)
        lines.append(f"<{kind}>{words}</{kind}>" if kind and not line.startswith(("+++", "---")) else words)
    return Markup("\n".join(lines))


def _utc(time: datetime | str) -> str:
    time = datetime.fromisoformat(time) if isinstance(time, str) else time
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["diff"] = _diff
    environment.filters["utc"] = _utc
    return environment.get_template(TEMPLATE)
