"""What all steps have in common: each is made from a run, and a notebook opens that run by its step."""

from collections.abc import Mapping
from typing import Any, ClassVar

from hikkoshi.run.run import Run, open_run
from hikkoshi.run.step import Step


class Runbook:
    """One step, for one guest: what the cells of its notebook call, in the order of the notebook.

    Its methods have the same names in every step. `checks` is what has to be so beforehand. `complete` asks the world whether
    the step's work is done, and `start` does it; a step that only reads asks nothing. A second action has such a pair of
    its own: `outage_recorded` and `record_outage`. What is shown is named after what it shows. `proofs` is the step's promise,
    asked of the world, and `evidence` the files that the run leaves.
    """

    step: ClassVar[Step]

    def __init__(self, run: Run) -> None:
        self.run = run

    @classmethod
    def open(cls, names: Mapping[str, Any]) -> Run:
        """Open a run of this step with a notebook's variables, `vars()`; see `open_run` for what it refuses."""
        return open_run(cls.step.id, names)
