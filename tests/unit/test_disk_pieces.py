"""An image that comes in pieces, the list of them, and the questions that bring them: cut anywhere, the same image comes out."""

import contextlib
import errno
import gzip
import hashlib
import os
import resource
import shutil
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikkoshi.disk import digest
from hikkoshi.disk import pieces as images
from hikkoshi.disk.pieces import ArrivedDisk, Arriving, Listed
from hikkoshi.disk.standing import Standing
from hikkoshi.errors import Busy, StepFailed
from hikkoshi.xen.wire import asking, pieces
from hikkoshi.xen.wire.pieces import Damaged, Question

MIB = 1 << 20
PLACE = "ssh://dom0/srv/disk.img"
MARK = "hikkoshi-0123"
SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"], ["ksh"]) if shutil.which(shell[0])]
SMALL = 1 << 17  # bytes of a piece where nobody is asked for one


def content(size: int, *data: tuple[int, bytes]) -> bytes:
    disk = bytearray(size)
    for at, some in data:
        disk[at : at + len(some)] = some
    return bytes(disk)


def standing(disk: bytes) -> Standing:
    changed = hashlib.sha256(disk).hexdigest()
    return Standing(device=False, bytes=len(disk), allocated=len(disk), name="1:2", changed=changed)


def take(arriving: Arriving, disk: bytes, n: int) -> None:
    """As a Dom-0 answers that has this disk."""
    piece = disk[n * SMALL : (n + 1) * SMALL]
    sha256 = hashlib.sha256(piece).hexdigest()
    if arriving.digests[n] == sha256:
        arriving.same(n)
    else:
        arriving.keep(n, piece if any(piece) else None, sha256)


def completed(image: Path, disk: bytes) -> None:
    with Arriving(image, PLACE, standing(disk), SMALL) as arriving:
        for n in sorted(arriving.wanted):
            take(arriving, disk, n)
        arriving.finish()


DISK = content(5 * SMALL + 512, (0, b"boot" * 99), (SMALL * 2 - 5, bytes(range(1, 11))), (SMALL * 4, b"x" * SMALL))
LATER = content(len(DISK), (0, b"boot" * 99), (SMALL * 3, b"y" * SMALL), (SMALL * 5, b"z"))
READING = st.tuples(st.sampled_from([DISK, LATER]), st.sets(st.integers(0, 5)), st.integers(1, 4000))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(READING, max_size=3),
    st.lists(st.tuples(st.integers(0, len(DISK) - 9), st.binary(max_size=9)), max_size=1),
    st.sampled_from([DISK, LATER]),
)
def test_cut_off_at_any_place_written_to_between_and_damaged_here_the_image_is_the_disk(
    tmp_path_factory: pytest.TempPathFactory,
    readings: list[tuple[bytes, set[int], int]],
    damage: list[tuple[int, bytes]],
    now: bytes,
) -> None:
    image = tmp_path_factory.mktemp("cut") / "xvda.img"
    for disk, come, listed in readings:
        with Arriving(image, PLACE, standing(disk), SMALL) as arriving:
            for n in sorted(arriving.wanted & come):
                take(arriving, disk, n)
            if not arriving.wanted:
                arriving.finish()
        with images.list_of(image).open("r+b") as f:  # what was written last may be lost
            f.truncate(min(listed, images.list_of(image).stat().st_size))
        with (arriving.part if arriving.part.exists() else image).open("r+b") as f:
            for at, some in damage:
                f.seek(at)
                f.write(some)
    completed(image, now)
    assert image.read_bytes() == now
    assert not arriving.part.exists() if readings else True
    known = Listed.of(image)
    assert known
    assert known.complete(image)


def test_what_is_complete_is_believed_until_somebody_writes_to_it(tmp_path: Path) -> None:
    image = tmp_path / "xvda.img"
    completed(image, DISK)
    known, before = Listed.of(image), image.stat().st_mtime_ns
    assert known
    assert known.complete(image)
    completed(image, DISK)
    assert image.stat().st_mtime_ns == before
    with image.open("r+b") as f:
        f.write(b"other")
    assert not known.complete(image)
    completed(image, DISK)
    assert image.read_bytes() == DISK


def test_zeros_are_holes_and_what_becomes_zeros_later_is_zeros(tmp_path: Path) -> None:
    image = tmp_path / "xvda.img"
    completed(image, DISK)
    assert image.stat().st_blocks * 512 < len(DISK)
    completed(image, content(len(DISK), (SMALL * 3, b"new")))
    assert image.read_bytes() == content(len(DISK), (SMALL * 3, b"new"))


def test_of_another_disk_nothing_is_kept(tmp_path: Path) -> None:
    image = tmp_path / "xvda.img"
    completed(image, DISK)
    with Arriving(image, PLACE + "2", standing(DISK), SMALL) as arriving:
        assert set(arriving.digests) == {""}
    with Arriving(image, PLACE + "2", standing(DISK[:SMALL]), SMALL) as arriving:
        assert arriving.digests == [""]


