"""Every fault in every moment of a deployment, a cut-over and a rollback; one row each.

`python -m hikkoshi_lab.faults`, which is `make faults`, prints the table, and ends with 1 if a row is not as it has to be.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from hikkoshi.run.step import CUTOVER, DEPLOY, ROLLBACK, Step
from hikkoshi.secret import temporary
from hikkoshi_lab.faults import cell, play, stage
from hikkoshi_lab.faults.play import FaultRow

COLUMNS = ("step", "when", "what goes wrong", "what the run told", "what it may tell", "again")
STEPS = (DEPLOY, CUTOVER, ROLLBACK)


def rows(step: Step) -> list[FaultRow]:
    """Every cell of a step, each shown when it was played."""
    with temporary.folder("faults") as folder, stage.start(folder) as place:
        return [_shown(play.play(place, *one)) for one in play.cells(step)]


def _shown(row: FaultRow) -> FaultRow:
    where, again = (row.moment.step.id, row.moment.name), "WRONG" if row.wrong else "done"
    print(
        f"| {' | '.join((*where, row.misfortune.name, row.told, ' or '.join(row.may_tell), again))} |",
        *(f"\n  WRONG: {words}" for words in row.wrong),
        sep="",
        flush=True,
    )
    return row


def main() -> int:
    """Print the table; 1 if a row is wrong."""
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    with ThreadPoolExecutor() as pool:
        found = [row for part in pool.map(rows, STEPS) for row in part]
    failed = sum(bool(row.wrong) for row in found)
    print(f"\n{len(found)} cells, {failed} wrong. Left out:")
    for why, names in cell.omitted().items():
        print(f"- {why}: {', '.join(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
