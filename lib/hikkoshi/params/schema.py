"""JSON Schemas of the parameter files, by which an editor completes and checks what is typed."""

import json
from pathlib import Path

from hikkoshi.params.guest import Guest
from hikkoshi.params.site import Site


def write(folder: Path) -> None:
    """Write those of both files."""
    folder.mkdir(parents=True, exist_ok=True)
    for model, name in ((Site, "site"), (Guest, "guest")):
        (folder / f"{name}.schema.json").write_text(json.dumps(model.model_json_schema(), indent=2) + "\n")
