"""Carries a remedy out on a running guest, reads everything back, and can undo it.

An ethtool that has nothing to change, or may not change it, exits with 0 all the same: only the flag that is read afterwards
counts. Where anything fails, what was done until then is undone.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import ClassVar

from hikkoshi.artefact import Artefact, Frozen
from hikkoshi.check import Check, Permission
from hikkoshi.errors import HikkoshiError, Problem, Refused, StepFailed
from hikkoshi.network.diagnosis import collection
from hikkoshi.network.diagnosis.snapshot import NicState, Snapshot
from hikkoshi.network.host import Host
from hikkoshi.network.remedy import guestfile, persistence
from hikkoshi.network.remedy.persistence import Feature
from hikkoshi.network.remedy.prescription import PARAMETER, SCRIPTS, File, Prescription, Way
from hikkoshi.params.folder import GuestFolder
from hikkoshi.run.step import OFFLOADS, Step

EXPECTED = "every flag off, and every file saying so"
XEN = ("vif", "netfront", "xennet", "xen_netfront", "xen-netfront")  # drivers of a NIC that Xen gives to a guest


class Flag(Frozen):
    """How a flag was."""

    nic: str
    feature: Feature
    on: bool


class Written(Frozen):
    """A file that was changed. The one before stays on the guest, so that no secret of it comes into a record."""

    path: str
    kept: str  # where the one before is; empty where there was none
    before_sha256: str  # of that
    after_sha256: str


class Applied(Artefact):
    """remedy.json: what was done, and how it was before: enough to undo it."""

    filename: ClassVar[str] = GuestFolder.remedy
    made_by: ClassVar[Step] = OFFLOADS
    plan: Prescription
    flags: tuple[Flag, ...]
    files: tuple[Written, ...]

    def wrote(self, *files: Written) -> "Applied":
        """The same with files changed since. Where nobody else had changed one between, its undo leads back to the first."""
        known = {f.path: f for f in self.files}
        for f in files:
            first = known.get(f.path, f)
            ours = f.before_sha256 in (first.before_sha256, first.after_sha256)
            known[f.path] = first.model_copy(update={"after_sha256": f.after_sha256}) if ours else f
        return self.model_copy(update={"files": tuple(known.values())})

    def after(self, earlier: "Applied") -> "Applied":
        """The same with what was before `earlier` in place of what was between the two."""
        flags = {(f.nic, f.feature): f for f in (*self.flags, *earlier.flags)}
        files = self.model_copy(update={"files": earlier.files}).wrote(*self.files).files
        return self.model_copy(update={"flags": tuple(flags.values()), "files": files})


def holds(host: Host, plan: Prescription) -> Check:
    """Whether every flag is off and every file says so, asked of the guest now."""
    lacking = _lacking(host, plan, collection.collect(host))
    return Check(
        code="frames-not-merged",
        title="received frames are no longer merged",
        ok=not lacking,
        found="; ".join(lacking) or _so(plan),
        expected=EXPECTED,
        remedy=f"run {OFFLOADS} in apply; what ethtool cannot change is left to the host: hikkoshi host-offloads",
        where=host.name,
    )


def in_effect(snapshot: Snapshot, plan: Prescription) -> Check:
    """The same without the files, for a guest that was started anew: flags, and the module's parameter as it was loaded."""
    bad = [f"{s.nic}: {s.feature} is on" for s in plan.switches if _on(snapshot.nics.get(s.nic), s.feature) is not False]
    value = snapshot.values.get(f"/sys/module/vmxnet3/parameters/{PARAMETER}")
    if plan.restart and value in (None, "0"):
        bad.append(f"vmxnet3 is loaded with {PARAMETER} {value or 'unknown'}")
    return Check(
        code="remedy-in-effect",
        title="the remedy is in effect",
        ok=not bad,
        found="; ".join(bad) or _so(plan),
        expected="flags off, and the module loaded with its parameter",
        remedy="start the guest anew" if plan.restart else f"run {OFFLOADS} in apply",
    )


