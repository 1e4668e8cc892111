"""Who signed a record, and when: its signature, and the time that a third party tells."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from hikkoshi.approval import signature
from hikkoshi.approval.signature import Trust
from hikkoshi.errors import Problem, ToolFailed
from hikkoshi.record import bag, register, timestamp
from hikkoshi.record.bag import TAMPERED
from hikkoshi.record.instructions import SIGNATURE, TOKEN
from hikkoshi.record.register import CLOCKS

UNSIGNED = "record-unsigned"  # the code of its problem


def check(
    record: Path, info: dict[str, str], trust: Trust, ca: Path | None, regular: set[str], notes: list[str]
) -> Iterator[Problem]:
    """All that is wrong with the signature of a record, and with its time stamp; `notes` is told what could not be looked at."""
    signed, made, said = record / bag.TAG_MANIFEST, record / SIGNATURE, info.get("Sealed-By", "")
    if SIGNATURE not in regular or bag.TAG_MANIFEST not in regular:
        found = said.removeprefix("nobody: ") or "no signature"
        remedy = "give the site a key that may seal, see `signing` in params/site.yml; this record stays unsigned"
        if said.startswith("nobody"):
            remedy += f". Once somebody knows why it is: hikkoshi acknowledge {record} --because '…'"
        expected = "sealed by somebody on the list" if said.startswith("nobody") else f"a signature by {said}"
        yield Problem(
            code="record-unsigned",
            what="the record is not signed",
            where=str(made),
            found=found,
            expected=expected,
            remedy=remedy,
        )
        return
    at, flaw = _stamped(record, info, ca, regular, notes)
    if flaw:
        yield flaw
    verdict = signature.verify(signed, trust, "evidence", at or register.when(info.get("Sealed", "")))
    key = info.get("Sealed-By-Key", "")
    if not verdict:
        who = f" ({verdict.signer})" if verdict.signer else ""
        remedy = "whoever signed this may not seal, or not any more: ask how it came to be"
        yield Problem(
            code="signature-void",
            what="the signature counts for nothing",
            where=str(made),
            found=verdict.flaw + who,
            expected=f"by {said}",
            remedy=remedy,
        )
    elif (verdict.signer, verdict.key) != (said, key):
        found, expected = f"{verdict.signer} {verdict.key}", f"{said} {key}"
        yield Problem(
            code="signed-by-another",
            what="somebody else signed it than it says",
            where=str(made),
            found=found,
            expected=expected,
            remedy=TAMPERED,
        )


def _stamped(
    record: Path, info: dict[str, str], ca: Path | None, regular: set[str], notes: list[str]
) -> tuple[datetime | None, Problem | None]:
    """The time that a third party tells, or what is wrong with its token."""
    service, token = info.get("Time-Stamp-Service", "none"), str(record / TOKEN)
    if TOKEN not in regular:
        if service not in ("", "none"):
            notes.append(f"no time stamp, though {service} was asked for one")
        return None, None
    if ca is None:
        notes.append("time stamp not checked: no certificate authority of the service is known")
        return None, None
    try:
        at = timestamp.verify(record / SIGNATURE, ca)
    except ToolFailed as e:
        found = e.problems[0].found or e.problems[0].what
        return None, Problem(
            code="time-stamp-void",
            what="the time stamp does not fit",
            where=token,
            found=found,
            expected="one over this signature",
            remedy=TAMPERED,
        )
    said = register.when(info.get("Sealed", ""))
    if said is not None and abs(at - said) > CLOCKS:
        found, expected = f"{at:%Y-%m-%d %H:%M:%S} UTC", f"{said:%Y-%m-%d %H:%M:%S} UTC, as the record says"
        remedy = "the sealing machine's clock was wrong, or somebody set it back: the service's time is the one to believe"
        return at, Problem(
            code="time-stamp-differs",
            what="the time stamp tells another time",
            where=token,
            found=found,
            expected=expected,
            remedy=remedy,
        )
    return at, None
