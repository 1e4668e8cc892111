"""A disk of a Dom-0 over ssh comes to here: what is here already does not come again, whatever has cut it off before."""

import time
from collections.abc import Iterable, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from dataclasses import replace as changed_to
from pathlib import Path
from typing import Protocol

from hikkoshi.check import Check
from hikkoshi.disk import expanded, source, stream
from hikkoshi.disk.extents import changed
from hikkoshi.disk.pieces import PIECE, Arriving, Listed, of_zeros
from hikkoshi.disk.standing import Standing
from hikkoshi.errors import BadInput, Problem, Refused, StepFailed
from hikkoshi.files import human
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.site import Dom0
from hikkoshi.progress import Progress, shares, silent
from hikkoshi.xen import behind, root
from hikkoshi.xen.disks import XenDisk
from hikkoshi.xen.wire import asking, pieces
from hikkoshi.xen.wire.pieces import Told
from hikkoshi.xen.wire.place import DiskPlace, url

WATCHED = 20.0  # seconds between two looks at whether what is read still stands still


class StillDisk(Protocol):
    """What stands still there, and holds what a disk that is written to held at one moment."""

    @property
    def place(self) -> DiskPlace:
        """Where that is."""

    @property
    def before(self) -> Standing:
        """How the disk stood before that moment."""

    def whole(self) -> None:
        """`StepFailed` where it does not hold that any more."""


@dataclass(frozen=True)
class Wanted:
    """One disk that is wanted here: where it is, the image that it becomes, and what is read in its place while it is in use."""

    place: DiskPlace
    image: Path
    moment: StillDisk | None = None


def image(folder: GuestFolder, disk: XenDisk) -> Path:
    """What a disk of a Dom-0 over ssh becomes here."""
    return folder.sources / f"{disk.vdev}.img"


def wanted(folder: GuestFolder, dom0: Dom0, disks: Iterable[XenDisk]) -> list[Wanted]:
    """These disks of a Dom-0 over ssh."""
    return [Wanted(DiskPlace.of(url(dom0, root.named(d.target))), image(folder, d)) for d in disks]


def bring(wanted: Sequence[Wanted], progress: Progress = silent) -> None:
    """Have all these disks here, as they stand there now; nothing is read again of one that is here and has not changed.

    `Refused` where there is no room for them, `BadInput` for what is no disk, `StepFailed` where one does not come, or changes
    meanwhile. What came so far is kept for the next time.
    """
    now = [one.moment.before if one.moment else one.place.standing() for one in wanted]
    apart(wanted, now)
    fit = [stream.fits(standing.bytes, one.place.url, which=one.image.stem) for one, standing in zip(wanted, now, strict=True)]
    if refused := [check.problem() for check in (*fit, room(wanted, now)) if not check]:
        raise Refused(*refused)
    for one, standing, share in zip(wanted, now, shares(progress, [s.bytes for s in now]), strict=True):
        known = Listed.of(one.image)
        as_before = known is not None and (known.place, known.standing) == (one.place.url, standing) and not standing.device
        if known is None or not as_before or not known.complete(one.image):
            _Reading(one, standing, share).read()


def apart(wanted: Sequence[Wanted], now: Sequence[Standing]) -> None:
    """Raise `BadInput` where two of them are the same file or device there: they would be two after the move."""
    seen: dict[tuple[bool, str], Wanted] = {}
    for one, standing in zip(wanted, now, strict=True):
        if (first := seen.setdefault((standing.device, standing.name), one)) is not one:
            raise BadInput(
                Problem(
                    code="two-disks-are-one",
                    what="two disks of the guest are the same file or device",
                    where=one.place.login.host,
                    found=f"{first.image.stem} = {first.place.path}, {one.image.stem} = {one.place.path}",
                    expected="a file or device for each disk",
                    remedy=f"see which of the two the guest uses, and leave the other out {behind.COPY}",
                )
            )


def room(wanted: Sequence[Wanted], now: Sequence[Standing]) -> Check:
    """Whether there is room here for what has still to come, at most."""
    return expanded.room([one.image for one in wanted], sum(s.allocated for s in now))


class _Reading:
    """One disk on its way."""

    def __init__(self, wanted: Wanted, standing: Standing, progress: Progress) -> None:
        self._wanted, self._place, self._before = wanted, wanted.place, standing
        self._read_from, self._looked = wanted.moment.place if wanted.moment else wanted.place, time.monotonic()
        self._progress: Progress = lambda done, total, text: progress(done, total, f"{wanted.image.stem}: {text}")
        self._began, self._wire = time.monotonic(), 0

    def read(self) -> None:
        """To its end."""
        arriving = Arriving(self._wanted.image, self._place.url, self._before, PIECE, self._progress)
        try:
            with arriving:
                holes = self._holes(len(arriving.digests)) & arriving.wanted
                self._keep(arriving, [Told(n, "zeros", of_zeros(arriving.length(n))) for n in sorted(holes)])
                self._take(arriving, arriving.wanted & {0, len(arriving.digests) - 1})
                self._disk(arriving.part)
                self._take(arriving, arriving.wanted)
                self._still()
                arriving.finish()
        except OSError as e:
            raise StepFailed(expanded.unwritten(e, self._wanted.image.parent, self._before.allocated)) from None

    def _holes(self, count: int) -> set[int]:
        """The pieces that the Dom-0 knows to be holes; none where nobody tells."""
        data = None if self._wanted.moment else self._place.data(self._before, PIECE)
        return set() if data is None else set(range(count)) - data

    def _take(self, arriving: Arriving, wanted: Set[int]) -> None:
        """Have these pieces come."""
        asked = pieces.questions(arriving.digests, sorted(wanted), asking.TOGETHER)
        with closing(asking.answers(self._read_from, arriving.size, PIECE, asked)) as answers:
            try:
                for found in answers:
                    self._keep(arriving, found)
            except StepFailed:
                self._watch()
                raise

    def _watch(self) -> None:
        self._looked = time.monotonic()
        if self._wanted.moment:
            self._wanted.moment.whole()

    def _still(self) -> None:
        """Raise `StepFailed` where what was read is not what the disk was at one moment."""
        self._watch()
        if not self._wanted.moment and (told := self._before.other(self._place.standing(), touched=True)):
            raise StepFailed(changed(self._place.url, told, "nobody who writes to it"))

    def _keep(self, arriving: Arriving, found: Sequence[Told]) -> None:
        for one in found:
            if one.kind == "same":
                arriving.same(one.n)
            else:
                arriving.keep(one.n, one.content, one.sha256)
            self._wire += len(one.content or b"")
        if time.monotonic() > self._looked + WATCHED:
            self._watch()
        left = len(arriving.wanted) / len(arriving.digests)
        done, rate = arriving.size * (1 - left), self._wire / max(time.monotonic() - self._began, 0.1)
        self._progress(done, arriving.size, f"{human(done)} of {human(arriving.size)}, {human(rate)}/s over ssh")

    def _disk(self, part: Path) -> None:
        """Raise `BadInput` for what is no raw disk, before all of it has come."""
        try:
            source.facts(part)
        except BadInput as e:
            raise BadInput(*(changed_to(p, where=self._place.url) for p in e.problems)) from None
