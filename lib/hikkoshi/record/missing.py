"""Records that a guest's journal tells of, and that are not there as they were sealed."""

from collections.abc import Iterator

from hikkoshi import files
from hikkoshi.errors import BadInput, Problem
from hikkoshi.params.home import Home
from hikkoshi.record import bag, verification
from hikkoshi.run.journal import Journal


def check(home: Home) -> Iterator[Problem]:
    """Records and time stamps that a guest's journal tells of, and that are not there as they were sealed."""
    for guest in home.folders():
        journal = guest.journal
        try:
            entries = Journal(journal).ours()
        except BadInput as bad:
            yield from bad.problems
            continue
        for n, e in enumerate(entries, 1):
            if e.event != "sealed":
                continue
            record = home.root / e.record
            signed = record / bag.TAG_MANIFEST
            there = files.regular(signed)
            if not there or verification.hash_of(signed) != e.sha256:
                found = "another record" if there else "no such record"
                where, expected = f"{journal}:{n}", f"{e.record}, SHA-256 {e.sha256}"
                remedy = "bring it back from a copy, and find out who took it away or replaced it"
                yield Problem(
                    code="record-in-journal-missing",
                    what="a record that the journal tells of is not there",
                    where=where,
                    found=found,
                    expected=expected,
                    remedy=remedy,
                )
            else:
                yield from verification.lost_stamp(record, e, journal)
