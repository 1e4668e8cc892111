"""Signs that a guest's source is another than the one that was read, or was written to since, wherever it is."""

from dataclasses import dataclass
from typing import Literal

from hikkoshi import files
from hikkoshi.disk import expanded
from hikkoshi.disk.origin import SAMPLED, Identity, Origin
from hikkoshi.errors import HikkoshiError
from hikkoshi.xen.wire import proving

WRITTEN = "the source is not the one that was copied, or was written to since"
SILENT = "whether the source is the one that was copied is not known"


@dataclass(frozen=True)
class Sign:
    """What shows that something is not of the source as it is now. `code` says what is to be done about it: `written`, survey it
    anew; `silent`, have the one answer who can tell; `stale`, make anew what was made of it."""

    code: Literal["written", "silent", "stale"]
    found: str


def device(source: Origin) -> bool:
    """Whether any of its disks is a block device, here or on a Dom-0 over ssh: these keep no time of their last change."""
    return source.device or proving.device(source)


def identity(origin: Origin) -> Identity | None:
    """That of what is here; None where it cannot be read."""
    try:
        return Identity.of(origin)
    except OSError:
        return None


def sampled(source: Origin) -> str:
    """What was compared of a source that is a device."""
    whole = there.bytes if (there := identity(source)) else 0
    samples = min(whole, SAMPLED * len(source.parts))
    if proving.over_ssh(source):
        samples, whole = proving.samples(source)
    return f"of the source, a device, only {files.human(samples)} of samples of {files.human(whole)} were compared"


def elsewhere(source: Origin) -> Sign | None:
    """What a Dom-0 over ssh shows of it, or the files that it was written out of; None for nothing, and every other source."""
    try:
        told = expanded.other(source) or proving.other(source)
    except HikkoshiError as e:
        return Sign("silent", f"{SILENT}: {e.problems[0].what}: {e.problems[0].found}")
    return Sign("written", f"{WRITTEN}: {told}") if told else None
