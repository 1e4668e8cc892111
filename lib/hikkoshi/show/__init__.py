"""How things look in a notebook: tables, pictures, diffs, progress. The only module that knows IPython.

Importing it in a notebook makes runs, rows and checklists show themselves, and figures hide the secrets of the open run:
once drawn, nobody could find these any more. Everything is plain HTML without scripts or network, with a text form beside it
for the console and for later.
"""

import base64
import html
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from IPython import get_ipython
from IPython.display import HTML, display

from hikkoshi.check import Check
from hikkoshi.errors import HikkoshiError, printable
from hikkoshi.progress import Progress
from hikkoshi.run import run as _run
from hikkoshi.run.group import FOLDED
from hikkoshi.run.row import WIDTH, Checklist, Evidence, Row
from hikkoshi.run.step import READ_ONLY
from hikkoshi.show import lists
from hikkoshi.translation import aligned

if TYPE_CHECKING:  # most notebooks draw and calculate nothing, and need not wait for what does
    import pandas as pd
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from hikkoshi.figures.exhibits import Exhibit
    from hikkoshi.sitefolder.rewiring import Rewiring

SMALLEST = 1e-9  # of a figure that is written without an exponent
Rows: TypeAlias = "pd.DataFrame | Sequence[Mapping[str, Any]]"


def table(rows: "Rows | None", caption: str = "") -> None:
    """Show rows as one table, the whole of every cell. Of many rows whose `verdict` is ok there is one line, which opens.

    None: they are not known yet, and that is said; so is that there are none.
    """
    if rows is None or not len(rows):
        known = rows is not None
        _both(lists.empty(caption, known=known), f"{caption} ({'none' if known else 'not known yet'})")
        return
    folded: list[list[str]] = []
    if isinstance(rows, Sequence):
        names = list(dict.fromkeys(name for row in rows for name in row))
        good = [row for row in rows if row.get("verdict") == "ok"]
        if len(good) > FOLDED:
            rows = [row for row in rows if row not in good]
            folded = [[_cell(row.get(name)) for name in names] for row in good]
        cells = [[_cell(row.get(name)) for name in names] for row in rows]
        body = lists.grid(names, cells)
    else:
        import pandas as pd  # noqa: PLC0415 - loaded by whoever made the frame

        rows = rows.map(lambda v: _cell(v) if isinstance(v, tuple | list) else v)
        with pd.option_context("display.max_colwidth", None, "display.max_rows", None):
            body = rows.to_html(index=False, border=0, escape=True, na_rep="–", classes="hikkoshi")
        names = [str(name) for name in rows.columns]
        cells = [[_cell(None if pd.isna(v) else v) for v in row] for row in zip(*(rows[name] for name in rows), strict=True)]
    lines = [names, *([printable(cell, keep="") for cell in row] for row in cells)]
    shown = aligned(lines)
    plain = "\n".join([caption] * bool(caption) + shown)
    if caption:
        body = body.replace(">", f">{lists.caption(lists.said(caption))}", 1)
    if folded:
        words = f"{len(folded)} more rows" if cells else f"{caption}: {len(folded)} rows"
        more, line = lists.folded("ok", words, lists.grid(names, folded)), f"{'ok':<{WIDTH}}{words}"
        body, plain = (body + more, f"{plain}\n{line}") if cells else (more, line)
    _both(body, plain)


