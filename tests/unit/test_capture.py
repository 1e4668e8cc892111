"""Captures in tcpdump's own format, recorded by it, cut anywhere, and what only looks like one."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikkoshi.errors import BadInput
from hikkoshi.network.wiring.capture import ETHERNET, HEADER, Frame, Growing

DATA = Path(__file__).parents[1] / "data" / "wiring"
RECORDED = sorted(DATA.glob("*.pcap"))
MAGIC = {  # as a writer of either byte order writes 0xa1b2c3d4 (microseconds) and 0xa1b23c4d (nanoseconds)
    struct.pack(order + "I", number): (order, fractions)
    for order in "<>"
    for number, fractions in ((0xA1B2C3D4, 10**6), (0xA1B23C4D, 10**9))
}
DHCP = (DATA / "dhcp-10.3.4.104-10.3.4.254.pcap").read_bytes()


def written(frames: list[Frame], magic: bytes = b"\xd4\xc3\xb2\xa1", link: int = ETHERNET, major: int = 2) -> bytes:
    """A capture after the format's description."""
    order, fractions = MAGIC[magic]
    records = [
        struct.pack(order + "4I", int(f.time), round(f.time % 1 * fractions), len(f.data), len(f.data) + 7) + f.data
        for f in frames
    ]
    return magic + struct.pack(order + "HHiIII", major, 4, 0, 0, 512, link) + b"".join(records)


def read(data: bytes) -> tuple[list[Frame], int]:
    """The frames of a capture that comes in one piece, and the bytes of what is cut off at its end."""
    growing = Growing("a capture")
    return growing.feed(data), growing.cut


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_what_tcpdump_has_recorded_is_read_to_its_end(path: Path) -> None:
    frames, cut = read(path.read_bytes())
    assert frames
    assert cut == 0
    assert all(1.7e9 < f.time < 2e9 for f in frames)


def test_microseconds_and_nanoseconds_mean_the_same_moment() -> None:
    nano, _ = read((DATA / "nanoseconds-arp-10.3.4.10.pcap").read_bytes())
    assert len(nano[0].data) == 42
    moment = Frame(1_800_000_000.25, b"x" * 60)
    for magic in MAGIC:
        assert read(written([moment], magic)) == ([moment], 0)


@given(
    st.lists(st.builds(Frame, st.integers(0, 2**32 - 1).map(float), st.binary(max_size=600)), max_size=8),
    st.sampled_from(sorted(MAGIC)),
    st.data(),
)
def test_frames_come_out_as_they_went_in_wherever_the_pieces_are_cut(
    frames: list[Frame], magic: bytes, data: st.DataObject
) -> None:
    whole = written(frames, magic)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    growing = Growing("a test")
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += growing.feed(whole[begin:end])
    assert (found, growing.frames, growing.cut) == (frames, len(frames), 0)


def test_a_capture_whose_writer_was_killed_gives_its_whole_records_and_counts_the_rest() -> None:
    first = HEADER + 16 + 342
    for end in range(HEADER, len(DHCP) + 1):
        frames, cut = read(DHCP[:end])
        assert len(frames) == (end >= first) + (end >= len(DHCP))
        assert cut == end - HEADER - sum(16 + len(f.data) for f in frames)


def test_a_header_that_is_not_yet_written_is_waited_for() -> None:
    assert read(b"") == ([], 0)
    assert read(DHCP[:1]) == ([], 1)
    assert read(DHCP[: HEADER - 1]) == ([], HEADER - 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04 a zip archive, not a capture", "no capture in the classic pcap format"),
        (b"t", "no capture"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "newer format pcapng"),
        (written([], link=113), "link type 113"),
        (written([], major=3), "format version 3"),
        (written([]) + struct.pack("<4I", 1, 0, 1 << 30, 1 << 30), "record of a capture cannot be"),
        (written([]) + struct.pack("<4I", 1, 0, 60, 42), "60 of 42 bytes"),
        (written([]) + struct.pack("<4I", 1, 10**6, 42, 42), "fraction of the second 1000000"),
    ],
)
def test_what_is_no_capture_of_ethernet_is_refused_with_its_name(data: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words) as e:
        Growing("eth0.pcap").feed(data)
    assert "eth0.pcap" in e.value.problems[0].where
    assert e.value.problems[0].remedy


@given(st.binary(max_size=200), st.sampled_from([b"", DHCP[:4], DHCP[:HEADER], DHCP]))
def test_any_bytes_are_read_or_refused(noise: bytes, before: bytes) -> None:
    try:
        frames, cut = read(before + noise)
    except BadInput:
        return
    assert sum(16 + len(f.data) for f in frames) + cut <= len(before + noise)
