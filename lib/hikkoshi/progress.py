"""How long work tells how far it is; notebooks and commands decide how that looks."""

from collections.abc import Callable, Sequence

Progress = Callable[[float, float, str], None]
"""`(done, total, text)`: in any one unit, bytes or seconds; `text` says the present state, such as '12.3 MiB/s'.

All of it done, and no text: it is over, whatever was told last.
"""


def silent(done: float, total: float, text: str) -> None:
    """Progress that nobody watches."""


def shares(progress: Progress, sizes: Sequence[float]) -> list[Progress]:
    """A progress for each of several pieces of work of these sizes; each tells its own in any unit, together they are one."""

    def share(before: float, size: float) -> Progress:
        return lambda done, total, text: progress(before + size * done / (total or 1), whole, text)

    whole = sum(sizes) or 1
    return [share(sum(sizes[:n]), size) for n, size in enumerate(sizes)] if len(sizes) > 1 else [progress]
