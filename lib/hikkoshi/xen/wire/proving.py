"""Whether the disks of a Dom-0 over ssh still are what was read from there; nothing of them crosses the wire for it.

A file tells by the time of its last change. A device does not: some pieces of it are hashed there, and where it has to be sure,
all of them are.
"""

from collections.abc import Iterator, Sequence

from hikkoshi.disk.origin import Origin, Part
from hikkoshi.disk.pieces import Listed, of_zeros
from hikkoshi.files import human
from hikkoshi.progress import Progress, shares, silent
from hikkoshi.xen.wire import asking, pieces
from hikkoshi.xen.wire.place import DiskPlace

SAMPLES = 16  # pieces of a device
_UNKNOWN = "what is here does not say how the disk was when it was read"


def over_ssh(origin: Origin) -> bool:
    """Whether its disks are on another machine."""
    return any(p.over_ssh for p in origin.parts)


def device(origin: Origin) -> bool:
    """Whether any of its disks is a block device there."""
    return any(known.standing.device for _, known in _known(origin) if known)


def samples(origin: Origin) -> tuple[int, int]:
    """Bytes of samples that `other` compares of devices, and bytes that these have."""
    known = [k for _, k in _known(origin) if k and k.standing.device]
    return sum(len(_spread(k.digests, k.piece_bytes)) * k.piece_bytes for k in known), sum(k.standing.bytes for k in known)


def other(origin: Origin) -> str:
    """How it is seen there that a disk is not what was read any more; empty where nothing shows that.

    A `HikkoshiError` where nobody can tell.
    """
    for part, known in _known(origin):
        if known is None:
            return _UNKNOWN
        if told := known.standing.other(DiskPlace.of(part.place).standing()):
            return f"{part.place}: {told}"
        if known.standing.device and (told := _compared(part, known, _spread(known.digests, known.piece_bytes))):
            return told
    return ""


def hashed(origin: Origin, progress: Progress = silent) -> str:
    """The same for certain: all of the disks is hashed there."""
    every = list(_known(origin))
    told = shares(progress, [known.standing.bytes if known else 1 for _, known in every])
    for (part, known), share in zip(every, told, strict=True):
        if known is None:
            return _UNKNOWN
        if found := _compared(part, known, range(len(known.digests)), share):
            return found
    return other(origin)  # nobody wrote to one while it was hashed


def _known(origin: Origin) -> Iterator[tuple[Part, Listed | None]]:
    for part in origin.parts:
        if part.over_ssh:
            known = Listed.of(part.path)
            yield part, known if known and known.place == part.place and known.complete(part.path) else None


def _spread(digests: Sequence[str], piece: int) -> list[int]:
    """Some pieces of a disk: the first and the last one, and of those that hold something some all over it."""
    data = [n for n, sha256 in enumerate(digests) if sha256 != of_zeros(piece)] or [0]
    return sorted({0, len(digests) - 1, *(data[len(data) * n // SAMPLES] for n in range(SAMPLES))})


def _compared(part: Part, known: Listed, wanted: Sequence[int], progress: Progress = silent) -> str:
    """Where these pieces differ there from what was read; empty where none does."""
    asked, size = pieces.questions(known.digests, wanted, asking.TOGETHER, comes=False), known.standing.bytes
    done, differ = 0, list[int]()
    for found in asking.answers(DiskPlace.of(part.place), size, known.piece_bytes, asked):
        differ += [one.n for one in found if one.sha256 != known.digests[one.n]]
        done += len(found)
        progress(done, len(wanted), f"{human(done * known.piece_bytes)} hashed on the Dom-0")
    if not differ:
        return ""
    at = min(differ) * known.piece_bytes
    return f"{part.place}: other bytes than were read, in {len(differ)} of {len(wanted)} pieces, the first at byte {at:,}"
