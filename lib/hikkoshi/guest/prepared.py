"""The prepared copies of a guest's disks: made, proved and recognised again. The source is only ever read."""

import base64
import contextlib
import shutil
import time
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import Field

from hikkoshi import files, tool
from hikkoshi.artefact import Artefact
from hikkoshi.check import Check
from hikkoshi.disk import digest, origin
from hikkoshi.disk.conversion import Conversion
from hikkoshi.disk.origin import Identity, Origin, Writes
from hikkoshi.errors import BadInput, Problem, Refused, StepFailed, ToolFailed
from hikkoshi.guest import appliance, hardware, inspection, nics, reading, traces
from hikkoshi.guest.additions import addition
from hikkoshi.guest.additions.addition import Ran
from hikkoshi.guest.edits import KEPT
from hikkoshi.guest.facts import GuestFacts, Kernel
from hikkoshi.guest.interfaces import ifcfg, pinning
from hikkoshi.guest.preparation import Preparation, xen_lines
from hikkoshi.guest.traces import Sign
from hikkoshi.params.folder import GuestFolder
from hikkoshi.progress import Progress, shares, silent
from hikkoshi.run.step import PLAN, PREPARE, SURVEY, Step
from hikkoshi.secret import temporary

SPARE = 64 << 20  # bytes that must stay free beside the copy


class Prepared(Artefact):
    """prepared.json: what was done, and what the copy was found to be when it was read again afterwards."""

    filename: ClassVar[str] = GuestFolder.prepared
    made_by: ClassVar[Step] = PREPARE
    preparation: str  # hash of the preparation that was carried out
    source: Identity
    source_digest: str = ""  # content digest of what was copied, of several disks all together; earlier versions did not keep it
    source_writes: Writes | None = None  # counted before it was copied; of a device only
    disk: Identity  # the copy; of several disks all copies together
    facts: GuestFacts
    kept: dict[str, str]  # {path: SHA-256 of what is kept beside it}
    initrd_modules_before: tuple[str, ...]
    initrd_modules_after: tuple[str, ...]
    accelerator: str
    seconds: float
    ran: tuple[Ran, ...] = ()
    brought: dict[str, str] = Field(default_factory=dict)  # {path in the guest: SHA-256} of what waits there for the first start


def checks(source: Origin, folder: GuestFolder) -> list[Check]:
    """What a preparation needs before it can begin."""
    there = traces.identity(source)
    title, expected = "libguestfs can be reached", "a Python that can import guestfs"
    try:
        worker = Check(code="libguestfs-there", title=title, ok=True, found=tool.guestfs_python(), expected=expected)
    except ToolFailed as e:
        worker = Check(
            code="libguestfs-there",
            title=title,
            ok=False,
            found=e.problems[0].found,
            expected=expected,
            remedy=e.problems[0].remedy,
        )
    found = [
        Check(
            code="source-readable",
            title="the source disk can be read",
            ok=there is not None,
            found=files.human(there.bytes) if there else "not there, or not readable",
            expected="the disk image that the plan names",
            remedy=f"check that the Dom-0's disk is mounted and readable here; was the image moved? Then run {SURVEY} again",
            where=str(source),
        ),
        worker,
    ]
    return [*found, _room(source, folder.disks)] if there else found


class PreparationPlan(Protocol):
    """What is known of a plan here."""

    @property
    def preparation(self) -> Preparation:
        """What is done to the copy."""

    @property
    def source_digest(self) -> str:
        """Content digest of the source that was surveyed."""


