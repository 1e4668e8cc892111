"""What journals of earlier versions tell in words alone, and the codes that these words stand for. Nothing else knows them.

A line is completed as it is read; its bytes, and so its hash, stay as they were written.
"""

import re
from collections.abc import Mapping
from typing import Any

from hikkoshi.check import UNSEEN

ACTIONS = {"the source is off": "source-off", "the source is back in service": "source-runs"}
CHECKS = (  # (what a title begins with, once the time that it is about is taken off; its code)
    ("whoever carries this out can sign for it", "operator-signs"),
    ("the guest does not slow its network down", "not-slowed"),
    ("nor does it from", "segment-not-slowed"),
)
BY_HAND = ("a person has to start", "start-by-hand")
KIND = re.compile(r"([A-Z]\w+): (.*)", re.DOTALL)  # the class of an error, and its words


def completed(entry: dict[str, Any]) -> dict[str, Any]:
    """A line of a journal with the codes that it lacks; as it is, where it has them."""
    event = entry.get("event")
    if event in ("start", "step") and "code" not in entry:
        entry = {**entry, "code": ACTIONS.get(str(entry.get("title")), "")}
        if event == "step":
            entry["state"] = _state(entry)
            failed = entry["state"] == "failed"
            entry |= {"kind": _kind(entry.get("found"))[0], "codes": _codes(entry.get("found"))} if failed else {}
    elif event == "outcome" and "kind" not in entry:
        kind, words = _kind(entry.get("error", ""))
        entry = {**entry, "kind": kind, "error": words, "codes": _codes(words)}
    elif event in ("preflight", "verify") and isinstance(entry.get("checks"), list):
        entry = {**entry, "checks": [_check(c) if isinstance(c, dict) else c for c in entry["checks"]]}
    return entry


def _check(check: dict[str, Any]) -> dict[str, Any]:
    if "code" in check:
        return check
    title, found = str(check.get("title")), str(check.get("found"))
    said = title.partition(": ")[2] or title
    code = next((code for words, code in CHECKS if said.startswith(words)), "")
    name, _, key = found.partition(", ")
    facts = {"name": name, "key": key} if code == "operator-signs" else {"verdict": found.partition(":")[0]} if code else {}
    return {**check, "code": code, "facts": facts, "state": _state(check)}


def _state(line: Mapping[str, Any]) -> Any:
    """The word for what nobody has seen; earlier it stood in what was found, beside `ok` or `already`."""
    state, found = line.get("state"), str(line.get("found", ""))
    told = (word for word in UNSEEN if found.startswith((f"{word}:", f"{word} from here")))
    return next(told, state) if state in ("ok", "already") else state


def _codes(words: Any) -> list[str]:
    said, code = BY_HAND
    return [code] if said in str(words) else []


def _kind(words: Any) -> tuple[str, Any]:
    found = KIND.fullmatch(words) if isinstance(words, str) else None
    return (found[1], found[2]) if found else ("", words)