def _cell(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    text = "–" if value is None else str(value)
    if isinstance(value, float) and "e-" in text and abs(value) >= SMALLEST:
        return f"{value:.10f}".rstrip("0").rstrip(".")
    return text


def checklist(title: str, checks: Sequence[Check]) -> None:
    """Show checks, good and bad, that refuse nothing."""
    display(Checklist(title, tuple(checks)))


def nothing(why: str) -> None:
    """Say in place of a table or picture why there is none."""
    _both(f"<p><em>{lists.inline(why)}</em></p>", why)


def picture(path: Path, alt: str) -> None:
    """Show a PNG file, and on a terminal where it is; where it is not there (yet), say so."""
    if path.is_file():
        _png(path.read_bytes(), lists.said(alt), f"{alt}: {path}")
    else:
        nothing(f"{alt}: not made yet")


def figure(fig: "Figure", alt: str) -> None:
    """Show a matplotlib figure as PNG, and on a terminal its words."""
    from hikkoshi.figures.style import png  # noqa: PLC0415 - loaded by whoever made the figure

    _png(png(fig), alt, f"(picture, in the executed notebook: {alt})")


def exhibits(found: Sequence["Exhibit"]) -> None:
    """Show pictures and tables that have their words with them, or why there is none."""
    for one in found:
        if one.figure is not None:
            figure(one.figure, one.words)
        elif one.rows is not None and len(one.rows):
            table(one.rows, caption=one.words)
        else:
            nothing(one.words)


def text(title: str, content: str) -> None:
    """Show a line of text with its title."""
    _both(f"<p>{html.escape(lists.said(title))}: <code>{html.escape(content)}</code></p>", f"{title}\n{content}")


def diff(changes: Sequence[tuple[str, str]]) -> None:
    """Show unified diffs, one folded block per file, removed lines red and added lines green, with their signs."""
    blocks = []
    for path, unified in changes:
        blocks.append(f"<details><summary><code>{html.escape(path)}</code></summary><pre>{_diff_html(unified)}</pre></details>")
    _both("".join(blocks) or "<p>no change</p>", "\n".join(u for _, u in changes) or "no change")


def progress(title: str) -> Progress:
    """A progress line that redraws itself in place at most four times a second; its last state stays in the record.

    The time that is left is guessed from the share done, once that is more than a twentieth. Work that is over before its line
    came to 100 % (nothing more had to be waited for) is told as ended.
    """
    said = html.escape(lists.said(title))
    handle = display(_bundle(f"<p>{said} …</p>", f"{title} …"), raw=True, display_id=True)
    start, last, share = time.monotonic(), 0.0, 0.0

    def update(done: float, total: float, words: str) -> None:
        nonlocal last, share
        now = time.monotonic()
        passed, over = now - start, not words and done >= total
        if (over and share == 1) or (now - last < 0.25 and done < total):
            return
        last, share = now, min(1.0, done / total) if total else 1.0
        left = f", {_clock(passed / share - passed)} left" if 0.05 < share < 1 and passed > 1 else ""
        line = f"  {share:4.0%}  {words}  ({_clock(passed)}{left})"
        bar = f"<progress value='{share:.3f}' max='1' aria-label='{said}'></progress> "
        if over:
            line, bar = f": ended after {_clock(passed)}", ""
        if handle is not None:  # as it is where no IPython runs
            handle.update(_bundle(f"<p>{bar}{said}{html.escape(line)}</p>", f"{title}{line}"), raw=True)

    return update


def interactive() -> bool:
    """Whether a person sits in front of this notebook, and not papermill, nbval or nbconvert."""
    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    parent = kernel.get_parent("shell") if kernel else {}
    return bool(parent.get("metadata", {}).get("cellId")) and "recordTiming" in str(parent.get("metadata", {}))


class Guests(Protocol):
    """Guests of which one is picked."""

    def names(self) -> list[str]:
        """All of them."""

    def picked(self) -> str:
        """The one that was picked before; empty where none was."""

    def pick(self, name: str) -> None:
        """Keep which one is picked now."""

    def guest(self, name: str) -> list[dict[str, str]]:
        """What is shown of it."""


def picker(guests: Guests) -> None:
    """A drop-down in JupyterLab that picks a guest and shows it; in batch runs, which nobody can click, a sentence."""
    options = guests.names()
    if not interactive():
        _both("<p>(a drop-down, where somebody can click)</p>", f"(a drop-down of: {', '.join(options)})")
        return
    import ipywidgets  # noqa: PLC0415 - slow, and needed only here

    def look(name: str | None) -> None:
        if name is not None:  # as it is where there is no guest
            guests.pick(name)
            table(guests.guest(name))

    drop_down = ipywidgets.Dropdown(options=options, value=guests.picked() or next(iter(options), None), description="guest")
    output = ipywidgets.interactive_output(look, {"name": drop_down})
    display(ipywidgets.VBox([drop_down, output]))


def approval(page: str, asked: Callable[[], Check], guest: str) -> None:
    """Show what an approver is asked to agree to, whether anybody has, and the command for it; a click only looks again."""
    from hikkoshi.approval.approval import command as typed  # noqa: PLC0415 - its name is this function's

    command = typed(guest)
    _both(f"<pre style='font-family:monospace'>{html.escape(page)}</pre>", page)
    if not interactive():
        _both(
            f"<p>A second person reads this page and types, in a terminal: <code>{html.escape(command)}</code></p>",
            f"A second person reads this page and types, in a terminal: {command}",
        )
        checklist("approval", [asked()])
        return
    import ipywidgets  # noqa: PLC0415 - slow, and needed only here

    line = ipywidgets.Text(command, description="to type", layout=ipywidgets.Layout(width="40em"))  # all of it is seen
    again = ipywidgets.Button(description="Look again")
    seen = ipywidgets.Output()

    def look(button: object) -> None:
        seen.clear_output(wait=True)
        with seen:
            checklist("approval", [asked()])

    again.on_click(look)
    display(ipywidgets.VBox([ipywidgets.HBox([line, again]), seen]))
    look(again)


class Rewirable(Protocol):
    """NICs that are put on segments."""

    def cards(self) -> Mapping[str, tuple[str, str]]:
        """{MAC: (what a reader is told of the NIC, the segment that it is on, if any)}."""

    def segments(self) -> Mapping[str, str]:
        """{segment: what a reader is told of it}."""

    def rewired(self, wanted: Mapping[str, str]) -> "Rewiring":
        """What would be written for {MAC: segment}."""

    def rewire(self, wanted: Mapping[str, str]) -> str:
        """Write it; what to do next."""


def rewiring(found: Rewirable) -> None:
    """A choice of segment for each NIC in JupyterLab, what it changes in the guest's file, and a button to write that."""
    if not interactive():
        words = "(choices, where somebody can click; here, change `nics` in the guest's file, and run this again)"
        _both(f"<p>{lists.inline(words)}</p>", words)
        return
    import ipywidgets  # noqa: PLC0415 - slow, and needed only here

    wide = {"style": {"description_width": "26em"}, "layout": ipywidgets.Layout(width="60em")}
    choices: dict[str, Any] = {}
    offered = [(told, name) for name, told in found.segments().items()]
    for mac, (words, on) in found.cards().items():
        options = offered if on else [("(none yet)", ""), *offered]
        choices[mac] = ipywidgets.Dropdown(options=options, value=on, description=words, **wide)
    before = {mac: choice.value for mac, choice in choices.items()}
    narrow = ipywidgets.Layout(width="auto", align_self="flex-start")
    button = ipywidgets.Button(description="Write this into the guest's file", layout=narrow)
    seen = ipywidgets.Output()

    def shown(told: Callable[[Mapping[str, str]], tuple[str, str]]) -> bool:
        """Show what is told of the NICs that get another segment: the change and words; whether there is one, and no refusal."""
        unified = ""
        with seen:
            seen.clear_output(wait=True)
            try:
                unified, words = told({mac: choice.value for mac, choice in choices.items() if choice.value != before[mac]})
                rich, plain = _diff_html(unified or "no change"), unified or "no change"
                _both(f"<pre>{rich}</pre><p>{lists.inline(words)}</p>", f"{plain}\n{words}".strip())
            except HikkoshiError as e:
                _both(f"<pre style='color:{lists.COLOURS['red']}'>{html.escape(str(e))}</pre>", str(e))
        return bool(unified)

    def look(change: object) -> None:
        button.disabled = not shown(lambda wanted: (found.rewired(wanted).diff, ""))

    def write(pressed: object) -> None:
        if shown(lambda wanted: (found.rewired(wanted).diff, found.rewire(wanted))):
            for one in (*choices.values(), button):
                one.disabled = True

    for choice in choices.values():
        choice.observe(look, "value")
    button.on_click(write)
    look(None)
    display(ipywidgets.VBox([*choices.values(), button, seen]))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _diff_html(unified: str) -> str:
    colours = {"+": "#1a6b32", "-": "#b00020", "@": "#0b5394"}
    lines = ((colours.get(line[:1], "inherit"), html.escape(line)) for line in unified.splitlines())
    return "".join(f"<span style='color:{colour}'>{line}</span>\n" for colour, line in lines)


def _bundle(rich: str, plain: str) -> dict[str, str]:
    return {"text/html": printable(rich), "text/plain": printable(plain)}


def _both(rich: str, plain: str) -> None:
    display(_bundle(rich, plain), raw=True)


def _png(content: bytes, alt: str, plain: str) -> None:
    bundle = {"image/png": base64.b64encode(content).decode(), "text/plain": printable(plain)}
    display(bundle, metadata={"image/png": {"alt": alt}}, raw=True)


def _run_html(run: _run.Run) -> str:
    mode = {} if run.step in READ_ONLY else {"mode": run.mode}  # those have none to choose
    facts = {"run": run.id, "guest": run.guest.name, **mode, "site": run.site.name, "folder": str(run.folder)}
    cells = "".join(f"<tr><th scope='row'>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in facts.items())
    warning = html.escape(run.warning.strip())
    loud = f"<p style='color:{lists.COLOURS['red']};font-weight:600'>{warning}</p>" if warning else ""
    return f"<table class='hikkoshi'>{cells}</table>{loud}"


class _Drawing(PathFinder):
    """Hides the secrets of the open run in figures, from the moment on that a notebook loads matplotlib."""

    @classmethod
    def find_spec(cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "matplotlib.text":
            return None
        spec = super().find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def loaded(module: ModuleType) -> None:
                load(module)
                _hide_secrets(module.Text)

            spec.loader.exec_module = loaded  # type: ignore[method-assign]
        return spec


def _hide_secrets(kind: "type[Text]") -> None:
    # Every text that matplotlib draws is asked for in this one place: titles, annotations, and the tick labels that it
    # makes up while it draws; in a figure shown by `figure`, by a notebook's own `plt`, or saved to a file.
    as_given = kind.get_text
    kind.get_text = lambda artist: _run.without_secrets(as_given(artist))  # type: ignore[method-assign, assignment]


def _speak(run: _run.Run) -> None:
    lists.lang = run.site.lang


def _activate() -> None:
    if "matplotlib.text" in sys.modules:
        _hide_secrets(sys.modules["matplotlib.text"].Text)
    elif _Drawing not in sys.meta_path:
        sys.meta_path.insert(0, _Drawing)
    shell = get_ipython()
    if shell is None:
        return
    formatters = shell.display_formatter.formatters
    for kind, rich in ((Row, lists.row), (Checklist, lists.checklist), (Evidence, lists.evidence), (_run.Run, _run_html)):
        formatters["text/html"].for_type(kind, lambda o, rich=rich: printable(rich(o)))
        formatters["text/plain"].for_type(kind, lambda o, p, cycle: p.text(str(o)))
    _run.display, _run.progress, _run.opened = display, progress, _speak
    if getattr(shell, "kernel", None) and "HIKKOSHI_RUN" not in os.environ:  # nobody else keeps what is run
        from hikkoshi.record.transcript import Transcript  # noqa: PLC0415 - a kernel of a batch starts without

        transcript = Transcript(shell)

        def opened(run: _run.Run) -> None:
            _speak(run)
            transcript.opened(run)

        _run.opened = opened
    style = (
        "<style>table.hikkoshi td, table.hikkoshi th {text-align: left !important; vertical-align: top; padding: .15em .8em}"
        " table.hikkoshi th {border-bottom: 1px solid #888}</style>"
    )
    display(HTML(style))


_activate()
