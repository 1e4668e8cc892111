"""Records that an earlier version sealed: they verify as they did, and what that version does not prove is said.

`tests/data/records/0.1.tar.xz` is a home as that version left it: params/, outputs/records, the guests' journals and the
public keys. Its first record was sealed before there was a key; one failed and has a time stamp; the cut-over was approved.
"""

import tarfile
from pathlib import Path

import pytest

from hikkoshi.approval.approver import trust
from hikkoshi.params.home import Home
from hikkoshi.record import missing, verification
from processes import hikkoshi
from sealed import shell

pytestmark = pytest.mark.needs("ssh-keygen", "openssl", "sha256sum")
DATA = Path(__file__).parents[1] / "data" / "records"
UNSIGNED = "idp/20261129T052803Z-10-survey"
GATEWAY = ("20-plan", "40-convert", "50-rehearse", "70-cutover", "85-offloads", "guest")


@pytest.fixture
def older(tmp_path: Path) -> Home:
    with tarfile.open(DATA / "0.1.tar.xz") as tar:
        tar.extraction_filter = lambda member, path: member  # it is ours, and the modes are part of what was sealed
        tar.extractall(tmp_path / "home")
    return Home(tmp_path / "home")


def test_records_of_version_0_1_verify_as_they_did(older: Home) -> None:
    ca = older.root / "outputs/keys/time-stamp-ca.pem"
    found = verification.verify(older.outputs / "records", trust(older, older.site()), ca)
    told = {r.identifier: [p.what for p in r.problems] for r in found.records}
    assert [name.partition("Z-")[2] for name in told if name.startswith("gateway/")] == list(GATEWAY)
    assert {name: whats for name, whats in told.items() if whats} == {UNSIGNED: ["the record is not signed"]}
    assert [str(p) for p in found.register] == []
    assert list(missing.check(older)) == []
    for record in found.records:  # what that version does not prove is said of each
        said = [n for n in record.notes if n.startswith("sealed by an earlier version, which did not prove whose runbook")]
        assert len(said) == 1, record.identifier
    (cut_over,) = (r for r in found.records if r.identifier.endswith("70-cutover"))
    assert "approved by an earlier version: it is not proved which disk and machine that was of" in cut_over.notes


def test_the_commands_in_their_own_readmes_say_the_same(older: Home) -> None:
    for record in (older.outputs / "records").glob("*/*"):
        expected = [1] if f"{record.parent.name}/{record.name}" == UNSIGNED else []
        assert shell(record, trust(older, older.site())) == expected, record


def test_the_command_ends_as_it_did(older: Home) -> None:
    done = hikkoshi(older, "verify")
    assert done.returncode == 1
    assert done.stderr.count("what to do:") == 1
    assert "the record is not signed" in done.stderr
