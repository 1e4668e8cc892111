"""The text of a VGA screen, from its memory."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.rehearsal import boot
from hikkoshi.rehearsal.screen import COLUMNS, MEMORY_BYTES, ROWS, Screen, lines
from hikkoshi.secret import redaction

DATA = Path(__file__).parents[1] / "data" / "rehearsal"
DUMPS = sorted(DATA.glob("*.vga.gz"))  # ENDING.START.vga.gz: 32 KiB from 0xb8000, START from the CRT controller


def dumped(path: Path) -> Screen:
    return Screen(gzip.decompress(path.read_bytes()), start=int(path.name.split(".")[1]))


def cells(*rows: str) -> bytes:
    """Video memory that shows these rows, grey on black."""
    text = "".join(row.ljust(COLUMNS) for row in rows)
    return b"".join(bytes([ord(c), 7]) for c in text)


def test_a_picture_that_may_show_a_secret_is_not_kept() -> None:
    """A login screen shows none; a kernel prints its command line."""
    login, booting = Screen(cells("gateway login: ")), Screen(cells("Kernel command line: ro rd.iscsi.password=CANARY"))
    drawn = Screen(b"", graphics=True)
    assert [boot._secret(s, "") for s in (login, booting, drawn)] == [False, True, False]
    assert boot._secret(drawn, f"Kernel command line: ro rd.iscsi.password={redaction.HIDDEN}")
    assert not boot._secret(login, f"Kernel command line: ro rd.iscsi.password={redaction.HIDDEN}"), "it has scrolled away"


def test_reads_the_screen_that_a_kernel_has_scrolled() -> None:
    assert dumped(DATA / "login.160.vga.gz").text.splitlines()[-4:] == [
        "CentOS release 5.11 (Final)",
        "Kernel 6.1.0-56-amd64 on an x86_64",
        "",
        "gateway login:",
    ]


def test_the_start_address_matters() -> None:
    scrolled = dumped(DATA / "kernel-panic.9760.vga.gz")
    assert "Kernel panic - not syncing" in scrolled.text
    assert "Kernel panic" not in Screen(scrolled.memory, start=0).text


@pytest.mark.parametrize("path", DUMPS, ids=lambda p: p.name)
def test_real_screens_have_words_and_no_control_characters(path: Path) -> None:
    text = dumped(path).text
    assert len(text.split()) > 5
    assert text.replace("\n", "").isprintable()


def test_an_empty_memory_is_an_empty_screen() -> None:
    assert lines(b"") == []
    assert Screen(bytes(MEMORY_BYTES)).text == ""


def test_a_graphics_mode_has_no_text_whatever_the_memory_holds() -> None:
    assert Screen(cells("left over")).text == "left over"
    assert Screen(cells("left over"), graphics=True).text == ""


def test_colours_are_not_text() -> None:
    assert lines(bytes([ord("o"), 0x41, ord("k"), 0x42])) == ["ok"]


def test_frames_of_code_page_437_are_read() -> None:
    assert lines(bytes([0xC9, 7, 0xCD, 7, 0xBB, 7])) == ["╔═╗"]


@given(st.binary(max_size=MEMORY_BYTES + 100), st.integers(0, 0xFFFF))
def test_any_memory_gives_at_most_a_screenful_of_printable_text(memory: bytes, start: int) -> None:
    shown = lines(memory, start)
    assert len(shown) <= ROWS
    assert all(len(line) <= COLUMNS and line == line.rstrip() for line in shown)
    assert all(c.isprintable() or c == "\xa0" for line in shown for c in line)


@given(st.lists(st.text("abc xyz", min_size=1, max_size=COLUMNS), max_size=ROWS), st.integers(0, MEMORY_BYTES // 2 - 1))
def test_the_same_screen_is_read_wherever_in_the_ring_it_begins(rows: list[str], start: int) -> None:
    memory = cells(*rows).ljust(MEMORY_BYTES, b"\0")
    at = start * 2
    rotated = memory[MEMORY_BYTES - at :] + memory[: MEMORY_BYTES - at]
    assert lines(rotated, start) == lines(memory)
