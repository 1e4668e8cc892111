"""Which notebook a step is."""

from pathlib import Path

from hikkoshi.errors import BadInput, Problem, nearest
from hikkoshi.params.home import Home
from hikkoshi.run.step import STEPS

PROJECT = Path(__file__).parents[4]


def find(home: Home, step: str) -> Path:
    """A step's notebook: the home's own where it has some, else the project's."""
    own = home.root / "notebooks"
    path = (own if own.is_dir() else PROJECT / "notebooks") / f"{step}.ipynb"
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.ipynb"))
        raise BadInput(
            Problem(
                code="notebook-missing",
                what="there is no notebook for this step",
                where=str(path),
                expected="one of: " + (", ".join(known) or "(the folder holds none)"),
                remedy=nearest(step, [*known, *STEPS]) or "take the notebooks from the project again",
            )
        )
    return path
