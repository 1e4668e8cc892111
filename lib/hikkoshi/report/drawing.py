"""A figure as it stands in a report: its words in the report's language, itself as vectors in a data: URL."""

import base64
import contextlib
import functools
from collections.abc import Callable
from io import BytesIO

from matplotlib import font_manager, rc_context, rcParams
from matplotlib.figure import Figure

from hikkoshi import tool
from hikkoshi.errors import HikkoshiError
from hikkoshi.translation import Gettext


def speaks(_: Gettext) -> bool:
    """Whether figures have their words in this language: else its font is missing here, and they stay English."""
    return not _foreign(_) or bool(font())


def vectors(draw: Callable[[Gettext], Figure], _: Gettext = str) -> str:
    """A figure as SVG in a data: URL; the same figure is always the same text. Its title is left out: the caption says it."""
    foreign = _foreign(_) and speaks(_)
    families = [*rcParams["font.family"], *(font() if foreign else ())]
    drawn = BytesIO()
    with rc_context({"svg.hashsalt": "hikkoshi", "svg.fonttype": "path", "font.family": families}):
        figure = draw(_ if foreign else str)
        figure.suptitle("")
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


def _foreign(_: Gettext) -> bool:
    return _("run, in the order measured") != "run, in the order measured"