def apply(
    host: Host,
    plan: Prescription,
    permission: Permission,
    earlier: Applied | None = None,
    keep: Callable[[Applied], object] = lambda _: None,
) -> Applied:
    """Switch off, write down, read everything back. `earlier` is what an apply before this one gave, so that its undo counts.

    `keep` is given what there was before, before anything is changed and after each file: killed, it can still be undone.
    `StepFailed` with everything that is not so afterwards; then what was done is undone.
    """
    permission.covers(OFFLOADS.id)
    before = collection.collect(host)
    _moved(host, before)
    flags = tuple(Flag(nic=s.nic, feature=s.feature, on=_on(before.nics.get(s.nic), s.feature) is True) for s in plan.switches)
    done = Applied(plan=plan, flags=flags, files=())
    keep(done.after(earlier) if earlier else done)
    try:
        _switch(host, plan.ethtool, {(s.nic, s.feature): False for s in plan.switches})
        for file in plan.files:
            done = done.wrote(*_written(host, file, plan.ethtool))
            keep(done.after(earlier) if earlier else done)
        _reload(host, plan)
        lacking = _lacking(host, plan, collection.collect(host))
        if lacking:
            raise StepFailed(
                Problem(
                    code="remedy-not-kept",
                    what="the remedy was carried out, but read back it is not there",
                    where=host.name,
                    found="; ".join(lacking),
                    expected=EXPECTED,
                    remedy="what was done is undone; leave it to the host (hikkoshi host-offloads), or use another adapter",
                )
            )
    except BaseException as e:
        try:
            _undo(host, done)  # by the permission that this apply had
        except HikkoshiError as worse:
            raise StepFailed(*(e.problems if isinstance(e, HikkoshiError) else ()), *worse.problems) from e
        raise
    return done.after(earlier) if earlier else done


def undo(host: Host, applied: Applied, permission: Permission) -> None:
    """Put flags and files back as they were; `StepFailed` names all that is not so then.

    A file that somebody has changed since is left alone, and so is one of which nothing was kept any more.
    """
    permission.covers(OFFLOADS.id)
    _moved(host, collection.collect(host))
    _undo(host, applied)


def _moved(host: Host, now: Snapshot) -> None:
    """`Refused` where the guest that answers runs under Xen: the source has the addresses of the one that was moved."""
    if found := [f"{nic.name}: driver {nic.driver}" for nic in now.ethernet if nic.driver in XEN]:
        raise Refused(
            Problem(
                code="guest-under-xen",
                what="this guest runs under Xen",
                where=host.name,
                found="; ".join(found),
                expected="the one in vSphere",
                remedy="see which of the two is in service; if it is the source, roll back with 75, and change nothing in it",
            )
        )


def _undo(host: Host, applied: Applied) -> None:
    paths = [f.path for f in applied.files] + [f.kept for f in applied.files if f.kept]
    there = guestfile.read(host, paths) if paths else {}
    for f in applied.files:
        kept = there.get(f.kept)
        if _sha256(there[f.path]) != f.after_sha256 or _sha256(kept) != f.before_sha256:
            continue
        if kept is None:
            guestfile.remove(host, [f.path])
        else:
            guestfile.write(host, f.path, kept)
    _reload(host, applied.plan)
    _switch(host, applied.plan.ethtool, {(f.nic, f.feature): f.on for f in applied.flags})
    check = undone(host, applied)
    if not check:
        raise StepFailed(check.problem())


def undone(host: Host, applied: Applied) -> Check:
    """Whether flags and files are as they were before, asked of the guest now."""
    snapshot = collection.collect(host)
    now = guestfile.read(host, [f.path for f in applied.files]) if applied.files else {}
    bad = [
        f"{f.nic}: {f.feature} is {'off' if f.on else 'on'}"
        for f in applied.flags
        if (_on(snapshot.nics.get(f.nic), f.feature) is True) != f.on
    ]
    bad += [
        f"{f.path} is not as it was" + (f", which is kept as {f.kept}" if f.kept else ": it was not there")
        for f in applied.files
        if _sha256(now[f.path]) != f.before_sha256
    ]
    return Check(
        code="remedy-undone",
        title="the guest is as it was before the remedy",
        ok=not bad,
        found="; ".join(bad) or f"{len(applied.flags)} flags, {len(applied.files)} files",
        expected="every flag and file as recorded",
        remedy="compare by hand: a file that somebody has changed since is left alone",
        where=host.name,
    )


