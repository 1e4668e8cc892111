"""What can go wrong, and when: the two sides of the matrix, and which of their cells make no sense."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hikkoshi.run.step import CUTOVER, DEPLOY, ROLLBACK, Step
from hikkoshi_lab.faults import guest
from hikkoshi_lab.proxy import UPLOAD, Fault, Trouble

IMPORT, COMPLETE, RECONFIGURE = "ImportVApp", "HttpNfcLeaseComplete", "ReconfigVM_Task"
POWER_ON, POWER_OFF, READ = "PowerOnVM_Task", "PowerOffVM_Task", "RetrievePropertiesEx"
HALF = guest.USED // 2  # bytes of the upload


@dataclass(frozen=True)
class Glance:
    """What is to be seen when a call comes: the method, those before it, the cell of the notebook, and more."""

    method: str
    before: Sequence[str]
    cell: str
    sent: int  # bytes of the upload
    source_on: bool


@dataclass(frozen=True)
class Juncture:
    """When it is that something goes wrong: at the first call of which `is_now` is true."""

    step: Step
    name: str
    is_now: Callable[[Glance], bool]


def _after(method: str, then: str = READ) -> Callable[[Glance], bool]:
    return lambda g: g.method == then and method in g.before


def _at(method: str) -> Callable[[Glance], bool]:
    return lambda g: g.method == method


def _in(words: str) -> Callable[[Glance], bool]:
    return lambda g: words in g.cell


MOMENTS = (
    Juncture(DEPLOY, "before the import", _at("CreateImportSpec")),
    Juncture(DEPLOY, "at the import", _at(IMPORT)),
    Juncture(DEPLOY, "lease open", _after(IMPORT)),
    Juncture(DEPLOY, "in the upload", lambda g: g.method == UPLOAD and g.sent >= HALF),
    Juncture(DEPLOY, "before completion", _at(COMPLETE)),
    Juncture(DEPLOY, "at read-back", _after(COMPLETE)),
    Juncture(DEPLOY, "at the last mark", _at(RECONFIGURE)),
    Juncture(CUTOVER, "before the source goes off", _in("cutover.ready")),
    Juncture(CUTOVER, "source off", _in("cutover.source_as_copied")),
    Juncture(CUTOVER, "before NICs are plugged", _at(RECONFIGURE)),
    Juncture(CUTOVER, "NICs plugged", _at(POWER_ON)),
    Juncture(CUTOVER, "after power-on", _after(POWER_ON)),
    Juncture(CUTOVER, "recording", _after(POWER_ON, "CreateContainerView")),
    Juncture(ROLLBACK, "before anything", _in("rollback.checks")),
    Juncture(ROLLBACK, "before NICs are unplugged", _at(RECONFIGURE)),
    Juncture(ROLLBACK, "NICs unplugged", _at(POWER_OFF)),
    Juncture(ROLLBACK, "machine off", _in("rollback.present")),
    Juncture(ROLLBACK, "before the source starts", _in("rollback.complete")),
    Juncture(ROLLBACK, "source started", _in("rollback.proofs")),
)


@dataclass(frozen=True)
class Misfortune:
    """What goes wrong: an answer of vSphere, or something that `play` does to the stage. `lasting`: until the run has ended."""

    name: str
    trouble: Trouble | None = field(default=None, hash=False)
    lasting: bool = False


SOAP = Misfortune("SOAP fault", Fault("InvalidState"))
LATE = Misfortune("answer after the time-out", "late")
LOST = Misfortune("connection dropped", "dropped", lasting=True)
BUSY = Misfortune("HTTP 503", 503, lasting=True)
CUT = Misfortune("upload cut", "dropped")
FLIPPED = Misfortune("byte flipped")
FULL = Misfortune("datastore full", Fault("InsufficientStorageSpace"))
SESSION = Misfortune("session gone")
MAINTENANCE = Misfortune("host in maintenance")
KILLED = Misfortune("kill -9 of us")
SOURCE = Misfortune("Dom-0 restarted, source on")
SECOND = Misfortune("second operator")
MISFORTUNES = (SOAP, LATE, LOST, BUSY, CUT, FLIPPED, FULL, SESSION, MAINTENANCE, KILLED, SOURCE, SECOND)
WRITES = (IMPORT, POWER_ON, UPLOAD)  # calls that ask a datastore for room


def left_out(misfortune: Misfortune, moment: Juncture) -> str:
    """Why a cell makes no sense; empty where it does."""
    upload = moment.name == "in the upload"
    if misfortune in (CUT, FLIPPED) and not upload:
        return "nothing is sent then"
    if misfortune is SOAP and upload:
        return "bytes are no SOAP call"
    if misfortune is FULL and moment.name not in ("at the import", "in the upload", "NICs plugged"):
        return "nothing asks the datastore for room then"
    if misfortune is SOURCE and moment.step is DEPLOY:
        return "the source is not asked before the cut-over"
    if misfortune is SOURCE and moment.name in ("before the source goes off", "source started"):
        return "it is on anyway"
    return ""


def omitted() -> dict[str, list[str]]:
    """{why: the cells that are left out for it}."""
    found: dict[str, list[str]] = {}
    for moment in MOMENTS:
        for misfortune in MISFORTUNES:
            if why := left_out(misfortune, moment):
                found.setdefault(why, []).append(f"{misfortune.name} {moment.name} ({moment.step.number})")
    return found
