"""The way back as a person goes it by hand, where Hikkoshi cannot: in which order, on which machine, with which command.

What is told comes from the results in the guest's folder, read with no regard for their form: a damaged one tells less, and
stops nothing.
"""

import contextlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hikkoshi.errors import BadInput, HikkoshiError, Problem
from hikkoshi.params.home import Home
from hikkoshi.run import confirmation
from hikkoshi.run.step import ROLLBACK
from hikkoshi.xen import xva

AGAIN = f"hikkoshi run {{}} --only {ROLLBACK.number} --apply"


def machine(home: Home, guest: str) -> str:
    """The name of the guest's machine in vSphere; the guest's own where nothing tells another."""
    return str(_facts(home, guest).get("name") or guest)


def order(home: Home, guest: str, why: str, *, confirm: bool = True) -> Problem:
    """What to do, in this order; `why` says what Hikkoshi cannot do. Without `confirm` no word would help it on."""
    known = _facts(home, guest)
    name = str(known.get("name") or guest)
    labels = {"moid": "moid", "instance_uuid": "instance UUID", "host": "made on host"}
    about = ", ".join(f"{label} {known[key]}" for key, label in labels.items() if known.get(key))
    config, dom0 = _source(home, guest)
    start = f"on the Dom-0{' ' + dom0 if dom0 else ''}: {shlex.join(['xl', 'create', config])} (on older Xen: xm create)"
    if (xen := _read(home.folder(guest).survey).get("xen")) and isinstance(xen, dict) and xen.get("form") == xva.FORM:
        start = f"on the XenServer: {shlex.join(xva.command('start', guest, str(xen.get('uuid') or '')))}"
    confirmed = f"Then say so: {confirmation.command(guest)}" if confirm else "Both on at once break the network for both."
    begin = f"{AGAIN.format(guest)}. Or type" if confirm else "type"
    steps = (
        _called(who, name, confirmed)
        if (who := contractor(home, guest))
        else [
            f"In vCenter, or on the ESXi host itself, find the machine {name} ({about or 'nothing more is known of it'}). "
            "Disconnect all its NICs: take off Connected and Connect at power on.",
            f"Power it off. On the ESXi host: vim-cmd vmsvc/getallvms, then vim-cmd vmsvc/power.off with the ID of {name}.",
            f"Look that it is off: vim-cmd vmsvc/power.getstate with its ID. Where the host is dead, cut its power, so that it "
            f"does not come back with the machine on; look in vCenter that no other host has started it. {confirmed}",
        ]
    )
    steps.append(f"Start the source: {begin} {start}.")
    remedy = "in this order:\n" + "\n".join(f"{n}. {step}" for n, step in enumerate(steps, 1))
    return Problem(
        code="switch-off-by-hand",
        what=f"a person has to switch {name} off",
        where=guest,
        found=why,
        expected="the new machine off before the source starts",
        remedy=remedy,
    )


@contextlib.contextmanager
def told(home: Home, guest: str, step: str) -> Iterator[None]:
    """Where the parameters of a rollback cannot be used, what a person can do all the same is told beside what is wrong."""
    try:
        yield
    except BadInput as e:
        if step != ROLLBACK.id or not home.folder(guest).is_dir():
            raise
        raise BadInput(*e.problems, order(home, guest, "the parameters cannot be used", confirm=False)) from None


def contractor(home: Home, guest: str) -> str:
    """Who has the guest's machine, where nobody here logs in to its vSphere; else nothing.

    By the site's file; and whatever that says by now, by the guest's plan, and by the cut-over that is on record.
    """
    who = ""
    with contextlib.suppress(HikkoshiError, OSError):
        vsphere = home.site(guest).vsphere
        who = vsphere.contractor if vsphere.handover else ""
    folder = home.folder(guest)
    theirs = bool(_read(folder.cutover).get("handed_over"))
    with contextlib.suppress(KeyError, TypeError):
        theirs = theirs or _read(folder.plan)["terms"]["vsphere"]["handover"] is True
    return who or ("the contractor" if theirs else "")


def _called(who: str, name: str, confirmed: str) -> list[str]:
    """What a contractor is asked for on the telephone."""
    return [
        f"Call {who}. Ask them to take off both ticks, Connected and Connect At Power On, of every NIC of {name}. That "
        "frees the addresses at once.",
        f"Ask them to power {name} off. Stay on the telephone until they say that they see it powered off. {confirmed}",
    ]


def _facts(home: Home, guest: str) -> dict[str, Any]:
    """What deployment.json tells of the machine, else cutover.json; of a contractor's, what was handed over."""
    folder = home.folder(guest)
    handed, ours = _read(folder.handover), _read(folder.cutover) | _read(folder.deployment)
    return ours | handed if contractor(home, guest) else handed | ours


def _source(home: Home, guest: str) -> tuple[str, str]:
    """(path of the guest's configuration on its Dom-0, the Dom-0's name), as far as it can be read."""
    with contextlib.suppress(HikkoshiError, OSError):
        found = home.guest(guest)
        return str(found.own_config), found.dom0
    with contextlib.suppress(OSError, UnicodeDecodeError):
        lines = home.guest_file(guest).read_text(encoding="utf-8").splitlines()
        written = {key: value.partition(" #")[0].strip().strip("'\"") for key, _, value in (x.partition(":") for x in lines)}
        for key in ("start_config", "config"):
            if written.get(key):
                return written[key], ""
    return f"/etc/xen/{guest}", ""


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes()) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
