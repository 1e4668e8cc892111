"""A drawn figure as it stands in a report: its words in the report's language, itself as vectors in a data: URL.

The figures are the runbooks' own, in English. Here their words are exchanged once they are drawn, so that whoever draws
needs to know no language but that one.
"""

import base64
import contextlib
import functools
from collections.abc import Callable, Collection
from io import BytesIO

from matplotlib import font_manager, rc_context, rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text

from hikkoshi import tool
from hikkoshi.errors import HikkoshiError
from hikkoshi.report.language import N_, Gettext, told

WORDS = (  # in figures of hikkoshi.network; of two that fit, the first counts
    N_("run, in the order measured"),
    N_("throughput, {unit} (each step is ten times)"),
    N_("throughput, {unit}"),
    N_("throughput as a share of the direct path's (no unit; 1 is as fast as direct)"),
    N_("through the guest"),
    N_("direct"),
    N_("median {value}"),
    N_("{count} each"),
    N_("runs: {count}"),
    N_("×\nnot\nmade"),
    N_("before"),
    N_("after"),
    N_("{sign} regressed"),
    N_("{sign} recovered"),
    N_("{sign} inconclusive"),
    N_("{sign} not measured"),
    N_("before the move"),
    N_("since the move"),
    N_("through / direct with its interval; recovered from {border}"),
    N_("seconds since the measurement began"),
    N_("wall clock, UTC, {date}"),
    N_("out of service (each end to within 1/{rate} s)"),
    N_("answers"),
    N_("never answered"),
    N_("the meter stood still"),
    N_("{count} times,\n{seconds} s"),
    N_("more than {seconds} s, still out"),
    N_("more than {seconds} s"),
    N_("{seconds} s"),
)


def speaks(_: Gettext) -> bool:
    """Whether figures have their words in this language: else its font is missing here, and they stay English."""
    return _(WORDS[0]) == WORDS[0] or bool(font())


def vectors(draw: Callable[[], Figure], _: Gettext = str, names: Collection[str] = ()) -> str:
    """A figure as SVG in a data: URL; the same figure is always the same text. Its title is left out: the caption says it.

    `names` stand in it as the site gave them, and are no words to translate.
    """
    foreign = _(WORDS[0]) != WORDS[0] and speaks(_)
    families = [*rcParams["font.family"], *(font() if foreign else ())]
    drawn = BytesIO()
    with rc_context({"svg.hashsalt": "hikkoshi", "svg.fonttype": "path", "font.family": families}):
        figure = draw()
        figure.suptitle("")
        if foreign:
            _translate(figure, _, names)
        figure.savefig(drawn, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode()


@functools.cache
def font() -> tuple[str, ...]:
    """The family of a Japanese font of this machine, made known to Matplotlib; empty where there is none that it can read."""
    try:
        listed = tool.run(["fc-list", "-f", "%{file}\n", ":lang=ja:style=Regular"], timeout=60).stdout.splitlines()
    except HikkoshiError:
        return ()
    for path in sorted(listed, key=lambda p: ("NotoSansCJK" not in p, p)):
        # a font, or a form of it, that Matplotlib does not read
        with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
            font_manager.fontManager.addfont(path)
            return (font_manager.FontProperties(fname=path).get_name(),)
    return ()


def _translate(figure: Figure, _: Gettext, names: Collection[str]) -> None:
    def worded(text: str) -> str:
        if text in names:
            return text
        whole = told(text, _, WORDS)
        return whole if whole != text or "\n" not in text else "\n".join(map(worded, text.split("\n")))

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            words = list(map(worded, labels))
            if words != labels:
                axis.set_ticks(axis.get_ticklocs(), words)
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_text(worded(text.get_text()))
