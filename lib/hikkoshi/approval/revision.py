"""What a plan decides otherwise than the one before it."""

from collections.abc import Iterator
from typing import Any

from hikkoshi.approval.plan import Plan

LONGEST = 120  # characters of a value; what is longer, as a whole file, is only said to be another
NAMES = ("mac", "path")  # by which members of a list are known, so that one more does not make all after it others
ORDER = ", in order"  # behind the name of a list, whose members have rows of their own where they differ


def rows(before: Plan | None, now: Plan, *, approved: bool) -> list[dict[str, str]]:
    """A row for each decision that is another; `approved` is whether an approval of the earlier plan counts."""
    if before is None:
        return [{"what": "no plan was there before"}]
    if before.hash == now.hash:
        return [{"what": "nothing: the plan that was there stays" + (", and its approval counts on" if approved else "")}]
    was, becomes = dict(_flat(before.model_dump(mode="json"))), dict(_flat(now.model_dump(mode="json")))
    names = [name for name in dict.fromkeys([*becomes, *was]) if was.get(name) != becomes.get(name)]
    more = {
        n for n in names if n.endswith(ORDER) and sorted(was.get(n, "").split(", ")) != sorted(becomes.get(n, "").split(", "))
    }
    found = [{"what": n, "before": _short(was.get(n, "–")), "now": _short(becomes.get(n, "–"))} for n in names if n not in more]
    return [*([{"what": "approval", "before": "counts", "now": "none: this plan needs its own"}] if approved else []), *found]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, value) of everything in a tree."""
    if isinstance(value, dict):
        pairs = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list):
        pairs = [(_called(part) or str(n), part) for n, part in enumerate(value, 1)]
        yield name + ORDER, ", ".join(key for key, _ in pairs)
    else:
        yield name, "–" if value is None else str(value)
        return
    for key, part in pairs:
        yield from _flat(part, f"{name}.{key}" if name else key)


def _called(part: Any) -> str:
    return next((str(part[n]) for n in NAMES if part.get(n)), "") if isinstance(part, dict) else ""


def _short(value: str) -> str:
    return value if len(value) <= LONGEST and "\n" not in value else f"another text, of {len(value):,} characters"
