"""The pictures of a gateway's segments, counters and latency, and the words that stand for them."""

import io

import numpy as np
import pytest
from matplotlib import image
from matplotlib.colors import to_rgb

from drawings import CELLS, COUNTS
from hikkoshi.figures import overview


def texts(ax):
    return [text.get_text() for text in ax.texts]


# --- segments


def test_every_cell_says_verdict_and_ratio_with_a_sign():
    assert texts(overview.matrix(CELLS).axes[0]) == [
        "▼ regressed",
        "0.0058 [0.0047, 0.0088]",
        "✓ recovered",
        "0.970 [0.930, 1.020]",
        "▼ regressed",
        "0.0058 [0.0047, 0.0088]",
        "? inconclusive",
        "0.900 [0.850, 0.970]",
        "▼ regressed",
        "0 [0, 0]",
        "– not measured",
    ]


def test_segments_stand_in_their_order_from_the_top():
    ax = overview.matrix(CELLS).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(CELLS)
    assert ax.get_ylim() == (3, 0)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["as found", "after the remedy"]


def test_a_verdict_can_be_told_without_colour():
    def grey(colour):
        return np.dot(to_rgb(colour), (0.299, 0.587, 0.114))

    grounds = {verdict: grey(ground) for verdict, (_, ground, _, _) in overview.VERDICTS.items()}
    assert grounds["recovered"] - grounds["regressed"] > 0.4
    assert len({sign for sign, *_ in overview.VERDICTS.values()}) == len(overview.VERDICTS)
    for _, ground, ink, _ in overview.VERDICTS.values():
        assert abs(grey(ground) - grey(ink)) > 0.5  # can be read


def test_the_words_of_the_segments_tell_every_cell():
    told = overview.matrix_words(CELLS)
    assert "vlan301: as found regressed 0.0058 [0.0047, 0.0088], after the remedy recovered 0.970" in told
    assert "vlan303: as found regressed 0 [0, 0], after the remedy not measured." in told


# --- counters


def test_every_count_is_a_bar_with_its_number_written():
    ax = overview.counters(COUNTS).axes[0]
    assert [bar.get_width() for bar in ax.patches] == [436, 436, 430, 888, 912]
    assert [label.get_text() for label in ax.get_yticklabels()] == [where for g in COUNTS.values() for where in g]


def test_beside_a_count_stands_how_far_it_is_from_the_first_of_its_group():
    assert texts(overview.counters(COUNTS).axes[0]) == [
        "packets that the gateway dropped",
        "436",
        "436, equal",
        "430, −1.4 %",
        "segments sent again",
        "888",
        "912, +2.7 %",
    ]


def test_counts_of_0_can_be_drawn():
    fig = overview.counters({"dropped": {"IpFragFails": 0, "ICMP": 0, "sent again": 3}})
    assert texts(fig.axes[0]) == ["dropped", "0", "0, equal", "3"]
    fig.savefig(io.BytesIO())


def test_the_words_of_the_counters_tell_every_number():
    told = overview.counters_words(COUNTS)
    assert "packets that the gateway dropped: gateway: IpFragFails 436, gateway: IcmpOutDestUnreachs 436, pc1 430." in told
    assert "segments sent again: in those packets 888, pc1: TcpRetransSegs 912." in told


PICTURES = {"matrix": overview.matrix(CELLS), "counters": overview.counters(COUNTS)}


@pytest.mark.parametrize("fig", PICTURES.values(), ids=list(PICTURES))
def test_a_picture_is_small_enough_to_be_kept_in_a_notebook(fig):
    png = io.BytesIO()
    fig.savefig(png, format="png", dpi=110)
    assert 5_000 < len(png.getvalue()) < 150_000


@pytest.mark.parametrize("fig", PICTURES.values(), ids=list(PICTURES))
def test_nothing_is_cut_off_at_the_edge_of_a_picture(fig):
    png = io.BytesIO()
    fig.savefig(png, format="png", dpi=110)
    png.seek(0)
    pixels = image.imread(png)[:, :, :3]
    for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
        assert (edge == 1).all()  # white