def complete(folder: GuestFolder, plan: PreparationPlan | None, source: Origin) -> Check:
    """Is the prepared copy the finished result of exactly this preparation of exactly this source, as it still is?

    A guest that has been started under Xen since has written to the source, and would lose that: then it is not, and
    survey, plan and approval are of another disk.
    """
    copies, sign = copies_of(folder, source), _incomplete(folder, plan, source) if plan else Sign("stale", "there is no plan")
    off = "keep the guest shut down under Xen, and "
    remedies = {
        "silent": "have the Dom-0 answer, or its files be here, then run this again: `hikkoshi doctor` asks those over ssh",
        "written": off + anew(folder.name),
        "stale": f"{off}run {PREPARE} and all that follows again",
    }
    return Check(
        code="copy-complete",
        title="the prepared copy is complete",
        ok=sign is None,
        found=sign.found
        if sign
        else f"{', '.join(c.name for c in copies)}, {files.human(Origin.several(copies).occupied())} of "
        f"{files.human(sum(c.stat().st_size for c in copies))} in use"
        + (f"; {traces.sampled(source)}" if traces.device(source) else ""),
        expected="a copy of the source with this preparation carried out",
        remedy=remedies[sign.code if sign else "stale"],
        where=str(copies[0]),
    )


def copies_of(folder: GuestFolder, source: Origin) -> tuple[Path, ...]:
    """Where the prepared copy of each disk is, or will be."""
    return folder.copies(len(source.disks))


def anew(guest: str) -> str:
    """What to do where the source is another than the one that was surveyed: bytes that nobody looked at are not moved."""
    command = f"hikkoshi run {guest} --from {SURVEY.number} --apply"
    return f"begin again with {SURVEY} and {PLAN} ({command}); then the new plan is approved"


def _incomplete(folder: GuestFolder, plan: PreparationPlan, source: Origin) -> Sign | None:
    """What is missing; None where nothing is."""
    copies = copies_of(folder, source)
    if not all(copy.is_file() for copy in copies):
        return Sign("stale", "there is no copy" if len(copies) == 1 else "not every disk has a copy")
    try:
        known = Prepared.find(folder)
    except BadInput:
        return Sign("stale", f"{Prepared.filename} cannot be read")
    if known is None:
        return Sign("stale", f"a copy without {Prepared.filename}")
    other, unsaid = "the copy is of another source than survey and plan are", "the copy does not say of which source it is"
    written = traces.identity(source) != known.source or source.written_since(known.source_writes)
    signs = (
        (Sign("stale", "the copy was made by another plan"), known.preparation != plan.preparation.hash),
        (Sign("stale", f"{unsaid}: an earlier version made it"), not known.source_digest),
        (Sign("stale", other), known.source_digest != plan.source_digest),
        (Sign("written", traces.WRITTEN), written),
        (Sign("stale", "the copy was changed since, or is another file"), traces.identity(Origin.several(copies)) != known.disk),
    )
    return next((sign for sign, bad in signs if bad), None) or traces.elsewhere(source)


def same(vmdk: Conversion, made: Prepared) -> bool:
    """Whether a VMDK was made of this very copy; of one with the same content that was written anew, 40-convert has to say so.

    Samples alone do not tell: two disks may differ between them.
    """
    return vmdk.copy_identity == made.disk


