"""What became of a boot, told by screen and console."""

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.rehearsal import boot
from hikkoshi.rehearsal.outcome import Ending
from hikkoshi.rehearsal.screen import Screen
from hikkoshi.rehearsal.verdict import BootVerdict, verdict

DATA = Path(__file__).parents[1] / "data" / "rehearsal"
WORDS = {
    Ending.LOGIN: "gateway login:",
    Ending.GRUB_ERROR: "Error 13: Invalid or unsupported executable format",
    Ending.NO_BOOT_LOADER: "Boot failed: not a bootable disk",
    Ending.KERNEL_PANIC: "[    2.727090] ---[ end Kernel panic - not syncing: Attempted to kill init! exit",
    Ending.INITRAMFS_SHELL: "ALERT!  /dev/sdb2 does not exist.  Dropping to a shell!",
    Ending.FSCK_SHELL: "*** An error occurred during the file system check.",
}


def judged(screen: str = "", console: str = "") -> Ending | None:
    found = verdict(screen, console, seconds=1, timeout=180)
    return found.ending if found else None


@pytest.mark.parametrize("ending", WORDS)
def test_a_real_screen_is_judged_by_its_telling_line(ending: Ending) -> None:
    (path,) = DATA.glob(f"{ending}.*.vga.gz")
    screen = Screen(gzip.decompress(path.read_bytes()), start=int(path.name.split(".")[1])).text
    assert verdict(screen, "", seconds=1, timeout=180) == BootVerdict(ending, WORDS[ending])


@pytest.mark.parametrize(
    ("screen", "ending"),
    [
        ("GRUB Loading stage1.5.\n\n\nGRUB loading, please wait...\nError 17", Ending.GRUB_ERROR),
        ("GRUB Hard Disk Error", Ending.GRUB_ERROR),
        ("error: unknown filesystem.\nEntering rescue mode...\ngrub rescue>", Ending.GRUB_ERROR),
        ("Missing operating system.", Ending.NO_BOOT_LOADER),
        ('Generating "/run/initramfs/rdsosreport.txt"\nEntering emergency mode.\ndracut:/#', Ending.INITRAMFS_SHELL),
        ("You are in emergency mode. After logging in, type …\nGive root password for maintenance", Ending.FSCK_SHELL),
        ("(Repair filesystem) 1 #", Ending.FSCK_SHELL),
        ("gateway login: [   31.5] eth0: NIC Link is Up 10000 Mbps", Ending.LOGIN),
        ("Kernel panic - not syncing: VFS: Unable to mount root fs", Ending.KERNEL_PANIC),
    ],
)
def test_other_words_for_the_same_ends_are_known(screen: str, ending: Ending) -> None:
    assert judged(screen) == ending


@pytest.mark.parametrize(
    "screen",
    [
        "",
        "Booting from Hard Disk...",
        "Press `ESC' to enter the menu... 3",
        "[    1.2] EXT4-fs error: (device sda2)",
        "Last login: Sun Nov 22 on tty1",
        "Starting sshd: [  OK  ]",
    ],
)
def test_a_boot_that_goes_on_is_not_judged(screen: str) -> None:
    assert judged(screen) is None


def test_the_serial_console_counts_like_the_screen() -> None:
    assert judged(console="CentOS release 5.11 (Final)\r\n\r\nidp login: ") == Ending.LOGIN


def test_a_uefi_that_finds_nothing_to_start_says_so_in_colours() -> None:
    told = verdict("", (DATA / "no-boot-loader-uefi.console.txt").read_text(), seconds=9, timeout=180)
    assert told is not None
    assert told.ending == Ending.NO_BOOT_LOADER
    assert told.words.startswith('BdsDxe: starting Boot0002 "EFI Internal Shell" from Fv(')


def test_a_panic_is_not_taken_back_by_an_earlier_login_prompt() -> None:
    assert judged("idp login:", "Kernel panic - not syncing: Fatal exception\n" + "trace\n" * 60) == Ending.KERNEL_PANIC


def test_an_error_that_the_console_has_long_left_behind_does_not_count() -> None:
    passed = "Error 15: File not found\n"
    assert judged(console=passed) == Ending.GRUB_ERROR
    assert judged(console=passed + "[    1.0] kernel goes on\n" * 30) is None


def test_without_a_sign_the_last_line_is_quoted_when_time_is_up() -> None:
    assert verdict("GRUB _", "", seconds=179, timeout=180) is None
    assert verdict("GRUB _\n\n", "", seconds=180, timeout=180) == BootVerdict(
        Ending.TIMEOUT, "no verdict after 180 s; the last line is: GRUB _"
    )


def test_a_dark_screen_is_said_to_be_dark() -> None:
    found = verdict("", "", seconds=200, timeout=180)
    assert found is not None
    assert found.words.endswith("nothing is on screen or console")


@given(st.text(), st.text(), st.floats(0, 400))
def test_any_text_is_judged_without_failing_and_in_few_words(screen: str, console: str, seconds: float) -> None:
    found = verdict(screen, console, seconds, timeout=180)
    assert found is None or len(found.words) <= 300
    assert (found is not None) or seconds < 180


def test_of_a_console_without_end_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    serial = tmp_path / "serial"
    serial.write_bytes(b"begin" + b"x" * (3 * boot.CONSOLE) + b"end")
    said = boot._read(serial)
    assert said.startswith("begin")
    assert "left out" in said
    assert said.endswith("end")
    assert len(said) < 2 * boot.CONSOLE + 100
    serial.write_bytes(b"a few words")
    assert boot._read(serial) == "a few words"


def test_a_console_may_grow_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serial, read = tmp_path / "serial", os.pread
    serial.write_bytes(b"begin")

    def pread(fd: int, length: int, offset: int) -> bytes:
        said = read(fd, length, offset)
        with serial.open("ab") as f:
            f.write(b"x" * 100)
        return said

    monkeypatch.setattr(os, "pread", pread)
    assert boot._read(serial) == "begin"
