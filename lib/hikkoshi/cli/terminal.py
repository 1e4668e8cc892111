"""What a command shows on a terminal: tables, progress, JSON. Where nobody sits in front of one, the same without decoration."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Annotated, Any

import typer

from hikkoshi.errors import BadInput, Problem, printable
from hikkoshi.progress import Progress

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document, and nothing else, on stdout")]


def say(text: object, out: IO[str] | None = None, end: str = "\n") -> None:
    """Print lines. The only `print` of the command line: nothing that a terminal would obey passes here.

    A letter that the terminal's encoding lacks is told by its number.
    """
    out = out or sys.stdout
    encoding = getattr(out, "encoding", None) or "utf-8"
    print(printable(str(text)).encode(encoding, "backslashreplace").decode(encoding), end=end, file=out, flush=True)


def ask(question: str) -> str:
    """What a person types after a question, without blanks around it; `BadInput` where the terminal is closed instead."""
    try:
        return input(printable(question)).strip()
    except EOFError:
        raise BadInput(
            Problem(
                code="no-answer",
                what="a question was not answered",
                found="the end of the input",
                remedy="run it again, and answer",
            )
        ) from None


def table(rows: Sequence[Mapping[str, str]], out: IO[str] | None = None) -> None:
    """Print rows with the same keys, whole cells."""
    from rich.console import Console  # noqa: PLC0415 - late, all of rich: --help and completion answer at once

    out = out or sys.stdout
    width = None if out.isatty() else 1000  # lines that no window cuts are not folded
    Console(file=out, width=width, highlight=False, markup=False).print(_shown(rows))


@contextlib.contextmanager
def redrawn() -> Iterator[Callable[[Sequence[Mapping[str, str]]], None]]:
    """A table in the place of the one before, as long as this lasts; what does not fit on the terminal is cut off below."""
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    with Live(console=Console(highlight=False, markup=False), auto_refresh=False) as live:
        yield lambda rows: live.update(_shown(rows), refresh=True)


def _shown(rows: Sequence[Mapping[str, str]]) -> Any:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0] if rows else ():
        shown.add_column(printable(name), overflow="fold")
    for row in rows:
        shown.add_row(*map(printable, row.values()))
    return shown


def print_json(document: Any) -> None:
    """Print one JSON document. What JSON itself would leave and a terminal would obey is written as an escape of JSON, too."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
    if printable(text) != text:
        text = "".join(c if printable(c) == c else json.dumps(c)[1:-1] for c in text)
    print(text)


@contextlib.contextmanager
def bar(title: str) -> Iterator[Progress]:
    """Progress in bytes on a terminal; silence where nobody sits in front of one."""
    from rich import progress as bars  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(bar_width=24),
        bars.TaskProgressColumn(),
        bars.DownloadColumn(binary_units=True),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[text]}", markup=False),
    )
    console = Console(stderr=True)
    with bars.Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(printable(title), total=None, text="")
        yield lambda done, total, text: shown.update(task, completed=done, total=total, text=printable(text))
