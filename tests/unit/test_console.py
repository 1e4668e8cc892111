"""Where one logs in afterwards: on the screen, by a program that the guest has, and nowhere on a console of Xen's."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.guest.files import console

DATA = Path(__file__).parents[1] / "data/boot"
SYSINIT = "si::sysinit:/etc/init.d/rcS\n"
ROWS = st.sampled_from(
    [
        *("1:2345:respawn:/sbin/getty 38400 hvc0", "#1:23:respawn:/sbin/getty 38400 tty1", "2:23:respawn:/sbin/getty tty2"),
        *("co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav", "x1:2:respawn:/sbin/mingetty tty1", "# hvc0", "l0:0:wait:/x"),
        *("h0:2345:respawn:/sbin/agetty -L 115200 hvc0 xterm", "si::sysinit:/x", ""),
    ]
)


def test_debians_getty_moves_from_xens_console_to_the_screen() -> None:
    before = (DATA / "inittab-debian-hvc0").read_text()
    after = console.inittab(before, "/sbin/getty")
    assert after == before.replace("38400 hvc0", "38400 tty1")
    assert console.inittab(after, "/sbin/getty") == after


@pytest.mark.parametrize(
    ("table", "getty", "line"),
    [
        ("co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav\n", "", "co:2345:respawn:/sbin/agetty tty1 9600 linux"),
        ("h0:2345:respawn:/sbin/agetty -L 38400 /dev/hvc0\n", "", "h0:2345:respawn:/sbin/agetty -L 38400 /dev/tty1"),
        ("X0:12345:respawn:/sbin/getty 115200 hvc0\n", "", "X0:12345:respawn:/sbin/getty 115200 tty1"),
        ("#1:2345:respawn:/sbin/mingetty tty1\nco:2:respawn:/sbin/agetty xvc0\n", "", "1:2345:respawn:/sbin/mingetty tty1"),
        ("S0:2:respawn:/sbin/mingetty --noclear hvc0 linux\n", "", "S0:2:respawn:/sbin/mingetty --noclear tty1 linux"),
        (SYSINIT, "/sbin/mingetty", "1:2345:respawn:/sbin/mingetty tty1"),
        (SYSINIT, "/sbin/getty", "1:2345:respawn:/sbin/getty 38400 tty1"),
        (SYSINIT, "/sbin/agetty", "1:2345:respawn:/sbin/agetty 38400 tty1"),
    ],
)
def test_the_program_is_one_that_the_guest_has(table: str, getty: str, line: str) -> None:
    assert line in console.inittab(table, getty).split("\n")
    assert "vc0" not in console.inittab(table, getty)


def test_without_a_program_nothing_is_added() -> None:
    assert console.inittab(SYSINIT) == SYSINIT
    assert console.missing(SYSINIT)  # and that is told
    assert not console.missing(SYSINIT + "2:23:respawn:/sbin/getty 38400 tty2\n")


@settings(max_examples=50)
@given(st.lists(ROWS, max_size=6))
def test_of_any_table_one_getty_is_on_the_screen_and_none_on_xens_console(rows: list[str]) -> None:
    before = "".join(row + "\n" for row in rows)
    after = console.inittab(before, "/sbin/getty")
    active = [row for row in after.split("\n") if not row.startswith("#")]
    assert not any("vc0" in row for row in active)
    if any("vc0" in row or "tty1" in row or "sysinit" in row for row in rows if row != "# hvc0"):
        assert any("tty1" in row for row in active)
    assert console.inittab(after, "/sbin/getty") == after


JOB = "start on stopped rc RUNLEVEL=[2345]\nrespawn\nexec /sbin/getty -8 38400 {}\n"


@pytest.mark.parametrize(
    ("texts", "after"),
    [
        ({"/etc/init/hvc0.conf": JOB.format("hvc0")}, {"/etc/init/hvc0.conf": JOB.format("tty1")}),
        ({"/etc/init/hvc0.conf": JOB.format("hvc0"), "/etc/init/tty1.conf": JOB.format("tty1")}, {"/etc/init/hvc0.conf": None}),
        ({"/etc/init/tty1.conf": JOB.format("hvc0")}, {"/etc/init/tty1.conf": JOB.format("tty1")}),
        (
            {"/etc/init/hvc0.conf": JOB.format("hvc0"), "/etc/init/start-ttys.conf": "exec initctl start tty TTY=$tty\n"},
            {"/etc/init/hvc0.conf": None},
        ),
        ({"/etc/event.d/xvc0": JOB.format("-L xvc0 vt100")}, {"/etc/event.d/xvc0": JOB.format("-L tty1 linux")}),
        ({"/etc/init/console.conf": "# hvc0 getty\nexec /sbin/getty tty1\n"}, {}),
    ],
)
def test_a_job_of_upstarts_on_xens_console_moves_to_the_screen_or_goes(
    texts: dict[str, str], after: dict[str, str | None]
) -> None:
    assert console.jobs(texts) == after
    assert console.jobs({**texts, **{p: t for p, t in after.items() if t}} if None not in after.values() else {}) == {}


def test_the_consoles_of_enterprise_linux_6_are_the_screens() -> None:
    assert console.active("ACTIVE_CONSOLES=/dev/hvc0\n") == "ACTIVE_CONSOLES=/dev/tty1\n"
    assert console.active("ACTIVE_CONSOLES=/dev/tty[1-6]\n# hvc0\n") == "ACTIVE_CONSOLES=/dev/tty[1-6]\n# hvc0\n"


def test_root_may_log_in_on_the_screen_and_on_no_console_of_xens() -> None:
    assert console.securetty("hvc0\nhvc1\nxvc0\nttyS0\n") == "ttyS0\ntty1\n"
