"""The reader of initrds: real layouts are read, and nothing that a hostile guest puts there does harm."""

import bz2
import contextlib
import gzip
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.guest import initrd

DATA = Path(__file__).parents[1] / "data/guest"


def newc(files: dict[str, bytes], *, magic: bytes = b"070701", trailer: bool = True) -> bytes:
    out = b""
    for name, content in [*files.items(), *([("TRAILER!!!", b"")] if trailer else [])]:
        raw = name.encode() + b"\0"
        fields = (1, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)
        out += magic + b"".join(b"%08X" % f for f in fields) + raw
        out += b"\0" * (-len(out) % 4) + content
        out += b"\0" * (-len(out) % 4)
    return out


def write(folder: Path, data: bytes) -> Path:
    path = folder / "initrd.img"
    path.write_bytes(data)
    return path


def test_names_the_modules_as_the_kernel_does(tmp_path: Path) -> None:
    files = {
        "bin/nash": b"x" * 999,
        "lib/scsi_mod.ko": b"abc",
        "lib/vmw-pvscsi.ko": b"",
        "lib/modules/2.6.32/kernel/mptspi.ko.gz": b"z",
        "lib/not.ko.txt": b"",
    }
    path = write(tmp_path, gzip.compress(newc(files)))
    assert initrd.modules(path) == ("mptspi", "scsi_mod", "vmw_pvscsi")
    assert initrd.names(path) == list(files)


@pytest.mark.parametrize("padding", [0, 3, 6, 7, 512])
def test_reads_several_archives_one_after_the_other_with_padding_between(tmp_path: Path, padding: int) -> None:
    first, second = newc({"a.ko": b"1"}), newc({"b.ko": b"2"})
    assert initrd.modules(write(tmp_path, gzip.compress(first + b"\0" * padding + second))) == ("a", "b")
    assert initrd.modules(write(tmp_path, gzip.compress(first) + gzip.compress(b"\0" * padding + second))) == ("a", "b")


def test_reads_what_cpio_made() -> None:
    assert initrd.modules(DATA / "initrd-el5-xenblk.img") == ("dm_mod", "ext3", "jbd", "scsi_mod", "sd_mod", "xenblk")


def test_reads_an_archive_that_is_not_compressed(tmp_path: Path) -> None:
    assert initrd.modules(write(tmp_path, newc({"lib/e1000.ko": b"1"}))) == ("e1000",)
    assert initrd.packer(write(tmp_path, newc({"lib/e1000.ko": b"1"}))) == ""


