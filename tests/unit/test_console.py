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


HVC0 = "/etc/init/hvc0.conf"
JOB = "start on stopped rc RUNLEVEL=[2345]\nrespawn\nexec /sbin/getty -8 38400 {}\n"


@pytest.mark.parametrize(
    ("texts", "after"),
    [
        ({"/etc/init/hvc0.conf": JOB.format("hvc0")}, {"/etc/init/hvc0.conf": JOB.format("tty1")}),
        ({"/etc/init/hvc0.conf": JOB.format("hvc0"), "/etc/init/tty1.conf": JOB.format("tty1")}, {"/etc/init/hvc0.conf": None}),
        ({"/etc/init/tty1.conf": JOB.format("hvc0")}, {"/etc/init/tty1.conf": JOB.format("tty1")}),
        (
            {"/etc/init/hvc0.conf": JOB.format("hvc0"), "/etc/init/start-ttys.conf": "start on stopped rc\nexec x TTY=$tty\n"},
            {"/etc/init/hvc0.conf": None},
        ),
        *(
            ({HVC0: JOB.format("hvc0"), **off}, {HVC0: JOB.format("tty1")})
            for off in (
                {"/etc/init/tty1.conf": JOB.format("tty1"), "/etc/init/tty1.override": "manual\n"},
                {"/etc/init/tty1.conf": JOB.format("tty1") + "manual\n"},
                {"/etc/init/tty1.conf": "#" + JOB.format("tty1")},
                {"/etc/init/tty1.conf": "# disabled\n"},
                {"/etc/init/tty1.conf": ""},
                {"/etc/init/tty1.conf": "".join(f"#{line}\n" for line in JOB.format("tty1").splitlines())},
                {"/etc/init/tty1.conf": JOB.format("tty2")},
                {"/etc/init/tty2.conf": JOB.format("tty2")},
                {"/etc/init/start-ttys.conf": "start on stopped rc\nmanual\nexec initctl start tty TTY=$tty\n"},
            )
        ),
        (
            {HVC0: JOB.format("hvc0"), "/etc/init/tty1.conf": JOB.format("tty1"), "/etc/init/tty1.override": "# manual\n"},
            {HVC0: None},
        ),
        (
            {HVC0: JOB.format("hvc0"), "/etc/init/tty1.conf": "manual\n" + JOB.format("tty1")},  # it is started again
            {HVC0: None},
        ),
        ({HVC0: JOB.format("hvc0"), "/etc/init/hvc0.override": "manual\n"}, {HVC0: JOB.format("tty1")}),
        (
            {HVC0: "exec /sbin/getty hvc0\n", "/etc/init/xvc0.conf": JOB.format("xvc0")},  # that which is started
            {HVC0: None, "/etc/init/xvc0.conf": JOB.format("tty1")},
        ),
        (
            {HVC0: "start on filesystem\nenv TTY=hvc0\nexec /sbin/getty -8 38400 $TTY\n"},
            {HVC0: "start on filesystem\nenv TTY=tty1\nexec /sbin/getty -8 38400 $TTY\n"},
        ),
        (
            {HVC0: "start on filesystem\nscript\n exec /sbin/getty -8 \\\n 38400 hvc0\nend script\n"},
            {HVC0: "start on filesystem\nscript\n exec /sbin/getty -8 \\\n 38400 tty1\nend script\n"},
        ),
        (
            {HVC0: "start on filesystem\nexec /bin/login -f root < /dev/hvc0\n"},
            {HVC0: "start on filesystem\nexec /bin/login -f root < /dev/tty1\n"},
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


@pytest.mark.parametrize(
    ("texts", "folder"),
    [
        ({"/etc/init/tty1.conf": JOB.format("tty1")}, ""),
        ({"/etc/init/tty2.conf": JOB.format("tty2")}, ""),
        ({"/etc/init/tty1.conf": JOB.format("tty1"), "/etc/init/tty1.override": "manual\n"}, "/etc/init"),
        ({"/etc/init/tty1.conf": "# off\n"}, "/etc/init"),
        ({"/etc/event.d/ttyS0": JOB.format("ttyS0")}, "/etc/event.d"),
        ({"/etc/init/start-ttys.conf": "start on stopped rc\n", "/etc/sysconfig/init": "ACTIVE_CONSOLES=/dev/tty[1-6]\n"}, ""),
        ({"/etc/init/start-ttys.conf": "start on stopped rc\n"}, ""),
        ({"/etc/init/start-ttys.conf": "start on stopped rc\n", "/etc/sysconfig/init": "ACTIVE_CONSOLES=\n"}, "/etc/init"),
        ({"/etc/init/start-ttys.conf": "manual\n"}, "/etc/init"),
        ({}, ""),
    ],
)
def test_jobs_that_ask_for_no_login_on_the_screen_are_told(texts: dict[str, str], folder: str) -> None:
    assert console.jobless(texts) == folder


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (
            "1:S:respawn:/sbin/getty 38400 tty1\nh0:2345:respawn:/sbin/getty 38400 hvc0\n",
            "h0:2345:respawn:/sbin/getty 38400 tty1",
        ),
        ("#1:S:respawn:/sbin/getty tty1\nh0:2345:respawn:/sbin/getty hvc0\n", "h0:2345:respawn:/sbin/getty tty1"),
        ("id:3:initdefault:\n1:2:respawn:/sbin/getty tty1\nh0:3:respawn:/sbin/getty hvc0\n", "h0:3:respawn:/sbin/getty tty1"),
        ("h0:2345:respawn:/sbin/getty 38400 hvc0 # not tty1\n", "h0:2345:respawn:/sbin/getty 38400 tty1 # not tty1"),
        ("1:2345:off:/sbin/getty tty1\nh0:2345:respawn:/sbin/getty hvc0\n", "h0:2345:respawn:/sbin/getty tty1"),
    ],
)
def test_a_getty_on_the_screen_that_does_not_run_is_none(rows: str, line: str) -> None:
    after = console.inittab(rows, "/sbin/getty")
    assert line in after.split("\n")
    assert "hvc0" not in after
    assert not console.missing(SYSINIT + after)


def test_the_screen_by_an_older_name_is_the_screen() -> None:
    before = "1:2345:respawn:/sbin/getty 38400 vc/1\n"
    assert console.inittab(SYSINIT + before + "h0:2345:respawn:/sbin/getty 38400 hvc0\n", "/sbin/getty") == SYSINIT + before
    assert not console.missing(SYSINIT + before)
    assert console.missing(SYSINIT + "1:S:respawn:/sbin/getty 38400 tty1\n")
    assert console.missing(SYSINIT + "1:2345:off:/sbin/getty 38400 tty1\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('ACTIVE_CONSOLES="/dev/hvc[0-1]"\n', 'ACTIVE_CONSOLES="/dev/tty1"\n'),
        ("export ACTIVE_CONSOLES=/dev/hvc0 # xen\n", "export ACTIVE_CONSOLES=/dev/tty1 # xen\n"),
        ('ACTIVE_CONSOLES="/dev/hvc0 /dev/tty1"\n', 'ACTIVE_CONSOLES="/dev/tty1"\n'),
        ('ACTIVE_CONSOLES="/dev/hvc0 /dev/tty[1-6]"\n', 'ACTIVE_CONSOLES="/dev/tty[1-6]"\n'),
        ("env ACTIVE_CONSOLES=/dev/hvc*\n", "env ACTIVE_CONSOLES=/dev/tty1\n"),
        ("# ACTIVE_CONSOLES=/dev/hvc0\n", "# ACTIVE_CONSOLES=/dev/hvc0\n"),
    ],
)
def test_consoles_of_every_spelling_become_the_screens(before: str, after: str) -> None:
    assert console.active(before) == after
    assert console.active(after) == after


def test_the_consoles_of_enterprise_linux_6_are_the_screens() -> None:
    assert console.active("ACTIVE_CONSOLES=/dev/hvc0\n") == "ACTIVE_CONSOLES=/dev/tty1\n"
    assert console.active("ACTIVE_CONSOLES=/dev/tty[1-6]\n# hvc0\n") == "ACTIVE_CONSOLES=/dev/tty[1-6]\n# hvc0\n"


def test_root_may_log_in_on_the_screen_and_on_no_console_of_xens() -> None:
    assert console.securetty("hvc0\nhvc1\nxvc0\nttyS0\n") == "ttyS0\ntty1\n"
