"""Keep or go back: until when there is time, and a cut-over that waits for the hour that was agreed."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from hikkoshi.cli.main import app
from hikkoshi.errors import BadInput, Refused
from hikkoshi.fleet import appointment
from hikkoshi.fleet.console import Console
from hikkoshi.params.home import Home
from hikkoshi.run import decision
from hikkoshi.run.entry import JournalEntry
from hikkoshi.run.journal import Journal
from hikkoshi.run.step import CUTOVER, ROLLBACK

NOW = datetime.now(UTC).replace(microsecond=0)
ASKED = {"event": "start", "step": CUTOVER.id, "code": "source-off"}
PERMITTED = {"event": "permitted", "step": CUTOVER.id}
BACK = {"event": "step", "step": ROLLBACK.id, "code": "source-runs", "state": "done"}


def of(home: Home, *lines: dict[str, Any], window: int | None = 90) -> decision.Decision:
    """The decision, where these lines were written one minute after the other, the first ten minutes ago."""
    told = [{**line, "time": (NOW - timedelta(minutes=10 - n)).isoformat()} for n, line in enumerate(lines)]
    guest = home.guest("idp").model_copy(update={"window": window})
    return decision.of(guest, [JournalEntry.of_line(line) for line in told])


def test_the_window_begins_when_the_source_is_asked_to_go_off(home: Home) -> None:
    found = of(home, PERMITTED, ASKED)
    assert found.until == NOW + timedelta(minutes=81)
    assert "go back: hikkoshi run idp --only 75 --apply" in str(found)
    assert "minutes are left" in str(found)
    assert [row["decision"] for row in found.rows()] == ["keep", "go back"]


def test_where_the_source_was_off_before_it_begins_with_the_first_act_and_a_second_run_changes_nothing(home: Home) -> None:
    assert of(home, PERMITTED, PERMITTED).until == NOW + timedelta(minutes=80)


def test_after_a_rollback_there_is_a_new_window(home: Home) -> None:
    assert of(home, ASKED, BACK, PERMITTED).until == NOW + timedelta(minutes=82)
    assert of(home, ASKED, BACK).until is None


def test_a_window_that_is_over_says_so(home: Home) -> None:
    assert "over since" in of(home, ASKED, window=5).left


def test_parameters_that_cannot_be_read_are_not_in_the_way_of_what_is_told_last(home: Home) -> None:
    home.guest_file("idp").write_text("nonsense: true\n")
    assert decision.told(home, "idp").startswith("keep: nothing to do · go back: hikkoshi run idp --only 75 --apply")


@pytest.mark.parametrize(("lines", "untouched"), [((), True), ((PERMITTED,), False), ((ASKED, BACK), True)])
def test_a_cut_over_that_was_refused_before_it_acted_has_changed_nothing_and_says_so(
    home: Home, lines: tuple[dict[str, Any], ...], untouched: bool
) -> None:
    journal = Journal(home.folder("idp").journal)
    for line in lines:
        journal.append(**line)
    assert decision.told(home, "idp", ended_well=False).startswith("nothing was changed" if untouched else "keep: ")
    assert decision.told(home, "idp").startswith("keep: ")


def test_without_a_window_only_the_two_ways_are_told(home: Home) -> None:
    assert of(home, ASKED, window=None).left == "no `window` in the guest's parameters"


@pytest.mark.parametrize(("text", "hours"), [("22:30", 1.5), ("21:00", 24), ("6:05", 9 + 5 / 60), ("20:59", 24 - 1 / 60)])
def test_a_time_is_the_next_one_that_the_clock_shows(text: str, hours: float) -> None:
    now = datetime(2026, 11, 30, 21, tzinfo=UTC)
    assert appointment.at(text, now) - now == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "22", "24:00", "22:60", "tonight", "22:30:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="22:30"):
        appointment.at(text, NOW)


def waited(*, asleep: timedelta = timedelta()) -> str:
    clock, out = [NOW], io.StringIO()

    def sleep(seconds: float) -> None:
        clock[0] += timedelta(seconds=seconds) + asleep

    console = Console(out, redraw=True)
    appointment.wait(NOW + timedelta(seconds=90), console, lambda: clock[0], sleep)
    assert clock[0] >= NOW + timedelta(seconds=90)
    return out.getvalue()


def test_it_is_waited_until_then_and_told_how_long_that_is() -> None:
    assert "0:01:30 left" in waited()
    waited(asleep=timedelta(minutes=4))


def test_a_computer_that_was_asleep_at_the_time_begins_nothing_later() -> None:
    with pytest.raises(Refused, match="the time that was agreed is past"):
        waited(asleep=timedelta(minutes=7))


@pytest.mark.parametrize(
    "argv",
    [
        ("idp", "--at", "22:30"),
        ("idp", "--only", "70", "--at", "22:30"),
        ("idp", "gateway", "--only", "70", "--apply", "--at", "22:30"),
    ],
)
def test_an_hour_is_for_the_cut_over_of_one_guest_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HIKKOSHI_HOME", str(home.root))
    monkeypatch.setattr("hikkoshi.fleet.sequence.walk", lambda *about: pytest.fail("it began"))
    monkeypatch.setattr("hikkoshi.fleet.fleet.Fleet.run", lambda *about: pytest.fail("it began"))
    assert CliRunner().invoke(app, ["run", *argv]).exit_code == 2


def test_before_the_hour_everything_is_looked_at_and_what_is_red_ends_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """And when the time has come, it is looked at again: that is the run itself."""
    monkeypatch.setenv("HIKKOSHI_HOME", str(home.root))
    modes, code = [], [1]

    def walk(*about: Any) -> list[Any]:
        modes.append(about[3])
        return [type("Ended", (), {"exit_code": code[0], "error": "", "message": "", "plain": dict})]

    monkeypatch.setattr("hikkoshi.fleet.sequence.walk", walk)
    monkeypatch.setattr(appointment, "wait", lambda *about: modes.append("waited"))
    argv = ["run", "idp", "--only", "70", "--apply", "--at", "22:30"]
    assert CliRunner().invoke(app, argv).exit_code == 1
    assert modes == ["plan"]
    code[0] = 0
    modes.clear()
    assert CliRunner().invoke(app, argv).exit_code == 0
    assert modes == ["plan", "waited", "apply"]
