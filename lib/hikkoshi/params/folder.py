"""The folder of one guest in outputs/guests: every file that a run leaves there has its name here, and nowhere else."""

from collections.abc import Iterator
from pathlib import Path, PosixPath
from typing import overload

from hikkoshi import files


class _Named:
    """A path in a guest's folder: `GuestFolder.plan` is its name there, `folder.plan` where it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, folder: None, owner: type) -> str: ...
    @overload
    def __get__(self, folder: Path, owner: type) -> Path: ...
    def __get__(self, folder: Path | None, owner: type) -> str | Path:
        return self._name if folder is None else Path(folder, self._name)


class GuestFolder(PosixPath):
    """A guest's folder; its own name is the guest's."""

    journal = _Named("journal.jsonl")
    lock = _Named("lock")  # of whatever works on the guest
    runner_lock = _Named("runner.lock")  # of whoever executes a runbook
    rollback_lock = _Named("rollback.lock")  # the same of a rollback, which goes on without the runner's
    turn_lock = _Named("turn.lock")  # of whatever acts on the service
    seal_lock = _Named("seal.lock")  # of whoever builds a record of the guest

    # results, in the order of the steps
    survey = _Named("survey.json")
    plan = _Named("plan.json")
    prepared = _Named("prepared.json")
    conversion = _Named("conversion.json")
    control = _Named("rehearsal/before.json")
    rehearsal = _Named("rehearsal.json")
    deployment = _Named("deployment.json")
    handover = _Named("handover.json")
    handover_sheet = _Named("handover-sheet.html")
    cutover = _Named("cutover.json")
    wiring = _Named("wiring.json")
    outage = _Named("outage.json")
    arrival = _Named("arrival.json")
    machine_off = _Named("machine-off.json")
    throughput = _Named("netperf.json")
    fingerprint = _Named("wiring-fingerprint.json")
    offloads = _Named("offloads.json")
    remedy = _Named("remedy.json")
    host_offloads = _Named("host-offloads.json")  # what options of ESXi hosts were before

    # folders
    runs = _Named("runs")  # executed notebooks
    approvals = _Named("approvals")
    disks = _Named("disk")
    sources = _Named("source")  # what was read over ssh, or written out of another form
    boots = _Named("rehearsal")  # what was seen of the two boots
    outages = _Named("outages")  # every probe of each run
    measured = _Named("netperf")  # a folder for each run, with the tools' own words

    before_picture = _Named("rehearsal/before.png")
    after_picture = _Named("rehearsal/after.png")

    @property
    def prepared_copy(self) -> Path:
        """The prepared copy of the guest's first disk."""
        return self.copies(1)[0]

    @property
    def vmdk(self) -> Path:
        """The first disk, converted."""
        return self.vmdks(1)[0]

    def copies(self, disks: int) -> tuple[Path, ...]:
        """The prepared copies of a guest of so many disks: NAME.img, NAME-2.img …"""
        return tuple(self.disks / f"{self.name}{f'-{n}' if n > 1 else ''}.img" for n in range(1, disks + 1))

    def vmdks(self, disks: int) -> tuple[Path, ...]:
        """The converted disks: NAME.vmdk, NAME-2.vmdk …"""
        return tuple(copy.with_suffix(".vmdk") for copy in self.copies(disks))

    def executed(self, run: str) -> Path | None:
        """A run's executed notebook by whatever name it has; none where it was run outside of any kernel."""
        names = (f"{run}.ipynb", f"{run}.interrupted.ipynb", f"{run}.part.ipynb")
        return next((p for name in names if files.regular(p := self.runs / name)), None)


def all_in(outputs: Path) -> Iterator[GuestFolder]:
    """Every guest's folder that is there, with parameters or without, sorted."""
    return (GuestFolder(p) for p in sorted((outputs / "guests").glob("*")) if p.is_dir())


def of(outputs: Path, guest: str) -> GuestFolder:
    """The folder of one guest, there or not."""
    return GuestFolder(outputs / "guests" / guest)
