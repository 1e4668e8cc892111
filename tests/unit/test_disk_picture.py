"""The map of a disk: every part of it is data, zeros or hole, and the picture says how much of each."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hikkoshi.disk import stream
from hikkoshi.disk.extents import BLOCK, RawDisk
from hikkoshi.figures import picture

KINDS = {"data": b"x" * BLOCK, "zeros": bytes(BLOCK), "hole": None}


def converted(folder: Path, kinds: list[str], more: int = 0) -> tuple[Path, Path, stream.Stream]:
    """A disk with one block of each kind named, and `more` bytes of hole, and its VMDK."""
    disk, made = folder / "d.img", folder / "d.vmdk"
    with disk.open("wb") as f:
        f.truncate(len(kinds) * BLOCK + more)
        for n, kind in enumerate(kinds):
            if (content := KINDS[kind]) is not None:
                f.seek(n * BLOCK)
                f.write(content)
    with RawDisk(disk) as source:
        return disk, made, stream.write(source, made, made.name)


def test_each_part_is_what_lies_in_it(tmp_path: Path) -> None:
    disk, made, _ = converted(tmp_path, ["data", "data", "zeros", "hole", "data", "hole", "hole", "hole"])
    found = picture.shares([(disk, made)], cells=4)
    assert found.tolist() == [[1, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0, 0, 1]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(
    st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=40),
    st.sampled_from([0, 512, BLOCK - 512]),
    st.sampled_from([1, 3, 16, 64]),
)
def test_the_parts_cover_the_disk_whatever_their_number(tmp_path: Path, kinds: list[str], more: int, cells: int) -> None:
    disk, made, _ = converted(tmp_path, kinds, more)
    found = picture.shares([(disk, made)], cells)
    assert found.shape == (cells, 3)
    assert np.allclose(found.sum(axis=1), 1)
    blocks = len(kinds) + bool(more)
    if cells in (1, blocks):
        assert found.mean(axis=0)[0] * blocks == pytest.approx(kinds.count("data"))


def test_the_picture_says_how_much_there_is_of_each(tmp_path: Path) -> None:
    disk, made, done = converted(tmp_path, ["data"] * 16 + ["zeros"] * 8 + ["hole"] * 8)
    fig = picture.figure([(disk, made)], done.samples)
    words = [t.get_text() for t in fig.axes[0].get_legend().get_texts()]  # type: ignore[union-attr]
    assert words == ["data: 1.0 MiB", "zeros that were written: 512.0 KiB", "holes: 512.0 KiB"]
    fig.savefig(BytesIO(), format="png")


def test_before_a_conversion_the_picture_says_so(tmp_path: Path) -> None:
    fig = picture.figure([(tmp_path / "d.img", tmp_path / "d.vmdk")], ())
    assert [t.get_text() for t in fig.texts] == ["nothing converted yet"]