def start(
    source: Origin,
    folder: GuestFolder,
    preparation: Preparation,
    surveyed: str,
    progress: Progress = silent,
    accelerator: str = "tcg",
    names: tuple[tuple[str, ...], ...] = (),
    root: Path = Path(),
) -> Prepared:
    """Copy every disk of the source, carry the preparation out on the copies, read it again, and only then give them their names.

    `Refused` where what was copied has another content digest than the one that was `surveyed`; then nothing is kept.
    Killed at any point, it leaves at most files NAME.img.part, which the next start discards. `names` are those of each whole
    disk in the guest; at `root` begin the paths of what is brought into it.
    """
    began = time.monotonic()
    before, writes = origin.identified(source), source.writes()
    copies, disks = copies_of(folder, source), source.disks
    with contextlib.ExitStack() as stack:
        unfinished = [stack.enter_context(files.part(copy)) for copy in copies]
        added = addition.job(root, preparation.additions, stack.enter_context(temporary.folder("brought")))
        if not (room := _room(source, folder.disks)):
            raise Refused(room.problem())
        told = shares(lambda done, total, text: progress(20 * done / max(total, 1), 100, text), [d.occupied() for d in disks])
        copied = digest.together([origin.copy(*pair) for pair in zip(disks, unfinished, told, strict=True)])
        if copied != surveyed:
            raise Refused(
                Problem(
                    code="not-the-surveyed-source",
                    what="the source is not the one that was surveyed",
                    where=str(source),
                    found=f"content digest {copied}",
                    expected=f"{surveyed or 'a survey'}, of survey and plan",
                    remedy=f"nothing was kept; {anew(folder.name)}",
                )
            )
        job = {
            "kept": KEPT,
            "names": names[0] if names else (),
            "further": names[1:],
            "initrd": preparation.initrd if preparation.rebuilds else "",
            "boot_loader": preparation.boot_loader,
            "commands": preparation.commands,
            "additions": added,
            "edits": [
                {
                    "path": e.path,
                    "before_sha256": e.before_sha256,
                    "after": None if e.content is None else base64.b64encode(e.content).decode(),
                }
                for e in preparation.edits
            ],
        }

        def shift(done: float, total: float, text: str) -> None:
            progress(20 + 80 * done / total, 100, text)

        made = Origin.several(unfinished)
        with appliance.work("apply", made, job, accelerator, shift) as (raw, fetched):
            facts = reading.facts(raw, fetched, inspection.boot_loader(unfinished[0]), str(unfinished[0]))
            own = (addition.STARTING, addition.WAITING)
            brought = {p: files.sha256(fetched / f) for p, f in raw["files"].items() if p.startswith(own)}
        result = Prepared(
            preparation=preparation.hash,
            source=before,
            source_digest=copied,
            source_writes=writes,
            disk=Identity.of(made),
            facts=facts,
            kept=raw["kept"],
            initrd_modules_before=preparation.initrd_modules_before,
            initrd_modules_after=_kernel(facts, preparation).initrd_modules,
            accelerator=accelerator,
            seconds=round(time.monotonic() - began, 1),
            ran=tuple(Ran(**told) for told in raw["ran"]),
            brought=brought,
        )
        bad = [c for c in _proofs(result, preparation) if not c]
        if bad:
            raise StepFailed(*(c.problem() for c in bad))
        result.save(folder)
    progress(100, 100, "prepared")
    return result


def verify(folder: GuestFolder, preparation: Preparation, disks: int = 1) -> list[Check]:
    """Every promise of the preparation, by what was read off the copy afterwards, and that the copy is still the same."""
    copies, known = folder.copies(disks), Prepared.find(folder)
    if known is None or not all(copy.is_file() for copy in copies):
        return [
            Check(
                code="copy-there",
                title="the prepared copy is there",
                ok=False,
                found="not yet",
                expected=", ".join(map(str, copies)),
                remedy=f"run {PREPARE} with mode apply",
                later=True,
            )
        ]
    same = Identity.of(Origin.several(copies)) == known.disk
    return [
        Check(
            code="copy-unchanged",
            title="the copy is as it was when it was proved",
            ok=same,
            found="size, time and samples agree" if same else "it was changed since, or is another file",
            expected=f"nobody writes to it after {PREPARE}",
            remedy=f"run {PREPARE} again",
            where=str(copies[0]),
        ),
        *_proofs(known, preparation),
    ]