def _lacking(host: Host, plan: Prescription, snapshot: Snapshot) -> list[str]:
    """What is not as planned, in words."""
    bad = [
        f"{s.nic}: {s.feature} is {'on' if on else 'unknown'}"
        for s in plan.switches
        if (on := _on(snapshot.nics.get(s.nic), s.feature)) is not False
    ]
    now = guestfile.read(host, {f.path for f in plan.files}) if plan.files else {}
    for file in plan.files:
        text = (now[file.path] or b"").decode("latin-1")
        if not text or edited(file, text, plan.ethtool) != text:
            bad.append(f"{file.path} does not say so")
    return bad


def _so(plan: Prescription) -> str:
    return f"flags off: {len(plan.switches)}; files that say so: {len(plan.files)}" + (
        ", from the next start on" if plan.restart else ""
    )


def _on(nic: NicState | None, feature: Feature) -> bool | None:
    """Whether a flag is on; None where the NIC is gone, or does not tell of it."""
    flag = None if nic is None else nic.lro if feature == "lro" else nic.gro
    return None if flag is None else flag.on


def _switch(host: Host, ethtool: str, wanted: Mapping[tuple[str, Feature], bool]) -> None:
    """Have ethtool set flags. What it says of it is not asked for: the flags are read afterwards."""
    lines = [f"{ethtool} -K {nic} {feature} {'on' if on else 'off'}" for (nic, feature), on in wanted.items()]
    host.script("\n".join([*lines, ":", ""]))


def edited(file: File, text: str, ethtool: str) -> str:
    """The file as it has to be: one edit for each way, and each of its NICs."""
    per_nic: dict[Way, Callable[[str, str], str]] = {
        "ifcfg": lambda t, nic: persistence.ifcfg(t, nic, file.feature),
        "interfaces": lambda t, nic: persistence.interfaces(t, nic, file.feature, ethtool),
    }
    whole: dict[Way, Callable[[str], str]] = {
        "modprobe": persistence.modprobe_conf,
        "ifup-local": lambda t: persistence.ifup_local(t, file.nics, file.feature, ethtool),
        "dispatcher": lambda t: persistence.dispatcher(t, file.nics, file.feature, ethtool),
        "keyfile": lambda t: persistence.keyfile(t, file.feature),
        "link": lambda t: persistence.link(t, file.feature),
    }
    if file.way in whole:
        return whole[file.way](text)
    for nic in file.nics:
        text = per_nic[file.way](text, nic)
    return text


def _written(host: Host, file: File, ethtool: str) -> tuple[Written, ...]:
    """Edit a file on the guest and read it again; nothing where it says so already.

    Its bytes pass through as latin-1, in which each is a character: old guests have comments in many encodings.
    """
    before = guestfile.read(host, [file.path])[file.path]
    after = edited(file, (before or b"").decode("latin-1"), ethtool).encode("latin-1")
    if after == before:
        return ()
    kept = guestfile.write(host, file.path, after, "0755" if file.way in SCRIPTS else "0644")
    return (Written(path=file.path, kept=kept, before_sha256=_sha256(before), after_sha256=_sha256(after)),)


def _reload(host: Host, plan: Prescription) -> None:
    """Tell NetworkManager of changed connections. None of them is taken down for it."""
    if any(f.way == "keyfile" for f in plan.files):
        host.run(["nmcli", "connection", "reload"], ok=range(256))


def _sha256(content: bytes | None) -> str:
    """Empty for a file that is not there."""
    return "" if content is None else hashlib.sha256(content).hexdigest()
