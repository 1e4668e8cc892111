"""The executed notebook on disk."""

import contextlib
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from papermill.engines import NotebookExecutionManager
from papermill.execute import remove_error_markers

from hikkoshi.record import anatomy
from hikkoshi.secret.masking import Mask

WHERE = "papermill-error-cell"  # the anchor at the cell that failed, as papermill calls it


class Record(NotebookExecutionManager):  # type: ignore[misc]
    """The executed notebook on disk: replaced atomically, without secrets, and only what happened is called completed."""

    def __init__(self, nb: Any, mask: Mask, output_path: str | None, *, rescue: bool = False, **options: Any) -> None:
        super().__init__(nb, output_path=output_path, **options)
        self.mask, self.rescue = mask, rescue
        self._waits = False

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """Note that a cell begins; `save` writes it."""
        with self._unwritten():
            super().cell_start(cell, cell_index=cell_index, **kwargs)

    def cell_complete(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """Note that a cell has ended; `save` writes it."""
        with self._unwritten():
            super().cell_complete(cell, cell_index=cell_index, **kwargs)

    @contextlib.contextmanager
    def _unwritten(self) -> Iterator[None]:
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def save(self, **kwargs: Any) -> None:
        """Write the notebook as it is now; as long as it is not whole, in one line, which takes a quarter of the time."""
        if self.output_path and not self._waits:
            path = Path(self.output_path)
            new = path.with_name(path.name + ".new")
            try:
                clean = self.mask.tree(self.nb)
                text = nbformat.writes(clean) if self.end_time else json.dumps(clean, ensure_ascii=False)
                new.write_text(text + "\n", encoding="utf-8")
                new.replace(path)
            except OSError:
                with contextlib.suppress(OSError):
                    new.unlink(missing_ok=True)  # on a full disk others need the room: the journal, above all
                if not self.rescue:
                    raise
        self.last_save_time = self.now()

    def fail(self, index: int, kind: str, text: str) -> None:
        """Mark a code cell as the one where the run ended, with an error output that says why."""
        cell, text = self.nb.cells[index], self.mask.text(text)
        cell.outputs.append(nbformat.v4.new_output("error", ename=kind, evalue=text, traceback=[f"{kind}: {text}"]))
        self.cell_exception(cell, cell_index=index)

    @property
    def failed(self) -> bool:
        """Whether a cell was marked as failed."""
        return bool(self.nb.metadata.papermill["exception"])

    def notebook_complete(self, **kwargs: Any) -> None:
        """Close the record. Cells that never ran stay pending; papermill writes `nb` once more, so no secret stays in it."""
        self.end_time = self.now()
        self.nb.metadata.papermill["end_time"] = self.end_time.isoformat()
        self.nb.metadata.papermill["duration"] = (self.end_time - self.start_time).total_seconds()
        clean = self.mask.tree(self.nb)
        self.nb.cells, self.nb.metadata = clean.cells, clean.metadata
        self.save()


def headed(nb: Any) -> Any:
    """The notebook with what ended it as the first thing that is seen, in place of papermill's words, which do not say it."""
    nb = remove_error_markers(nbformat.v4.upgrade(nb))
    failed = [(i, o) for i, cell in enumerate(nb.cells) for o in cell.get("outputs", ()) if o.output_type == "error"]
    if failed:
        index, error = failed[-1]
        told = f"{error.ename}: {error.evalue}"
        if error.traceback[:1] == [told]:  # an error of ours, and not forty lines of a program
            told = "\n".join(error.traceback)
        nb.cells.insert(index, _marker(f'<span id="{WHERE}"></span>**✘ This cell failed:**'))
        nb.cells.insert(0, _marker(f"**✘ This run did not succeed, because of [this cell](#{WHERE}):**\n\n{_as_it_is(told)}"))
    return nb


def _as_it_is(text: str) -> str:
    """A text in which Markdown finds nothing of its own."""
    return textwrap.indent(text, "    ")


def _marker(source: str) -> Any:
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": [anatomy.FAILED]})
