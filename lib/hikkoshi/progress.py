"""How long work tells how far it is; notebooks and commands decide how that looks."""

from collections.abc import Callable

Progress = Callable[[float, float, str], None]
"""`(done, total, text)`: in any one unit, bytes or seconds; `text` says the present state, such as '12.3 MiB/s'."""


def silent(done: float, total: float, text: str) -> None:
    """Progress that nobody watches."""
