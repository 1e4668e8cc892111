"""README.txt of a record: what it is, what it proves and what not, and how to check it with OpenSSH and coreutils alone."""

import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath

from hikkoshi.record.provenance import NONE, Provenance

SIGNATURE = "tagmanifest-sha256.txt.sig"
TOKEN = f"{SIGNATURE}.tsr"
TAG_FILES = 5  # bagit.txt, bag-info.txt, README.txt and the two manifests
APPROVALS = """\
    (bad=0; for f in data/approvals/*.txt; do
      w=$(sed -n '/^$/q;s/^approver: //p' "$f"); t=$(sed -n '/^$/q;s/^approved: //p' "$f" | tr -d ':TZ-')
      TZ=UTC ssh-keygen -Y verify -f "$ALLOWED" -r "${REVOKED:-/dev/null}" -I "$w" -n approval \
-O verify-time="${t}Z" -s "$f.sig" < "$f" || bad=1
    done; exit $bad)"""


def text(
    *,
    identifier: str,
    names: Mapping[str, str],
    sealed: datetime,
    signer: str,
    unsigned: str,
    previous: str,
    previous_sha256: str,
    time_stamp: str,
    provenance: Provenance,
) -> str:
    """The README of the record `identifier`, GUEST/RECORD, with payload `names` (with data/).

    `unsigned` says why nobody signed it, `previous` is the guest's record before it (empty: there is none), `time_stamp` the
    service that was asked for the time.
    """
    guest, _, record = identifier.partition("/")
    files = len(names) + TAG_FILES
    folders = len({p for name in names for p in PurePosixPath(name).parents})
    who = f"It is signed by {signer}." if signer else f"IT IS NOT SIGNED ({unsigned}): command 1 fails."
    chain = (
        f'echo "{previous_sha256}  ../{previous}/tagmanifest-sha256.txt" | sha256sum --check --strict --quiet'
        if previous
        else 'grep -qx "Previous-Record: none" bag-info.txt'
    )
    before = (
        f"4. The record before it, {previous}, is there (beside this folder) and is the one that was sealed:"
        if previous
        else "4. It is the guest's first record: there is none before it."
    )
    token = (
        f"""
A time stamp was asked for from {time_stamp}. If there is a {TOKEN} here, it says since
when the signature exists at the latest (CA is the service's certificate authority, got by another way):

    openssl ts -verify -data {SIGNATURE} -in {TOKEN} -CAfile "$CA"
"""
        if time_stamp
        else ""
    )
    unless = f" ! -path ./{TOKEN}" if time_stamp else ""
    approvals = (
        f"""Approvals are signed, too. This ends with 0 if each of them was signed by whom it names, when it was given:

{APPROVALS}

The approval of this record's plan is the one whose line `plan:` is what `sha256sum data/plan.json` prints; its lines
`vmdk:` and `machine:` name the disk and the machine in vSphere. Those of earlier plans and disks are kept, too."""
        if any(name.startswith("data/approvals/") and name.endswith(".txt") for name in names)
        else "Approvals are signed, too. There is none in this record."
    )
    origin = {"The runbook": provenance.runbook, "The program": provenance.software}
    whose = "\n".join(f"{what} is {words}." for what, words in origin.items() if words != NONE)
    hand = f"\nIt was run by hand: {provenance.by_hand}. The notebook has the cells in the order of execution."
    return f"""Record {identifier}
sealed {sealed:%Y-%m-%d %H:%M:%S} UTC

WHAT THIS IS

Evidence of the move of the guest {guest} from Xen to VMware vSphere, sealed by Hikkoshi. {who}
It is a BagIt folder (RFC 8493): data/ holds the evidence, manifest-sha256.txt the hash of every file in it, and
tagmanifest-sha256.txt the hash of that list and of bag-info.txt, which says what was done, how it ended and what came
before. The signature ({SIGNATURE}) is over that last list. How it ended: grep Outcome bag-info.txt

In data/: the notebook as it was executed (*.ipynb, runs/), the runbook it was made from (runbook/; NAME.ja.ipynb: in
Japanese, as it was read), the parameters (params/), the plan (plan.json) and who approved it (approvals/), the journal of
all that was done to the guest until then (journal.jsonl: every line has the hash of the one before), what was seen and made
(evidence/), what stays out for its size, with its hash (left-out.tsv), the programs used (environment.json,
requirements.lock), and who was trusted to sign (signers/). A record whose name ends with -guest tells the whole story: it
holds the report as well (reports/), and the register of all records as it was then (register.tsv).

Whether runbook and program are the project's own, as its commit (Runbook-Commit in bag-info.txt) has them:
{whose}{hand if provenance.by_hand else ""}
Whoever has the project can ask it: git show COMMIT:notebooks/NAME.ipynb | sha256sum is Runbook-Project-SHA256. Where the runbook
is another, the project's own is in runbook-of-the-project/. Notebooks that differ only in what they show, in the
values of their parameters, or by the project's own Japanese in the place of their texts, count as the same.

Of the guest it holds the texts of the files that the move changed, its NICs, kernels and partitions, and what its console
showed when it was rehearsed; no disk. Passwords and keys in these texts that are known by their names or forms (boot menus,
mounts, networks, the Xen configuration) are not in it: HIKKOSHI-SECRET-0001 and so on stand for them. Others may be: give it
to those only who may read the guest's settings.

WHAT IT PROVES

That whoever holds the signing key sealed exactly these files, that nothing was changed, added or taken away since, and that
the record before it is the one that was there at that time.

WHAT IT DOES NOT PROVE

* That the operator's machine told the truth: a signature does not make a lie true.
* When it was sealed, unless a time stamp says so: the time is the word of the operator's machine.
* That it is the newest record. If the newest ones are deleted together with their lines in register.tsv, only somebody who
  kept the register's last line can tell. Keep it: in a mail, in a ticket, on paper.

HOW TO CHECK IT

With a shell, OpenSSH (9.1 or later) and coreutils, in the folder that this file is in. Whoever exchanges a record exchanges
this text, too: take the commands from a copy that you trust. Get the list of allowed signers, and of revoked keys if there
is one, from somebody you trust and NOT from this record, and say where they are (leave REVOKED away if there is none):

    ALLOWED=/path/to/allowed_signers REVOKED=/path/to/revoked

Each of the four commands ends with 0 if all is well. Repeat them in every record beside this one: command 4 looks at one
link of the chain only. On macOS, write `shasum -a 256 -c` for `sha256sum --check --strict --quiet`.

1. Who sealed it, with a key that was good at that time and is not revoked:

    TZ=UTC ssh-keygen -Y verify -f "$ALLOWED" -r "${{REVOKED:-/dev/null}}" -I {shlex.quote(signer or "nobody")} \
-n evidence -O verify-time={sealed:%Y%m%d%H%M%S}Z -s {SIGNATURE} < tagmanifest-sha256.txt

2. Nothing is changed or missing:

    sha256sum --check --strict --quiet tagmanifest-sha256.txt manifest-sha256.txt

3. Nothing is added, and this folder is the record it says it is: so many files, folders, things that are neither, name.

    test "$(echo $(find . -type f ! -path ./{SIGNATURE}{unless} | wc -l) $(find . -type d | wc -l) \
$(find . ! -type f ! -type d | wc -l) $(basename "$PWD"))" = "{files} {folders} 0 {record}"

{before}

    {chain}
{token}
{approvals}

`hikkoshi verify` does all of this for all records at once, and checks the register as well.
"""
