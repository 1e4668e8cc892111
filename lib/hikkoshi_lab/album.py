"""The pictures of the tutorial, out of what `make demo` has shown: `make pictures` writes them into docs/pictures.

Each is what a cell of an executed runbook shows, in few colours, so that it is small in the repository.
"""

import base64
import io
import sys
from pathlib import Path

import nbformat
from PIL import Image

from hikkoshi.params.home import Home
from hikkoshi.run.step import CONVERT, CUTOVER, NETPERF, PLAN, REHEARSE, Step

GUEST = "gateway"
COLOURS, WIDEST = 24, 1000  # of a picture, and pixels
TAKEN = {  # {name: the step whose runbook shows it, and what the cell says}
    "wires": (PLAN, "plan.wires"),
    "disk": (CONVERT, "convert.map_of_the_disk"),
    "console-before": (REHEARSE, "rehearse.control_screen"),
    "console-after": (REHEARSE, "rehearse.screen"),
    "outage": (CUTOVER, "cutover.outages"),
    "throughput": (NETPERF, "netperf.every_run"),
}


def shown(runs: Path, step: Step, words: str) -> bytes:
    """The picture (PNG) that the cell with these words shows in the newest executed notebook of a step.

    `LookupError` where there is none: the step has not been run, or has shown no picture.
    """
    for path in sorted(runs.glob(f"*-{step}.ipynb"), reverse=True):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", ()) if words in cell.source else ():
                if found := output.get("data", {}).get("image/png"):
                    return base64.b64decode(found)
    raise LookupError(f"no executed {step} in {runs} shows a picture by {words}: run `make demo` first")


def small(png: bytes) -> bytes:
    """The same picture in few colours, and not wider than a page."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    made = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
    return made.getvalue()


def main(folder: Path) -> None:
    """Write all of them, or none."""
    runs = Home.find().folder(GUEST).runs
    pictures = {name: small(shown(runs, *taken)) for name, taken in TAKEN.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        (folder / f"{name}.png").write_bytes(png)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
