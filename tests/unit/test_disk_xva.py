"""XVA, the export of XenServer and XCP-ng, as a source: nothing of a disk is lost, and nothing damaged gets through."""

import ctypes
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exports import MIB, Member, blocks, export, member, ova, tar
from hikkoshi.disk import digest, stream, transfer, xva
from hikkoshi.disk.extents import RawDisk
from hikkoshi.disk.xva import Xva
from hikkoshi.errors import BadInput, Refused, StepFailed

SHARED_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None, derandomize=True
)
PIECES = st.dictionaries(st.integers(0, 6 * MIB), st.binary(min_size=1, max_size=900), max_size=5)
SIZES = st.one_of(st.integers(1, 6).map(lambda n: n * MIB), st.integers(1, 6 * MIB // 512).map(lambda n: n * 512))
DISK = (
    b"boot" + bytes(2 * MIB - 4) + b"data".ljust(MIB, b".") + bytes(MIB // 2)
)  # the second block is zeros, the last one is half
SOUND = export({"Ref:4": DISK})


def at(folder: Path, content: bytes) -> Path:
    (folder / "web.xva").write_bytes(content)
    return folder / "web.xva"


@SHARED_FOLDER
@given(SIZES, PIECES, st.sampled_from(["checksum", "xxhash"]), st.sets(st.integers(1, 4)), st.sampled_from([b"", b"ustar  \0"]))
def test_a_disk_is_in_its_export_byte_by_byte(
    tmp_path: Path, size: int, pieces: dict[int, bytes], kind: str, idle: set[int], magic: bytes
) -> None:
    disk = io.BytesIO(bytes(size))
    for place, piece in pieces.items():
        disk.seek(place)
        disk.write(piece)
    content = disk.getvalue()[:size]
    (tmp_path / "raw").write_bytes(content)
    path = at(tmp_path, tar(export({"Ref:9": b"x" * 512, "Ref:4": content}, kind, sorted(idle)), magic=magic))
    with Xva(path) as opened:
        disk_of = {one.entry.reference: one for one in opened.disks}
        source = disk_of["Ref:4"]
        assert source.size == size
        assert digest.of(source) == digest.content(tmp_path / "raw")
        assert source.read(size // 3, size // 2) == content[size // 3 : size // 3 + size // 2]
        assert digest.of(disk_of["Ref:9"])


def test_zeros_that_were_left_out_are_not_read(tmp_path: Path) -> None:
    big = ova({"Ref:4": 2 << 40})
    ends = [*blocks("Ref:4", b"a" * MIB)] + [(f"Ref:4/{n}", c) for n, c in (("02097151", bytes(MIB)),)]
    ends.append(("Ref:4/02097151.checksum", b"3b71f43ff30f4b15b5cd85dd9e95ebc7e84eb5a3"))
    with Xva(at(tmp_path, tar([("ova.xml", big.encode()), *ends]))) as opened:
        (source,) = opened.disks
        assert source.size == stream.LARGEST
        assert list(source.extents()) == [(0, MIB), ((2 << 40) - MIB, 2 << 40)]
        assert source.read((2 << 40) - 512, 512) == bytes(512)
        assert source.read(1 << 40, 512) == bytes(512)


def test_the_bootable_disk_comes_first_and_the_others_in_their_order(tmp_path: Path) -> None:
    disks = {"Ref:8": b"a" * 512, "Ref:6": b"b" * 512, "Ref:7": b"c" * 512}
    with Xva(at(tmp_path, tar(export(disks)))) as opened:
        assert [(disk.entry.vdev, disk.read(0, 1)) for disk in opened.disks] == [("xvdc", b"c"), ("xvda", b"a"), ("xvdb", b"b")]
        assert opened.disks[0].name == f"{tmp_path}/web.xva, xvdc"


def test_xxh64_is_that_of_its_specification() -> None:
    assert xva._xxh64()(b"", 0, 0) == 0xEF46DB3751D8E999
    assert xva._xxh64()(b"abc", 3, 0) == 0x44BC2CF5AD770999


def without(*names: str) -> Callable[[list[Member]], bytes]:
    return lambda all_: tar([one for one in all_ if one[0] not in names])


def instead(name: str, *others: Member) -> Callable[[list[Member]], bytes]:
    return lambda all_: tar([new for one in all_ for new in (others if one[0] == name else (one,))])


def described(text: str) -> Callable[[list[Member]], bytes]:
    return instead("ova.xml", ("ova.xml", text.encode()))


def flipped(place: int) -> Callable[[list[Member]], bytes]:
    """One bit of the content of the third block in the export, or of another place counted from there, is another."""

    def flip(all_: list[Member]) -> bytes:
        content = bytearray(tar(all_))
        content[content.index(b"data....") + place] ^= 1
        return bytes(content)

    return flip


def pairs(*numbers: int) -> Callable[[list[Member]], bytes]:
    """The export with these of its blocks, in this order, each with its checksum."""
    return lambda all_: tar([all_[0], *(one for n in numbers for one in all_[1 + 2 * n : 3 + 2 * n])])


FULL, HALF = DISK[:MIB], DISK[-MIB // 2 :]
DAMAGED: dict[str, tuple[Callable[[list[Member]], bytes], str, str]] = {
    "empty": (lambda _: b"", "xva-unknown", "something that is no tar at its beginning"),
    "a disk": (lambda _: DISK, "xva-unknown", "something that is no tar"),
    "an OVA": (lambda _: tar([("web.ovf", b"<x/>")]), "xva-unknown", "web.ovf at its beginning"),
    "a folder in front": (lambda _: member("ova.xml", b"", kind=b"5"), "xva-unknown", "at its beginning"),
    "zstd": (lambda _: b"\x28\xb5\x2f\xfd" + DISK, "xva-packed", "zstd -dc < PACKED > NAME.xva"),
    "gzip": (lambda _: b"\x1f\x8b\x08" + DISK, "xva-packed", "gunzip -c < PACKED"),
    "cut off in ova.xml": (lambda a: tar(a)[:700], "xva-cut-off", "its end at 700"),
    "cut off in a block": (lambda a: tar(a)[: 2 * MIB], "xva-cut-off", "its end in 'Ref:4/00000002'"),
    "cut off before a checksum": (lambda a: tar(a[:-1]), "xva-cut-off", "its end behind 'Ref:4/00000003'"),
    "cut off before its end": (lambda a: tar(a)[:-1024], "xva-cut-off", "two sectors of zeros"),
    "cut off after a block": (without("Ref:4/00000003", "Ref:4/00000003.checksum"), "xva-damaged", "and no block 3"),
    "without its first block": (pairs(1, 2), "xva-damaged", "and no block 0"),
    "without blocks": (pairs(), "xva-damaged", "0 blocks, and no block 0"),
    "a block twice": (pairs(0, 1, 1, 2), "xva-damaged", "'Ref:4/00000002', twice"),
    "blocks out of order": (pairs(1, 0, 2), "xva-damaged", "'Ref:4/00000000', behind block 00000002"),
    "a short block": (instead("Ref:4/00000002", ("Ref:4/00000002", FULL[:512])), "xva-damaged", "512 bytes"),
    "a last block that is too long": (instead("Ref:4/00000003", ("Ref:4/00000003", FULL)), "xva-damaged", "524,288 bytes"),
    "a block behind the end": (
        instead("Ref:4/00000003", ("Ref:4/00000004", HALF)),
        "xva-damaged",
        "'Ref:4/00000004', behind the end of the disk",
    ),
    "a name that is no number": (instead("Ref:4/00000002", ("Ref:4/0000000x", FULL)), "xva-damaged", "'Ref:4/0000000x'"),
    "a name that leads elsewhere": (instead("Ref:4/00000002", ("../00000002", FULL)), "xva-damaged", "'../00000002'"),
    "a disk that nobody described": (instead("Ref:4/00000002", ("Ref:5/00000002", FULL)), "xva-damaged", "'Ref:5/00000002'"),
    "a link": (lambda a: tar(a[:3])[:-1024] + member("Ref:4/00000001", b"", kind=b"2"), "xva-damaged", "which is no file"),
    "a size below none": (
        lambda a: tar(a[:3])[:-1024] + member("Ref:4/00000002", b"", size=b"\xff" * 12) + bytes(1024),
        "xva-damaged",
        "which is no file",
    ),
    "no checksum": (without("Ref:4/00000002.checksum"), "xva-block-without-checksum", "'Ref:4/00000003' behind it"),
    "the checksum of another block": (
        instead("Ref:4/00000000.checksum", ("Ref:4/00000002.checksum", b"")),
        "xva-block-without-checksum",
        "'Ref:4/00000002.checksum' behind it",
    ),
    "a checksum that is none": (instead("Ref:4/00000002.checksum", ("Ref:4/00000002.checksum", b"-")), "xva-damaged", "found: "),
    "a flipped bit in a block": (flipped(0), "xva-damaged", "Ref:4/00000002\n"),
    "a flipped bit in a checksum": (flipped(MIB + 513), "xva-damaged", "as the checksum behind it says"),
    "a flipped bit in a header": (flipped(MIB), "xva-damaged", "no header of tar: bad checksum"),
    "empty blocks that are none": (
        instead("Ref:4/00000002", ("Ref:4/00000001", b""), ("Ref:4/00000002", DISK[2 * MIB : 3 * MIB])),
        "xva-damaged",
        "1,048,576 bytes",
    ),
    "more objects than can be": (described(" " * (5 << 20)), "xva-damaged", "ova.xml of 5.0 MiB"),
    "another text in ova.xml": (lambda _: tar([("ova.xml", b"\xff\xfe<")]), "xva-damaged", "no text in UTF-8"),
    "no XML": (described("<value><struct>"), "xva-description-unusable", "no element found"),
    "entities": (described('<!DOCTYPE x [<!ENTITY a "b">]><value>&a;</value>'), "xva-description-unusable", "it declares"),
    "a deep nest": (described("<value><array><data>" * 30 + "</data></array></value>" * 30), "xva-description-unusable", "24"),
    "the form of old": (described("<appliance version='0.1'/>"), "xva-description-unusable", "XenServer 3 and 4.0"),
    "no guest": (described(ova({}).replace(">VM<", ">TM<")), "xva-description-unusable", "0 guests"),
    "suspended": (described(ova({"Ref:4": len(DISK)}, power_state="Suspended")), "xva-not-shut-down", "Suspended"),
    "a disk that is not there": (described(ova({"Ref:4": 1 << 20}).replace(">VDI<", ">X<", 2)), "xva-disk-unusable", "not part"),
    "a size that is none": (described(ova({"Ref:4": "-1"})), "xva-disk-unusable", "a size of '-1'"),
    "an odd size": (described(ova({"Ref:4": 1000})), "xva-disk-unusable", "a size of '1000'"),
    "a disk twice": (
        described(ova({"Ref:4": 512, "Ref:5": 512}).replace("Ref:5", "Ref:4", 1)),
        "xva-disk-unusable",
        "xvdb or Ref:4 twice",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_damaged_is_refused_with_what_where_and_what_to_do(tmp_path: Path, case: str) -> None:
    damage, code, words = DAMAGED[case]
    path = at(tmp_path, damage(SOUND))
    with pytest.raises(BadInput) as e, Xva(path) as opened:
        for disk in opened.disks:
            digest.of(disk)
    for problem in e.value.problems:
        assert problem.code == code, problem
        assert all((problem.what, problem.where, problem.found, problem.expected, problem.remedy)), problem
    assert words in str(e.value), str(e.value)


def test_an_export_that_somebody_writes_to_is_noticed(tmp_path: Path) -> None:
    path = at(tmp_path, tar(SOUND))
    with Xva(path) as opened:
        path.write_bytes(tar(SOUND) + b"\0")
        with pytest.raises(StepFailed, match="changed while it was read"):
            digest.of(opened.disks[0])


def test_without_the_library_for_its_checksums_an_export_is_not_read_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    path = at(tmp_path, tar(export({"Ref:4": DISK}, "xxhash")))
    xva._xxh64.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", none)
    with pytest.raises(StepFailed, match="libxxhash0"), Xva(path):
        pass


def test_each_disk_becomes_a_vmdk_or_the_one_that_is_named(tmp_path: Path) -> None:
    path = at(tmp_path, tar(export({"Ref:4": DISK, "Ref:5": b"second" * 1024})))
    with transfer.opened([str(path)]) as disks:
        names = transfer.targets(tmp_path / "web.vmdk", disks)
        made = [transfer.convert(disk, name) for disk, name in zip(disks, names, strict=True)]
        assert [name.name for name in names] == ["web.vmdk", "web-2.vmdk"]
        with pytest.raises(Refused, match="there already"):
            transfer.targets(tmp_path / "web.vmdk", disks)
        with pytest.raises(BadInput, match="name one by --disk"):
            transfer.only(disks)
    (tmp_path / "raw").write_bytes(DISK)
    assert [one.read.content for one in made][1] == digest.content(tmp_path / "raw")
    with transfer.opened([str(path)], "xva", vdev="xvda") as disks:
        assert transfer.only(disks).size == len(DISK)


def test_what_an_export_cannot_be_is_refused(tmp_path: Path) -> None:
    path = str(at(tmp_path, tar(SOUND)))
    (tmp_path / "web.xva.gz").write_bytes(gzip.compress(tar(SOUND)[:512], 1))
    for places, format, partitions, vdev, code in (
        ([path], None, False, "xvdz", "xva-without-disk"),
        ([path], "raw", False, "", "disk-image-header-of-another-format"),
        ([path], "raw", False, "xvda", "disk-of-no-export"),
        ([path], None, True, "", "xva-not-a-file"),
        ([f"{path}.gz"], None, False, "", "xva-packed"),
        (["ssh://dom0/web.xva"], None, False, "", "xva-not-a-file"),
    ):
        with pytest.raises(BadInput) as e, transfer.opened(places, format, partitions=partitions, vdev=vdev):  # type: ignore[arg-type]
            pass
        assert e.value.problems[0].code == code


def test_a_disk_that_was_left_out_of_an_export_is_not_taken_for_zeros(tmp_path: Path) -> None:
    path = at(tmp_path, tar([("ova.xml", ova({"Ref:4": len(DISK), "Ref:5": MIB}).encode()), *SOUND[1:]]))
    with pytest.raises(BadInput, match="Ref:5"), Xva(path):
        pass
    assert RawDisk(path).size  # the file itself is as it was
