"""What is handed to a contractor: all of it, of what was rehearsed, in a folder of its own; or nothing at all."""

import hashlib
import json
import tarfile
from datetime import datetime
from pathlib import Path

import pytest

from hikkoshi.errors import BadInput, Busy, Refused, StepFailed
from hikkoshi.params.home import Home
from hikkoshi.record import evidence
from hikkoshi.rehearsal.outcome import Ending
from hikkoshi.rehearsal.rehearsal import Rehearsal
from hikkoshi.report import handover, pdf
from hikkoshi.report.handover import HandOver
from hikkoshi.run import lock
from journey import MAC, Move, words


@pytest.fixture
def move(home: Home, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Rehearsed, with a file in the place of the VMDK. There is no Chromium: nothing is started here."""
    monkeypatch.setattr(pdf, "PROGRAMS", ("no-such-chromium",))
    return Move(home).with_vmdk()


def left(move: Move) -> list[Path]:
    return list(move.home.handovers.glob("*"))


def test_the_folder_holds_the_ova_and_the_sheet_and_the_journal_tells_every_sum(move: Move) -> None:
    done = handover.write(move.home, "idp", "ova")
    folder = Path(done.folder)
    assert left(move) == [folder]
    assert sorted(p.name for p in folder.iterdir()) == ["idp.ova", "sheet.html"]
    assert {f.name: f.sha256 for f in done.files} == {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()
    }
    line = move.journal.entries()[-1].line
    assert (line["event"], line["files"]) == ("handed-over", json.loads(done.model_dump_json())["files"])
    assert list(move.journal.foreign()) == []
    assert HandOver.load(move.folder) == done
    assert move.folder.handover_sheet.read_bytes() == (folder / "sheet.html").read_bytes()
    sealed = evidence.of_guest(move.home, "idp", move.journal.entries()).payload
    assert {"evidence/handover.json", "evidence/handover-sheet.html"} <= set(sealed)
    with tarfile.open(folder / "idp.ova") as tar:
        assert tar.getnames() == ["idp.ovf", "idp.mf", "idp.vmdk"]


def test_as_ovf_each_file_stands_alone_and_its_sum_is_on_the_sheet(move: Move, tmp_path: Path) -> None:
    done = handover.write(move.home, "idp", "ovf", tmp_path)
    assert Path(done.folder).parent == tmp_path
    assert {p.name for p in Path(done.folder).iterdir()} == {"idp.ovf", "idp.mf", "idp.vmdk", "sheet.html"}
    page = words((Path(done.folder) / "sheet.html").read_text())
    assert [f.name for f in done.files if f.name != "sheet.html" and f.sha256 not in page] == []


@pytest.mark.parametrize(("lang", "warning"), [("en", "Do not start this machine"), ("ja", "起動しないでください")])
def test_the_sheet_is_in_the_sites_language_and_has_every_nic(move: Move, lang: str, warning: str) -> None:
    site = move.home.site_file
    site.write_text(site.read_text().replace("lang: en", f"lang: {lang}"))
    page = words((Path(handover.write(move.home, "idp", "ova").folder) / "sheet.html").read_text())
    nic = move.plan.vm.nics[0]
    assert warning in page
    assert f"{MAC} {nic.vlan} {nic.port_group} ☐" in page
    assert "VMware Paravirtual" in page


def test_a_disk_that_was_not_rehearsed_is_not_handed_over(move: Move) -> None:
    move.folder.rehearsal.unlink()
    with pytest.raises(Refused) as refused:
        handover.write(move.home, "idp", "ova")
    assert [p.code for p in refused.value.problems] == ["vmdk-rehearsed"]
    assert left(move) == []


def test_a_guest_that_did_not_come_to_its_login_is_not_handed_over(move: Move) -> None:
    seen = Rehearsal.load(move.folder)
    seen.model_copy(update={"after": seen.after.model_copy(update={"ending": Ending.GRUB_ERROR})}).save(move.folder)
    with pytest.raises(Refused) as refused:
        handover.write(move.home, "idp", "ova")
    assert [p.code for p in refused.value.problems] == ["login-reached"]


def test_parameters_that_changed_since_the_plan_are_told(move: Move) -> None:
    site = move.home.site_file
    site.write_text(site.read_text().replace(move.plan.vm.nics[0].port_group, "another-group"))
    with pytest.raises(Refused) as refused:
        handover.write(move.home, "idp", "ova")
    assert [p.code for p in refused.value.problems] == ["plan-of-parameters"]


def test_a_disk_that_changed_since_leaves_nothing_behind(move: Move) -> None:
    move.folder.vmdk.write_bytes(b"bytes of a dusk" * 999)
    with pytest.raises(StepFailed, match="not the one that was converted"):
        handover.write(move.home, "idp", "ova")
    assert left(move) == []
    assert not move.folder.handover.exists()


def test_what_is_there_already_is_never_overwritten(move: Move, tmp_path: Path) -> None:
    first = handover.write(move.home, "idp", "ova", tmp_path)
    stamp = Path(first.folder).name
    (Path(first.folder) / "idp.ova").write_bytes(b"mine")

    class Then(datetime):  # the same second again
        @classmethod
        def now(cls, tz: object = None) -> "Then":
            return cls.fromisoformat(first.time.isoformat())  # type: ignore[return-value]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handover, "datetime", Then)
        with pytest.raises(StepFailed, match="cannot be written"):
            handover.write(move.home, "idp", "ova", tmp_path)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("idp-")] == [stamp]
    assert (tmp_path / stamp / "idp.ova").read_bytes() == b"mine"


def test_a_hand_over_that_the_journal_cannot_tell_of_leaves_nothing_behind(move: Move) -> None:
    move.folder.journal.unlink()
    move.folder.journal.mkdir()
    with pytest.raises(BadInput, match="not a file of its own"):
        handover.write(move.home, "idp", "ova")
    assert left(move) == []
    assert not move.folder.handover.exists()


def test_while_a_run_is_at_work_on_the_guest_nothing_is_handed_over(move: Move) -> None:
    with lock.acquire(move.folder.lock, "a run", wait=0), pytest.raises(Busy):
        handover.write(move.home, "idp", "ova")


def test_what_a_killed_hand_over_left_is_removed_by_the_next_and_nothing_of_another_guest(move: Move) -> None:
    for name in ("idp-20260101T000000Z.part", "idp-2-20260101T000000Z.part"):
        (move.home.handovers / name).mkdir(parents=True)
    done = handover.write(move.home, "idp", "ova")
    assert {p.name for p in left(move)} == {"idp-2-20260101T000000Z.part", Path(done.folder).name}


def test_a_folder_that_is_not_there_is_not_made(move: Move, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not there"):
        handover.write(move.home, "idp", "ova", tmp_path / "not-mounted")
