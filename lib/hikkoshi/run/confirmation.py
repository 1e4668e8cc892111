"""A person's word that the new machine is off, for a rollback that cannot ask vSphere.

It is given by `hikkoshi confirm-off GUEST`, where the person types the machine's name. It counts for some minutes, and not
beyond the next cut-over. No ping and no other hint takes its place: a machine that does not answer may well be on.
"""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from pydantic import AwareDatetime

from hikkoshi.artefact import Artefact
from hikkoshi.check import Check
from hikkoshi.errors import BadInput
from hikkoshi.params.folder import GuestFolder
from hikkoshi.run.step import ROLLBACK, Step

VALID = timedelta(minutes=30)


class Confirmation(Artefact):
    """machine-off.json: who has seen that the machine is off, and when."""

    filename: ClassVar[str] = GuestFolder.machine_off
    made_by: ClassVar[Step] = ROLLBACK
    guest: str
    machine: str  # its name, as the person typed it
    by: str  # USER@HOST
    time: AwareDatetime

    def __str__(self) -> str:
        return f"{self.by} confirmed at {self.time:%H:%M:%SZ} that {self.machine} is off"


def command(guest: str) -> str:
    """What a person types."""
    return f"hikkoshi confirm-off {guest}"


def given(folder: GuestFolder, guest: str) -> Check:
    """Whether there is a word that counts now."""
    title, expected = f"a person has confirmed that the new machine of {guest} is off", "a word of the last 30 minutes"
    try:
        found = Confirmation.find(folder)
    except (BadInput, OSError) as e:
        return Check(
            code="off-confirmed",
            title=title,
            ok=False,
            found=f"it cannot be read: {e}",
            expected=expected,
            remedy=command(guest),
            where=str(folder),
        )
    if found is None or found.guest != guest:
        return Check(
            code="off-confirmed",
            title=title,
            ok=False,
            found="nobody has",
            expected=expected,
            remedy=command(guest),
            where=str(folder),
        )
    age = datetime.now(UTC) - found.time
    told = str(found) if timedelta() <= age else f"{found}, which is in the future"
    return Check(
        code="off-confirmed",
        title=title,
        ok=timedelta() <= age < VALID,
        found=told,
        expected=expected,
        remedy=command(guest),
        where=str(folder),
    )


def forget(folder: GuestFolder) -> None:
    """It counts no more: the machine is about to be switched on, or vSphere has been asked itself."""
    folder.machine_off.unlink(missing_ok=True)
