"""`hikkoshi status --watch`: looked at again and again, until somebody ends it."""

import fcntl
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from hikkoshi.cli import standing
from hikkoshi.fleet.watch import ALL, Watch
from hikkoshi.params.home import Home
from hikkoshi.record.engine.interruption import Stopped
from hikkoshi.run import status
from hikkoshi.run.journal import Journal
from processes import on_a_terminal
from processes import without_a_process as hikkoshi


def ran(home: Home, guest: str, outcome: str) -> None:
    about = {"run": f"1-{outcome}", "step": "40-convert", "mode": "apply"}
    Journal(home.folder(guest).journal).append("outcome", **about, outcome=outcome)


def test_in_a_log_it_is_a_line_for_each_guest_that_is_not_as_it_was(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    moments: list[Callable[[], None]] = [lambda: ran(home, "idp", "failed"), lambda: None]

    def sleep(seconds: float) -> None:
        if not moments:
            raise Stopped(signal.SIGINT)
        moments.pop(0)()

    monkeypatch.setattr(standing.time, "sleep", sleep)
    done = hikkoshi(home, "status", "--watch")
    assert (done.returncode, done.stderr) == (130, "")
    assert [line.partition(" ")[2] for line in done.stdout.splitlines()] == [
        "gateway     │ –: never",
        "idp         │ –: never",
        "idp         │ 40-convert (apply): failed",
    ]


def test_on_a_terminal_it_is_the_table_drawn_again_and_ctrl_c_ends_it_without_a_word(home: Home) -> None:
    code, shown = on_a_terminal(home, "status", "--watch", answers=[("never", "\x03")])
    assert code == 130
    assert "hikkoshi run idp" in shown
    assert "stopped" not in shown


def test_with_json_it_would_never_end(home: Home) -> None:
    assert hikkoshi(home, "status", "--watch", "--json").returncode == 2


def test_who_needs_to_be_looked_at_comes_first(home: Home) -> None:
    ran(home, "idp", "failed")
    ran(home, "gateway", "succeeded")
    assert [s.guest for s in Watch(home).look()] == ["idp", "gateway"]


def test_only_what_may_have_changed_is_read_again_and_once_a_minute_everything(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    own = status._of

    def of(home: Home, guest: str) -> status.GuestStatus:
        read.append(guest)
        return own(home, guest)

    monkeypatch.setattr(status, "_of", of)
    ran(home, "idp", "failed")
    watch = Watch(home)

    def look() -> list[str]:
        read.clear()
        watch.look()
        return list(read)

    assert look() == ["gateway", "idp"]
    assert look() == []
    ran(home, "idp", "succeeded")
    assert look() == ["idp"]
    lock = home.folder("idp").lock
    with Path(lock).open("w") as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        assert [look(), look()] == [["idp"], ["idp"]]
    assert [look(), look()] == [["idp"], []]
    seven_looks = 7
    assert not any(look() for _ in range(ALL - seven_looks))
    assert look() == ["gateway", "idp"]
