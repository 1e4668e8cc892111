"""What an approver signs: a header of lines that programs read, and the page that a person has read."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

COMMON, BOUND = ("guest", "site", "server", "plan"), ("decisions", "vmdk", "machine")
GIVEN = ("approver", "approved", "expires")
HEADS = {  # {format: its header}; the first bound no disk and no machine, and counts for nothing but the runs of its time
    "hikkoshi approval 2": (*COMMON, *BOUND, *GIVEN),
    "hikkoshi approval 1": (*COMMON, *GIVEN),
}
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Statement:
    """What an approver signs. Times are in UTC, in whole seconds; every other field is one line, the page many."""

    guest: str
    site: str
    server: str  # vCenter or ESXi host
    plan: str  # SHA-256 of plan.json
    approver: str  # principal
    approved: datetime
    expires: datetime
    page: str
    decisions: str = ""  # SHA-256 of the plan without the source's digest
    vmdk: str = ""  # SHA-256
    machine: str = ""  # instance UUID in vSphere; empty as those two in what an earlier version wrote

    @property
    def format(self) -> str:
        """The first line says it: whether disk and machine are bound."""
        new, old = HEADS
        return new if self.vmdk else old

    def text(self) -> str:
        """The file: a line `name: value` for each field of the format's header, an empty line, the page."""
        values = {name: getattr(self, name) for name in ("format", *HEADS[self.format])}
        head = (f"{k}: {v:{TIME}}\n" if isinstance(v, datetime) else f"{k}: {v}\n" for k, v in values.items())
        return "".join([*head, "\n", self.page])


def parse(content: bytes) -> Statement | str:
    """The statement in a file, or why it is none. Strict: only what `Statement.text` writes is one."""
    try:
        return _parsed(content.decode())
    except ValueError as e:
        return line(str(e))


def _parsed(text: str) -> Statement:
    head, _, page = text.partition("\n\n")
    pairs = [row.partition(": ")[::2] for row in head.split("\n")]
    value = dict(pairs)
    if "\r" in text:
        raise ValueError("it has carriage returns: something has changed its line ends since")
    format = value.pop("format", "")
    if format not in HEADS:
        raise ValueError(f"its header does not begin with a format, {' or '.join(HEADS)}")
    if [name for name, _ in pairs] != ["format", *HEADS[format]]:
        raise ValueError(f"its header is not format, {', '.join(HEADS[format])}, each once")
    if not all(re.fullmatch(r"[0-9a-f]{64}", value[k]) for k in ("plan", "decisions", "vmdk") if k in value):
        raise ValueError("it names no plan, or no disk, by SHA-256")
    if not all(v.isprintable() and v.strip() for v in value.values()) or not page.strip():
        raise ValueError("a part of it is empty, or cannot be printed")
    approved, expires = (datetime.strptime(value.pop(k), TIME).replace(tzinfo=UTC) for k in ("approved", "expires"))
    found = Statement(**value, approved=approved, expires=expires, page=page)
    if expires <= approved or found.text() != text:
        raise ValueError("its times are not as hikkoshi approve writes them, the later one last")
    return found


def line(text: str) -> str:
    """A text of others on one line, without anything that a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
