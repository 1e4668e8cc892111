"""The papermill engine `hikkoshi`: the saved notebook, what is raised and the exit code tell the same, and the truth.

    papermill --engine hikkoshi notebooks/40-convert.ipynb out.ipynb -p guest gateway

A run is green only if every code cell was executed, none failed and one of them is tagged `verify`. Whatever ends it
earlier (an error, a time-out, a dead kernel, `SystemExit`, Ctrl-C or SIGTERM) is written into the cell where it happened;
the cells after it stay pending.

This module stays free of papermill: papermill loads it, by its entry point, while it is still being loaded itself.
"""

from typing import Any


class HonestEngine:
    """What papermill asks of an engine. Beside papermill's own options it takes those of `notebook.execute`."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, **options: Any) -> Any:
        """Run `nb` (changed in place, saved to `output_path` as it goes) and return it."""
        from hikkoshi.record.engine import notebook  # noqa: PLC0415 - see above

        return notebook.execute(nb, kernel_name, **options)

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> Any:
        """The kernel that the notebook asks for; where it asks for none, a name that no kernel has."""
        return name or _said(nb, "kernelspec", "name") or "none is named"

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> Any:
        """The notebook's language; Python where it names none."""
        return language or _said(nb, "language_info", "name") or _said(nb, "kernelspec", "language") or "python"


def _said(nb: Any, about: str, key: str) -> Any:
    """A word of a notebook's metadata; None where it has none, or something else stands there."""
    found = nb.metadata.get(about)
    return found.get(key) if isinstance(found, dict) else None
