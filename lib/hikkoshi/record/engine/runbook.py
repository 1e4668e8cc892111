"""Which notebook a step is, and what stands in it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager

from hikkoshi.errors import BadInput, HikkoshiError, Problem, nearest
from hikkoshi.params.home import Home
from hikkoshi.record import anatomy
from hikkoshi.run.step import STEPS

PROJECT = Path(__file__).parents[4]  # of a checkout
PACKAGED = Path(__file__).parents[2] / "notebooks"  # of a package that was built and installed; a checkout has none there


def shipped() -> Path:
    """The folder of the project's own notebooks."""
    return PACKAGED if PACKAGED.is_dir() else PROJECT / "notebooks"


def find(home: Home, step: str) -> Path:
    """A step's notebook: the home's own where it has some, else the project's."""
    own = home.root / "notebooks"
    path = (own if own.is_dir() else shipped()) / f"{step}.ipynb"
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


def read(path: Path) -> Any:
    """A notebook, as nbformat 4 has it. Keys that a cell lacks are added, and a tag that stands alone becomes a list of one.

    `BadInput` for what is no notebook, before anything is begun by it.
    """
    import nbformat  # noqa: PLC0415 - a kernel needs `find` alone, and loads this for longer than all else

    try:
        plain = json.loads(path.read_text(encoding="utf-8-sig"))
        about = plain.setdefault("metadata", {})
        for key in ("kernelspec", "language_info", "papermill"):
            if not isinstance(about.get(key, {}), dict):
                del about[key]
        for cell in plain.get("cells", []):
            _complete(cell)
        nb = nbformat.reads(json.dumps(plain), as_version=4)
        nbformat.writes(nb).encode()  # half a character has no place in a file
        return nb
    except (
        *(OSError, ValueError, AttributeError, TypeError, KeyError, AssertionError, RecursionError),
        nbformat.ValidationError,
    ) as e:
        raise BadInput(
            Problem(
                code="notebook-unreadable",
                what="the notebook cannot be read",
                where=str(path),
                found=str(e).splitlines()[0] if str(e) else type(e).__name__,
                expected="a notebook, as JupyterLab saves it",
                remedy="take it from the project again",
            )
        ) from None


def without_kernel(nb: Any, name: str) -> Iterator[tuple[int, HikkoshiError]]:
    """The obstacle that this machine does not have the kernel called `name`, as (cell, error)."""
    known = KernelSpecManager().find_kernel_specs()
    if name not in known:
        problem = Problem(
            code="kernel-unknown",
            what="the kernel that the notebook asks for is not on this machine",
            where="metadata.kernelspec",
            found=name,
            expected=f"one of: {', '.join(sorted(known))}",
            remedy="open it in JupyterLab, choose the kernel, save it; by papermill: -k python3",
        )
        yield anatomy.code(nb)[0], BadInput(problem)


def _complete(cell: Any) -> None:
    anatomy.put_right(cell)
    if cell["cell_type"] == "code":
        cell.setdefault("outputs", [])
        cell.setdefault("execution_count", None)
    if not isinstance(cell["source"], str | list):
        raise TypeError(f"a cell whose source is no text: {cell['source']!r}")