def test_a_list_that_is_none_or_would_fill_the_memory_is_no_list(tmp_path: Path) -> None:
    image = tmp_path / "xvda.img"
    completed(image, DISK)
    good = images.list_of(image).read_text()
    head = good.splitlines()[0]
    for text in ("", "{}\n", "x\n", head[:40], good.replace(f'"piece_bytes":{SMALL}', '"piece_bytes":0')):
        images.list_of(image).write_text(text)
        assert Listed.of(image) is None
    images.list_of(image).write_text(good.replace(f'"bytes":{len(DISK)}', f'"bytes":{1 << 62}'))
    assert Listed.of(image) is None
    images.list_of(image).write_text(good)
    assert Listed.of(image) is not None


def test_two_do_not_complete_images_of_one_guest_at_once(tmp_path: Path) -> None:
    with Arriving(tmp_path / "xvda.img", PLACE, standing(DISK)), pytest.raises(Busy, match="at this moment"):
        Arriving(tmp_path / "xvdb.img", PLACE, standing(DISK)).__enter__()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces of a MiB: data, three of zeros, data, and half a one of data."""
    path = tmp_path_factory.mktemp("dom0") / "it's a $(disk)"
    path.write_bytes(content(5 * MIB + MIB // 2, (0, b"boot"), (4 * MIB, b"x" * 9), (5 * MIB + 5, b"end")))
    return path


def answer(shell: list[str], disk: Path, question: Question) -> bytes:
    text = f"m={MARK}\n( {pieces.script(str(disk), question, disk.stat().st_size, MIB)} )"
    return subprocess.run(shell, input=text.encode(), capture_output=True, check=True).stdout


def asked(shell: list[str], disk: Path, *known: tuple[int, str], comes: bool = True, packed: bool = True) -> list[pieces.Told]:
    question = Question(known, comes, packed)
    return pieces.told(answer(shell, disk, question), MARK, question, disk.stat().st_size, MIB)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_any_sh_tells_zeros_what_is_known_and_the_first_piece_that_is_neither(shell: list[str], disk: Path) -> None:
    whole = disk.read_bytes()
    first, last = (hashlib.sha256(whole[n * MIB : (n + 1) * MIB]).hexdigest() for n in (0, 5))
    zeros = images.of_zeros(MIB)
    told = asked(shell, disk, (0, first), (1, ""), (2, "0" * 64), (3, zeros), (4, ""), (5, last))
    assert [(t.n, t.kind) for t in told] == [(0, "same"), (1, "zeros"), (2, "zeros"), (3, "same"), (4, "piece")]
    assert told[-1].content == whole[4 * MIB : 5 * MIB]
    assert [(t.n, t.kind) for t in asked(shell, disk, (1, ""), (2, zeros), (3, ""))] == [(n, "zeros") for n in (1, 2, 3)]
    assert [t.kind for t in asked(shell, disk, (5, last))] == ["same"]
    for packed in (True, False):
        assert asked(shell, disk, (5, ""), packed=packed)[0].content == whole[5 * MIB :]
    assert [t.kind for t in asked(shell, disk, (0, last), (1, zeros), (5, first), comes=False)] == ["other", "same", "other"]


def test_an_answer_that_is_not_what_was_asked_for_is_damaged(disk: Path) -> None:
    size, question = disk.stat().st_size, Question(((0, ""), (1, "")))
    good = answer(["sh"], disk, question)
    line = b"\n%s " % MARK.encode()
    wrong = [
        *(b"", good[:-1], good[:-40], good[:60], good.replace(b"piece 0", b"piece 1"), good[:200] + b"!" + good[201:]),
        *(line + words + b"\n" for words in (b"same 0 1", b"other 0 1", b"zeros 0 3", b"zeros 1 1", b"zeros 0 0", b"piece 0 77")),
        good.replace(hashlib.sha256(disk.read_bytes()[:MIB]).hexdigest().encode(), b"0" * 64),
    ]
    for said in wrong:
        with pytest.raises(Damaged):
            pieces.told(said, MARK, question, size, MIB)


def test_pieces_come_packed_as_long_as_that_is_faster() -> None:
    packing, seconds = asking.Packing(), {True: 0.2, False: 0.1}
    forms = []
    for _ in range(200):
        forms.append(packing.next())
        packing.took(forms[-1], seconds[forms[-1]])
        if len(forms) == 100:
            seconds[False] = 0.9  # the network is slower now
    assert all(forms[: asking.FIRST])
    assert forms[asking.FIRST : 90].count(False) > 75
    assert forms[110:].count(True) > 80


def test_where_the_first_pieces_need_not_come_the_next_ones_still_come_packed() -> None:
    packing = asking.Packing()
    assert all(packing.next() for _ in range(3 * asking.FIRST))
    packing.took(True, 0.2)
    assert not packing.next()


def test_what_packing_makes_no_smaller_comes_as_it_is_and_is_tried_again_now_and_then() -> None:
    packing = asking.Packing()
    packing.took(packing.next(), 0.1, 0.99)
    forms = [packing.next() for _ in range(2 * asking.SEEN)]
    assert forms.count(True) == 2
    packing.took(True, 0.1, 0.4)
    packing.took(False, 0.9, 1.0)
    assert packing.next()


def test_the_pieces_of_one_question_are_split_up_as_long_as_nothing_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    met, first = threading.Barrier(asking.AT_ONCE), iter(range(asking.AT_ONCE))

    def answered(place: object, size: int, piece: int, question: Question, over: object) -> tuple[list[pieces.Told], int]:
        if next(first, None) is not None:
            with contextlib.suppress(threading.BrokenBarrierError):
                met.wait(20)  # so many at once
        return [pieces.Told(question.pieces[0][0], "piece", "", b"x")], 1

    monkeypatch.setattr(asking, "_answered", answered)
    asked = [Question(tuple((n, "") for n in range(3 * asking.AT_ONCE)))]
    told = [one.n for found in asking.answers(SimpleNamespace(), 0, MIB, asked) for one in found]
    assert sorted(told) == list(range(3 * asking.AT_ONCE))
    assert not met.broken


def test_what_would_fill_the_memory_is_not_unpacked(disk: Path) -> None:
    size, question = disk.stat().st_size, Question(((0, ""),))
    bomb = gzip.compress(bytes(50 * MIB), 1)
    line = b"\n%s " % MARK.encode()
    with pytest.raises(Damaged, match="1,048,577 bytes"):
        pieces.told(b"%spiece 0 %s\n%s%send\n" % (line, b"0" * 64, bomb, line), MARK, question, size, MIB)


def test_pieces_that_follow_each_other_are_asked_for_together() -> None:
    digests = ["", "a", "", "", "b", ""]
    found = pieces.questions(digests, [0, 1, 2, 4, 5], 2)
    assert list(found) == [Question(((0, ""), (1, "a"))), Question(((2, ""),)), Question(((4, "b"), (5, "")))]


def test_a_piece_that_is_only_half_written_is_an_error(tmp_path: Path) -> None:
    disk, before = content(SMALL * 2, (0, b"x" * SMALL * 2)), resource.getrlimit(resource.RLIMIT_FSIZE)
    with Arriving(tmp_path / "xvda.img", PLACE, standing(disk), SMALL) as arriving:
        take(arriving, disk, 0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL * 2 - 512, before[1]))  # as a file system that becomes full
        try:
            with pytest.raises(OSError, match="File too large"):
                take(arriving, disk, 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    known = Listed.of(tmp_path / "xvda.img")
    assert known
    assert known.digests[1] == ""


def test_of_pieces_that_could_not_be_brought_to_the_disk_none_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = iter([True])  # Linux tells it once

    def synced(_: int) -> None:
        if next(failing, False):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("hikkoshi.disk.pieces.os.fdatasync", synced)
    monkeypatch.setattr(images, "_SYNCED", 1)
    with pytest.raises(OSError, match="Input"), Arriving(tmp_path / "xvda.img", PLACE, standing(DISK), SMALL) as arriving:
        take(arriving, DISK, 0)
    known = Listed.of(tmp_path / "xvda.img")
    assert known
    assert not any(known.digests)


def test_what_came_is_brought_to_the_disk_and_listed_after_so_many_bytes_or_so_many_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, full = list[int](), b"x" * len(DISK)
    monkeypatch.setattr("hikkoshi.disk.pieces.os.fdatasync", synced.append)
    with Arriving(tmp_path / "xvda.img", PLACE, standing(full), SMALL) as arriving:
        monkeypatch.setattr(images, "_SYNCED", 2 * SMALL)
        take(arriving, full, 0)
        assert synced == []
        take(arriving, full, 2)
        assert len(synced) == 1
        take(arriving, full, 3)
        assert len(synced) == 1
        monkeypatch.setattr(images, "_SYNCED_AFTER", 0)
        take(arriving, full, 4)
        assert len(synced) == 2


@pytest.mark.parametrize("at", [0, SMALL * 3, SMALL * 4 + 9, len(DISK) - 1])
def test_what_is_read_here_is_held_against_what_was_hashed_there(tmp_path: Path, at: int) -> None:
    image = tmp_path / "xvda.img"
    completed(image, DISK)
    before = image.stat()
    with ArrivedDisk(image) as disk:
        assert disk.read(0, 4096) == DISK[:4096]
        assert digest.of(disk) == digest.content(image)
    with image.open("r+b") as f:
        f.seek(at)
        f.write(bytes([DISK[at] ^ 1]))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a disk or memory does that fails
    with ArrivedDisk(image) as disk, pytest.raises(StepFailed, match=rf"(?s)not what came.*byte {at // SMALL * SMALL:,}"):
        digest.of(disk)
    with ArrivedDisk(image) as disk, pytest.raises(StepFailed, match="not what came"):
        disk.read_into(0, [memoryview(bytearray(len(DISK)))])
    image.touch()
    with pytest.raises(StepFailed, match="not known"), ArrivedDisk(image) as disk:
        pass
    completed(image, DISK)
    assert image.read_bytes() == DISK
