"""What a run may tell of each misfortune: the codes of its problems in their order, or how it ended where it tells none.

Several where time decides. The keeper of an import's lease may find out before whoever sends: `import-lease-lost`. An upload
that is refused in its middle may break before the answer is read: `upload-cut-off`. A rollback in another window is another
process, and may be slow: it comes before the cut-over's next action, as soon as that has ended, before its proofs, or after
all of it. From where the NICs are plugged there is no next action. It unplugs before it starts the source.
"""

from hikkoshi_lab.faults import cell
from hikkoshi_lab.faults.cell import Juncture, Misfortune

Told = tuple[str, ...]
DONE: Told = ("done",)
REFUSED: Told = ("vsphere-refused",)
SILENT: Told = ("vsphere-unanswered",)
ENDED: Told = ("vsphere-session-ended",)
CUT_OFF: Told = ("upload-cut-off",)
LEASE: Told = ("import-lease-lost",)
BY_HAND: Told = ("switch-off-by-hand",)
UNSEEN: Told = ("out-of-service",)
PREEMPTED: Told = (*DONE, "in-service", "nic-wired", "in-service, nic-wired", "source-off, in-service, nic-wired")
STOPPED: Told = (*PREEMPTED, "turn-lost", "turn-taken")
USUAL: dict[Misfortune, Told] = {
    cell.SOAP: REFUSED,
    cell.LATE: SILENT,
    cell.LOST: SILENT,
    cell.BUSY: SILENT,
    cell.CUT: CUT_OFF,
    cell.FLIPPED: ("upload-bytes-differ",),
    cell.FULL: REFUSED,
    cell.SESSION: ENDED,
    cell.MAINTENANCE: DONE,
    cell.KILLED: ("killed",),
    cell.SOURCE: ("source-off",),
    cell.SECOND: DONE,
}
_CUTOVER: dict[Misfortune, Told] = {cell.SECOND: PREEMPTED}
_OFF: dict[Misfortune, Told] = {cell.MAINTENANCE: REFUSED}  # it is switched on later, and a host in maintenance refuses that
# what was refused for the session was not done, and is asked once more
_BACK: dict[Misfortune, Told] = {cell.SESSION: DONE, cell.SOURCE: DONE}
_ACT: dict[Misfortune, Told] = {
    **_BACK,
    cell.SOAP: ("vsphere-refused, switch-off-by-hand",),
    **dict.fromkeys((cell.LATE, cell.LOST, cell.BUSY), ("vsphere-unanswered, switch-off-by-hand",)),
}
_ONCE: dict[Misfortune, Told] = {**_BACK, cell.SOAP: DONE, cell.LATE: DONE}  # only a table was asked for: vSphere is tried again
_NOT_SEEN: dict[Misfortune, Told] = {**_BACK, **dict.fromkeys((cell.SOAP, cell.LATE, cell.LOST, cell.BUSY), UNSEEN)}
OTHER: dict[str, dict[Misfortune, Told]] = {  # {moment: what differs from `USUAL`}
    "lease open": {cell.SESSION: LEASE},
    "in the upload": {
        cell.LATE: CUT_OFF + LEASE,
        cell.LOST: CUT_OFF + LEASE,
        cell.BUSY: ("upload-refused", *CUT_OFF, *LEASE),
        cell.FULL: ("upload-refused", *CUT_OFF),
        cell.SESSION: ENDED + LEASE,
    },
    "at read-back": {cell.SESSION: DONE},
    "before the source goes off": {
        cell.SECOND: STOPPED,
        cell.SESSION: DONE,
        cell.MAINTENANCE: ("host-can-take, own-host-ready",),
    },
    "source off": {**_OFF, cell.SECOND: STOPPED, cell.SESSION: DONE},
    "before NICs are plugged": _CUTOVER | _OFF,
    "NICs plugged": _CUTOVER | _OFF,
    "after power-on": {**_CUTOVER, cell.SOAP: SILENT, cell.SESSION: DONE},  # the task was begun, and is looked at again
    "recording": {**_CUTOVER, cell.SESSION: DONE},
    "before anything": {**_ONCE, cell.LOST: BY_HAND, cell.BUSY: BY_HAND},
    "before NICs are unplugged": _ACT,
    "NICs unplugged": _ACT,
    "machine off": {**_ONCE, cell.LOST: UNSEEN, cell.BUSY: UNSEEN},
    "before the source starts": _NOT_SEEN,
    "source started": _NOT_SEEN,
}


def may_be(misfortune: Misfortune, moment: Juncture) -> Told:
    """What a run of that cell may tell."""
    return OTHER.get(moment.name, {}).get(misfortune, USUAL[misfortune])