def _by(*argv: str) -> Callable[[bytes], bytes]:
    return lambda data: subprocess.run(argv, input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(gzip.compress, id="gzip"),
        pytest.param(lambda d: lzma.compress(d, check=lzma.CHECK_CRC32), id="xz"),
        pytest.param(lambda d: lzma.compress(d, format=lzma.FORMAT_ALONE), id="lzma"),
        pytest.param(bz2.compress, id="bzip2"),
        pytest.param(_by("zstd", "-q"), id="zstd", marks=pytest.mark.needs("zstd")),
        pytest.param(_by("lz4", "-l", "-q"), id="lz4", marks=pytest.mark.needs("lz4")),
    ],
)
def test_reads_what_is_compressed_behind_plain_archives(
    tmp_path: Path, pack: Callable[[bytes], bytes], request: pytest.FixtureRequest
) -> None:
    microcode = newc({"kernel/x86/microcode/GenuineIntel.bin": b"m" * 3001}) + b"\0" * 388
    main = newc({f"usr/lib/modules/6.1.0/kernel/{n}.ko": bytes([n]) * 9000 for n in range(40)})
    packed = pack(main)
    path = write(tmp_path, microcode + packed)
    assert initrd.names(path)[0] == "kernel/x86/microcode/GenuineIntel.bin"
    assert len(initrd.modules(path)) == 40
    assert initrd.packer(path) == next((p for p in ("gzip", "xz", "zstd") if f"[{p}]" in request.node.name), "")
    path = write(tmp_path, microcode + packed[: len(packed) // 2])
    with pytest.raises(BadInput, match="initrd cannot be read"):
        initrd.names(path)


@pytest.mark.needs("zstd")
def test_a_bomb_behind_a_program_is_refused_too(tmp_path: Path) -> None:
    bomb = _by("zstd", "-q")(newc({"zeros": bytes(30 << 20)}))
    with pytest.raises(BadInput, match="unpacks to more than 4 MiB"):
        initrd.names(write(tmp_path, bomb), unpacked=4 << 20)


@given(files=st.dictionaries(st.from_regex(r"[a-z0-9_/.-]{1,30}", fullmatch=True), st.binary(max_size=200), max_size=8))
def test_reads_back_every_name(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("initrd"), gzip.compress(newc(files)))
    assert initrd.names(path) == list(files)


# gzip's time of day would be in a test's name, and two processes would not agree on it
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x1f\x8b", "ended before"),
        (gzip.compress(newc({"a.ko": b"x" * 5000}), mtime=0)[:-40], "ended before"),
        (b"MZ this is no initrd", "no newc cpio archive"),
        (gzip.compress(b"MZ this is no initrd", mtime=0), "no newc cpio archive"),
        (newc({"a.ko": b"x" * 50})[:120], "in the middle of a file"),
        (newc({"abcdefgh.ko": b""}, trailer=False)[:114], "in the middle of a name"),
        (newc({"a": b""}, magic=b"070707"), "no newc cpio archive"),
        (b"070701" + b"g" * 104, "something else than numbers"),
        (b"070701" + b"0" * 88 + b"7FFFFFFF" + b"0" * 8, "bytes long"),
    ],
)
def test_what_is_no_initrd_is_refused_with_the_reason(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(BadInput) as e:
        initrd.names(write(tmp_path, data))
    assert words in e.value.problems[0].found
    assert e.value.problems[0].remedy


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(newc({"zeros": bytes(30 << 20)}))
    assert len(bomb) < 100_000
    with pytest.raises(BadInput, match="unpacks to more than 4 MiB"):
        initrd.names(write(tmp_path, bomb), unpacked=4 << 20)


def test_a_file_that_claims_four_gigabytes_is_refused(tmp_path: Path) -> None:
    honest = newc({"a": b""})
    lie = honest[:54] + b"FFFFFFFF" + honest[62:]
    with pytest.raises(BadInput, match="in the middle of a file"):
        initrd.names(write(tmp_path, lie))


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initrd, "ENTRIES", 10)
    with pytest.raises(BadInput, match="more than 10 entries"):
        initrd.names(write(tmp_path, newc({str(n): b"" for n in range(11)})))


@given(data=st.binary(max_size=400))
def test_garbage_never_raises_anything_else(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("initrd"), data)
    with contextlib.suppress(BadInput):
        initrd.names(path)


def test_an_archive_that_wants_a_gigabyte_of_dictionary_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 4096}]
    honest = lzma.compress(newc({"a.ko": b""}), format=lzma.FORMAT_ALONE, filters=[{**filters[0], "id": lzma.FILTER_LZMA1}])
    greedy = honest[:1] + (1 << 30).to_bytes(4, "little") + honest[5:]
    assert initrd.modules(write(tmp_path, honest.replace(honest[:5], b"\x5d\0\0\x10\0", 1))) == ("a",)
    with pytest.raises(BadInput, match="Memory"):
        initrd.names(write(tmp_path, greedy))


def test_names_that_are_nothing_but_long_are_refused(tmp_path: Path) -> None:
    many = newc({"n" * 4000: b""}, trailer=False) * 9000
    with pytest.raises(BadInput, match="their names more than 32 MiB"):
        initrd.names(write(tmp_path, gzip.compress(many)))