def _proofs(known: Prepared, preparation: Preparation) -> list[Check]:
    facts, p = known.facts, preparation
    kernel = _kernel(facts, p)
    encodings = {path: "latin-1" if path in facts.latin1 else "utf-8" for path in facts.texts}
    now = {path: content.encode(encodings[path]) for path, content in facts.texts.items()}
    differ = [e.path for e in p.edits if now.get(e.path) != e.content]
    lost = [e.path for e in p.edits if e.before_sha256 and known.kept.get(e.path) != e.before_sha256]
    lost += [p.initrd] if p.rebuilds and p.initrd not in known.kept else []
    missing = [m for m in p.must_be_in_initrd if m not in kernel.initrd_modules]
    undriven = [
        d.pci
        for d in (hardware.CONTROLLERS[p.controller], hardware.NICS[p.nic_model])
        if not hardware.module(d, kernel.claims, kernel.builtin)
    ]
    xen = [line for line in xen_lines(facts.texts, 1 + len(facts.further_disks)) if line not in p.leftovers]
    tied = {i.name: i.mac for i in facts.interfaces if ifcfg.ties(i)} | pinning.holding(facts.texts, p.nic_module)
    used = nics.used(facts) | set(tied)  # a NIC that nothing in the guest uses may have any name
    wrong = [f"{name}: {tied.get(name) or 'none'}" for name, mac in p.macs.items() if name in used and tied.get(name) != mac]
    booted = next((k for k in facts.kernels if k.index == facts.default_kernel), None)
    again = f"run {SURVEY}, {PLAN} and {PREPARE} again; if it stays so, report it with prepared.json"
    check = partial(Check, remedy=again)
    return [
        check(
            code="boot-menu-kernel",
            title="the boot menu starts the ordinary kernel",
            ok=booted is not None and booted.version == p.kernel and not booted.xen_only,
            found=f"entry {facts.default_kernel}, {booted.version if booted else 'which starts no kernel that is there'}",
            expected=f"entry {p.default}, {p.kernel}",
        ),
        check(
            code="initrd-driver",
            title="the initrd holds the disk's driver",
            ok=not missing,
            found=", ".join(kernel.initrd_modules) or "no modules",
            expected=", ".join(p.must_be_in_initrd) or "nothing: it is built into the kernel",
        ),
        check(
            code="modules-claim-hardware",
            title="the kernel's modules claim the planned hardware",
            ok=not undriven,
            found=f"nothing claims {', '.join(undriven)}" if undriven else f"{p.controller_module}, {p.nic_module}",
            expected=f"{p.controller} and {p.nic_model}",
        ),
        check(
            code="files-as-planned",
            title="every file is as planned",
            ok=not differ,
            found=f"different: {', '.join(differ)}" if differ else f"{len(p.edits)} files",
            expected="byte for byte",
        ),
        check(
            code="nothing-of-xen",
            title="nothing of Xen is left but what the plan told",
            ok=not xen,
            found="; ".join(xen or p.leftovers) or "nothing",
            expected="no xvd disk, xvc0, hvc0 or Xen module",
        ),
        check(
            code="nics-tied",
            title="every NIC is tied to its MAC",
            ok=not wrong,
            found="; ".join(wrong) or f"{len(p.macs)} of {len(p.macs)} NICs",
            expected="HWADDR, rule or link file as planned",
        ),
        *addition.proofs(p.additions, known.ran, known.brought),
        check(
            code="originals-kept",
            title=f"the originals are kept in {KEPT}",
            ok=not lost,
            found=f"not kept: {', '.join(lost)}" if lost else f"{len(known.kept)} files",
            expected="every changed file, and the initrd if it was made again",
        ),
    ]


def _kernel(facts: GuestFacts, preparation: Preparation) -> Kernel:
    found = next((k for k in facts.kernels if k.index == preparation.default), None)
    if found is None:
        raise StepFailed(
            Problem(
                code="planned-kernel-gone",
                what="the planned kernel is no longer in the boot menu",
                where=facts.boot_config,
                found=", ".join(f"{k.index}: {k.version}" for k in facts.kernels),
                expected=f"{preparation.default}: {preparation.kernel}",
                remedy=f"run {SURVEY} and {PLAN} again",
            )
        )
    return found


def _room(source: Origin, folder: Path) -> Check:
    need = source.occupied() + SPARE
    existing = next(f for f in (folder, *folder.parents) if f.exists())
    free = shutil.disk_usage(existing).free
    return Check(
        code="room-for-copy",
        title="there is room for the copy",
        ok=free >= need,
        found=f"{files.human(free)} free",
        expected=f"{files.human(need)}",
        remedy="free some, or put outputs/ on a larger disk",
        where=str(existing),
    )
