"""The privileges that are asked for, as the page for vSphere's administrator has them."""

import re
from pathlib import Path

from hikkoshi.vsphere.preflight import readiness

PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def test_the_page_lists_exactly_what_is_asked_for() -> None:
    section = PAGE.read_text().partition("## What the user in vSphere may do")[2].partition("\n##")[0]
    listed, group = set(), ""
    for word in re.findall(r"`([A-Za-z.]+)`", "".join(line for line in section.splitlines(True) if line.startswith("|"))):
        group = group if word.startswith(".") else word.rpartition(".")[0]
        listed.add(f"{group}.{word.rpartition('.')[2]}")
    assert listed == {*readiness.ON_FOLDER, *readiness.ON_POOL, *readiness.ON_DATASTORE, *readiness.ON_NETWORK}
