"""Bags as RFC 8493 has them, read by three programs that are not ours; manifests that lie lead nowhere."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.record import bag, instructions
from hikkoshi.record.provenance import Provenance

NAMES = st.lists(
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=60).filter(
        lambda s: s not in (".", "..")
    ),
    min_size=1,
    max_size=3,
).map("/".join)
INFO = [("External-Identifier", "gateway/run"), ("Bagging-Date", "2026-11-27"), ("Note", "two\nlines")]


def make(folder: Path, payload: dict[str, bag.Content]) -> bag.Payload:
    folder.mkdir()
    filled = bag.fill(folder, payload)
    bag.close(folder, filled, INFO, {"README.txt": "read me\n"})
    return filled


@given(NAMES)
def test_a_name_in_a_bag_is_ascii_without_blanks_and_never_leads_out_of_it(name: str) -> None:
    plain = bag.plain(name)
    assert plain.isascii()
    assert not set(plain) & set(" \t\r\n%\\*?'\"")
    assert all(0 < len(part) < 256 for part in plain.split("/"))
    assert ".." not in plain.split("/")


@given(NAMES, NAMES)
def test_two_names_never_become_one(one: str, other: str) -> None:
    assert (bag.plain(one) == bag.plain(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("rehearsal/before.png", "rehearsal/before.png"),
        ("a b", "a=20b"),
        ("ゲスト", "=E3=82=B2=E3=82=B9=E3=83=88"),
        ("100%", "100=25"),
        ("a=20b", "a=3D20b"),
    ],
)
def test_a_name_stays_readable(name: str, plain: str) -> None:
    assert bag.plain(name) == plain


def test_a_name_longer_than_file_systems_take_is_shortened() -> None:
    one, other = bag.plain("ä" * 100 + "1"), bag.plain("ä" * 100 + "2")
    assert len(one) < 256
    assert one != other


@given(st.dictionaries(NAMES.map(bag.plain), st.binary(max_size=100), max_size=5))
@settings(deadline=None, max_examples=30)
def test_what_was_put_in_is_what_the_manifest_lists(payload: dict[str, bytes]) -> None:
    names = sorted(payload)
    if any(b.startswith(f"{a}/") for a in names for b in names):
        return  # a name cannot be a file and a folder
    with tempfile.TemporaryDirectory() as place:
        filled = make(Path(place, "bag"), dict(payload))
        digests, flaws = bag.read_manifest(Path(place, "bag", bag.MANIFEST))
        assert (digests, flaws) == (filled.digests, [])
        assert filled.bytes == sum(map(len, payload.values()))
        for name, content in payload.items():
            assert Path(place, "bag", "data", name).read_bytes() == content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "large").write_bytes(os.urandom((3 << 20) + 17))
    make(tmp_path / "bag", {"large.bin": tmp_path / "large", "empty": b"", bag.plain("a b/ゲスト.txt"): b"x\r\n"})
    return tmp_path / "bag"


@pytest.mark.needs("python:bagit")
def test_bagit_calls_it_valid(folder: Path) -> None:
    import bagit

    here = Path.cwd()
    try:
        found = bagit.Bag(str(folder))
        assert found.is_valid()
        assert found.info["Note"] == "two lines"
        (folder / "data" / "empty").write_text("x")
        assert not found.is_valid()
    finally:
        os.chdir(here)  # bagit leaves it


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["sha256sum", "--check", "--strict", "--quiet"], marks=pytest.mark.needs("sha256sum")),
        pytest.param(["shasum", "-a", "256", "-c"], marks=pytest.mark.needs("shasum")),
    ],
    ids=["coreutils", "perl"],
)
def test_everybodys_tools_read_both_manifests(folder: Path, command: list[str]) -> None:
    for name in (bag.MANIFEST, bag.TAG_MANIFEST):
        assert subprocess.run([*command, name], cwd=folder, capture_output=True, check=False).returncode == 0
    (folder / "data" / "empty").write_text("x")
    assert subprocess.run([*command, bag.MANIFEST], cwd=folder, capture_output=True, check=False).returncode == 1


def test_the_size_of_the_payload_is_told(folder: Path) -> None:
    info = bag.read_info(folder)
    assert info["Payload-Oxum"] == f"{(3 << 20) + 17 + 3}.3"
    assert info["External-Identifier"] == "gateway/run"


def test_a_file_that_is_there_twice_is_an_error_and_not_overwritten(tmp_path: Path) -> None:
    make(tmp_path / "bag", {"a": tmp_path / __file__})
    with pytest.raises(FileExistsError):
        bag.fill(tmp_path / "bag", {"a": b"other"})


HASH = "0" * 64


@pytest.mark.parametrize(
    "line",
    [
        f"{HASH}  data/../../etc/passwd",
        f"{HASH}  ../x",
        f"{HASH}  /etc/passwd",
        f"{HASH}  data//x",
        f"{HASH}  data/./x",
        f"{HASH}  data/",
        f"{HASH}  data/a b",
        f"{HASH}  data/\u00e4",
        f"{HASH} data/x",
        f"{HASH} *data/x",
        f"{HASH}\tdata/x",
        f"{HASH}  data/x\r",
        f"{HASH[1:]}  data/x",
        f"{HASH[1:]}G  data/x",
        f"{'A' * 64}  data/x",
        f"\\{HASH}  data/x",
        f"{HASH}  bag-info.txt",
        "",
        "# a remark",
    ],
)
def test_a_line_that_is_none_of_a_manifest_names_no_file(tmp_path: Path, line: str) -> None:
    path = tmp_path / bag.MANIFEST
    path.write_bytes(f"{HASH}  data/good\n{line}\n".encode())
    digests, flaws = bag.read_manifest(path)
    assert digests == {"data/good": HASH}
    assert [f.where for f in flaws] == [f"{path}:2"]


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_nothing_that_stands_in_a_manifest_names_a_file_outside(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, bag.MANIFEST)
        path.write_bytes(content)
        digests, _ = bag.read_manifest(path)
        assert all(Path(place, n).resolve().is_relative_to(Path(place, "data").resolve()) for n in digests)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"Label", b": x", b"A: 1\nA: 2\n"])
def test_a_spoiled_bag_info_is_read_as_far_as_it_goes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / bag.INFO).write_bytes(content)
    assert bag.read_info(tmp_path).get("A", "1") == "1"


def test_the_readme_quotes_what_a_shell_would_take_for_its_own(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    text = instructions.text(
        identifier="gateway/run",
        names={"data/a/b": HASH, "data/c": HASH},
        sealed=datetime(2026, 11, 27, tzinfo=UTC),
        signer="o'brien;reboot@site",
        unsigned="",
        previous="",
        previous_sha256="",
        time_stamp="",
        provenance=Provenance(),
    )
    assert "-I 'o'\"'\"'brien;reboot@site' " in text
    assert '" = "7 3 0 run"' in text  # 2 + 5 files; ., data, data/a
