"""What goes into a record: everything that tells what a run, or the whole move of a guest, was; disks stay out, named by hash."""

import errno
import fcntl
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hikkoshi import files
from hikkoshi.approval import limits
from hikkoshi.approval.plan import Plan
from hikkoshi.errors import BadInput
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.record import bag, evidence, provenance, register
from hikkoshi.record.bag import Content
from hikkoshi.record.engine import environment, runbook
from hikkoshi.record.provenance import Provenance
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.journal import ours
from hikkoshi.run.status import LastRun, runs
from hikkoshi.run.step import REPORT, STEPS

OUTCOMES = {"done": "succeeded", "failed": "failed"}


@dataclass(frozen=True)
class Contents:
    """The payload of a record {name below data/: file or bytes}, and what bag-info.txt tells of it."""

    payload: dict[str, Content]
    step: str
    mode: str
    outcome: str
    plan: str  # SHA-256 of plan.json
    notebook: str = ""  # the executed one, its name below data/
    changed: str = ""  # which inputs are not any more as they were when the run began
    provenance: Provenance = field(default_factory=Provenance)  # whose runbook and program it was carried out with


def of_run(home: Home, guest: str, run: str) -> Contents:
    """One run: its executed notebook, the runbook, what it listed, and what changed in the guest's folder meanwhile."""
    folder = home.folder(guest)
    journal = _journal(folder.journal)
    told = next((r for r in runs(_entries(journal)) if r.id == run), None)
    payload: dict[str, Content] = {}
    executed = folder.executed(run)
    if executed:
        payload[bag.plain(executed.name)] = executed
    step = told.step if told and told.step else next((s for s in STEPS if run.endswith(s)), "unknown")
    origin = _provenance(step, _add_runbook(home, step, payload), executed)
    if origin.own:
        payload[f"runbook-of-the-project/{bag.plain(step)}.ipynb"] = origin.own
    payload |= {f"runbook/{bag.plain(step)}.{lang}.ipynb": shown for lang, shown in origin.shown.items()}
    found = evidence.of_run(home, guest, run, _entries(journal))
    payload |= found.payload | _frame(home, guest, journal, found.left_out)
    changed = _changed(home, guest, step, journal, run)
    said = next((e.outcome for e in _entries(journal) if (e.event, e.run) == ("outcome", run)), None)
    mode, outcome = _mode(told, executed), said or _outcome(told)
    name = bag.plain(executed.name) if executed else ""
    return Contents(payload, step, mode, outcome, _plan(folder), name, changed, origin)


def of_guest(home: Home, guest: str) -> Contents:
    """The whole story so far: the reports, every result, every executed notebook, and the register."""
    folder = home.folder(guest)
    journal = _journal(folder.journal)
    past = [r for r in runs(_entries(journal)) if r.step != REPORT.id]
    payload: dict[str, Content] = {}
    for report in sorted(home.reports.glob(f"{guest}.*")):
        if report.suffix in (".html", ".pdf") and report.stem == guest and files.regular(report):
            payload[f"reports/{report.name}"] = report
    for executed in sorted(folder.runs.glob("*.ipynb")):
        if ".part." not in executed.name and files.regular(executed):
            payload[f"runs/{bag.plain(executed.name)}"] = executed
    for step in dict.fromkeys(r.step for r in past):
        _add_runbook(home, step, payload)
    list_of_all = register.of(home).path
    payload[register.FILENAME] = files.read(list_of_all) if files.regular(list_of_all) else b""
    found = evidence.of_guest(home, guest, _entries(journal))
    payload |= found.payload | _frame(home, guest, journal, found.left_out)
    origin = Provenance(software=provenance.software())
    return Contents(payload, "guest", "none", _story(past), _plan(folder), provenance=origin)


def _frame(home: Home, guest: str, journal: bytes, left_out: bytes) -> dict[str, Content]:
    """What every record holds."""
    signing, folder = home.site().signing, home.folder(guest)
    facts = {**environment.versions(), "operator": environment.operator()}
    found: dict[str, Content] = {
        GuestFolder.journal: journal,
        "environment.json": (json.dumps(facts, indent=2) + "\n").encode(),
        evidence.LEFT_OUT: left_out,
        # a person may have put links to these
        "params/site.yml": home.site_file.resolve(),
        f"params/guests/{bag.plain(guest)}.yml": home.guest_file(guest).resolve(),
        "signers/allowed_signers": home.path(signing.allowed_signers).resolve(),
        "requirements.lock": runbook.PROJECT / "requirements.lock",
        # what an approval is of
        GuestFolder.plan: folder.plan,
        GuestFolder.conversion: folder.conversion,
        GuestFolder.deployment: folder.deployment,
        GuestFolder.handover: folder.handover,
    }
    if signing.revoked:
        found["signers/revoked"] = home.path(signing.revoked).resolve()
    for approval in sorted(folder.approvals.glob("*")):
        found[f"{GuestFolder.approvals}/{bag.plain(approval.name)}"] = approval
    return {name: content for name, content in found.items() if isinstance(content, bytes) or files.regular(content)}


def _add_runbook(home: Home, step: str, payload: dict[str, Content]) -> Path | None:
    try:
        path = runbook.find(home, step).resolve()
    except BadInput:
        return None  # of a step that this version does not have any more
    payload[f"runbook/{bag.plain(step)}.ipynb"] = path
    return path


def _provenance(step: str, used: Path | None, executed: Path | None) -> Provenance:
    if used is None:
        return Provenance(software=provenance.software())
    return provenance.of(step, files.read(used, limits.NOTEBOOK), files.read(executed, limits.NOTEBOOK) if executed else None)


def _changed(home: Home, guest: str, step: str, journal: bytes, run: str) -> str:
    """Names of the inputs that changed since a run was opened: what is sealed late is not what it was made from."""
    lines = [e for e in _entries(journal) if (e.event, e.run) == ("open", run)]
    then, now = lines[0].inputs if lines else {}, home.inputs(guest)
    own = [Plan.filename] if step == Plan.made_by.id else []
    return ", ".join(name for name, digest in then.items() if name not in own and now.get(name) != digest)


def _journal(path: Path) -> bytes:
    """The journal in whole lines: somebody may be adding one."""
    if not files.regular(path):
        return b""
    with files.opened(path) as f:
        fcntl.flock(f, fcntl.LOCK_SH)
        content = f.read(limits.JOURNAL + 1)
    if len(content) > limits.JOURNAL:
        raise OSError(errno.EFBIG, f"larger than {files.human(limits.JOURNAL)}", str(path))
    return content


def _entries(journal: bytes) -> list[JournalEntry]:
    """The lines of runs; whether sealing was refused before is no part of how a run ended."""
    return [e for e in ours(journal) if e.event != "unsealed"]


def _outcome(told: LastRun | None) -> str:
    return OUTCOMES.get(told.state, "interrupted") if told else "interrupted"


def _story(past: Sequence[LastRun]) -> str:
    """The outcome of a record that is no run's: a failed run in a story is no failed record."""
    return f"story; last run {_outcome(past[-1])}" if past else "story; no run"


def _mode(told: LastRun | None, executed: Path | None) -> str:
    if told and told.mode:
        return told.mode
    try:
        given = json.loads(files.read(executed, limits.NOTEBOOK))["metadata"]["papermill"]["parameters"] if executed else {}
        return str(given.get("mode", "none"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "none"  # the killed run's notebook was torn


def _plan(folder: GuestFolder) -> str:
    path = folder.plan
    return files.sha256(path, own=True) if files.regular(path) else ""
