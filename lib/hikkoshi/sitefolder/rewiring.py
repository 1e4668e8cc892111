"""A guest's file with other segments for its NICs. All else in it stays as somebody wrote it, comments and order too."""

import contextlib
import difflib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from hikkoshi import files
from hikkoshi.errors import BadInput, Problem, Refused
from hikkoshi.params import yamlfile
from hikkoshi.params.guest import Guest, NicMap
from hikkoshi.params.home import Home
from hikkoshi.params.yamlfile import scalar

AGAIN = "run this notebook again from its first cell"
_Edit = tuple[int, int, str]  # from where to where in the text, and what stands there then


@dataclass(frozen=True)
class Rewiring:
    """What a guest's file was, and what it becomes."""

    name: str  # below the site's folder
    before: str
    after: str

    @property
    def diff(self) -> str:
        """Both as a unified diff; empty where nothing changes."""
        before, after = self.before.splitlines(), self.after.splitlines()
        return "\n".join(difflib.unified_diff(before, after, self.name, self.name, n=1, lineterm=""))

    @property
    def sums(self) -> dict[str, str]:
        """The SHA-256 of both, as `sha256sum` prints them."""
        return {"before": _sum(self.before), "after": _sum(self.after)}


def of(home: Home, guest: str, digest: str, wanted: Mapping[str, str]) -> Rewiring:
    """A guest's file where each MAC of `wanted` is on the segment there; a MAC that it lacks gets a line of its own.

    `Refused` where the file is not the one with this SHA-256 any more. `BadInput` where its list of NICs is written in a form
    in which it is not changed here, and for all that reading the file would refuse.
    """
    path, name = home.guest_file(guest), f"params/guests/{guest}.yml"
    before = yamlfile.text(path)
    if _sum(before) != digest:
        raise newer(str(path), f"SHA-256 {_sum(before)}", digest)
    there = home.guest_of(guest, before)
    on = {mac.lower(): segment for mac, segment in wanted.items()}
    known = {nic.mac.lower() for nic in there.nics}
    nics = [NicMap(mac=nic.mac, segment=on.get(nic.mac.lower(), nic.segment)) for nic in there.nics]
    more = [NicMap(mac=mac, segment=segment) for mac, segment in on.items() if mac not in known]
    after = before
    with contextlib.suppress(LookupError, AttributeError, TypeError, ValueError):
        for begin, end, new in sorted(_edits(before, {n.mac: n.segment for n in nics}, more), reverse=True):
            after = after[:begin] + new + after[end:]
    wished = there.model_copy(update={"nics": (*nics, *more)})
    if (after == before and wished != there) or not _is(home, guest, after, wished):
        lines = "; ".join(f"- {_item(nic)}" for nic in (*nics, *more) if nic not in there.nics)
        raise BadInput(
            Problem(
                code="nics-form-unusual",
                what="the list of NICs is written in a form in which it is not changed here",
                where=f"{path}: nics",
                expected=f"a line for each NIC: {_item(nics[0] if nics else more[0])}",
                remedy=f"write it into the file: {lines}. Then {AGAIN}",
            )
        )
    return Rewiring(name, before, after)


def newer(where: str, found: str, expected: str) -> Refused:
    """What is told of a run whose parameters are others by now."""
    return Refused(
        Problem(
            code="parameters-newer",
            what="parameters were changed since this run began",
            where=where,
            found=found,
            expected=expected,
            remedy=AGAIN,
        )
    )


def write(home: Home, guest: str, rewiring: Rewiring, told: Callable[[], object]) -> None:
    """Put it in the file's place, as a whole, where a link leads too. `told` is called right before: what it raises stops it.

    `BadInput` where the file cannot be written, `Refused` where somebody else has changed it since it was read.
    """
    path = home.guest_file(guest).resolve()
    try:
        with files.part(path) as unfinished:
            unfinished.write_bytes(rewiring.after.encode())
            shutil.copymode(path, unfinished)
            there = path.stat()
            for owner, group in ((-1, there.st_gid), (there.st_uid, -1)):
                with contextlib.suppress(PermissionError):  # only root gives files away; to their own groups, all do
                    os.chown(unfinished, owner, group)
            told()  # may wait for the journal
            if (now := yamlfile.text(path)) != rewiring.before:
                raise newer(str(path), f"SHA-256 {_sum(now)}", rewiring.sums["before"])
    except OSError as e:
        raise BadInput(
            Problem(
                code="parameters-unwritable",
                what="the guest's file cannot be written",
                where=str(path),
                found=e.strerror or str(e),
                expected="a folder that you may write into",
                remedy="give yourself the right to write there. The file is as it was",
            )
        ) from None


def _edits(text: str, segments: Mapping[str, str], more: list[NicMap]) -> Iterator[_Edit]:
    """What to change where, by the places that the YAML parser tells."""
    nics = _keys(YAML(typ="rt").compose(text))["nics"]
    end = nics.end_mark.index
    for item in nics.value:
        keys = _keys(item)
        value, ends = keys["segment"], (item,) if item.flow_style else keys.values()
        end = max(part.end_mark.index for part in ends)
        begin, wanted = value.start_mark.index, segments[keys["mac"].value]
        if text[begin : value.end_mark.index].strip("\"'") != value.value:
            raise ValueError(value.value)  # an anchor, an escape, a text of several lines
        if value.value != wanted:
            yield begin, value.end_mark.index, scalar(wanted)
    if not more:
        return
    if nics.flow_style and nics.value:
        at = nics.value[-1].end_mark.index
        yield at, at, "".join(f", {_item(nic)}" for nic in more)
        return
    if not nics.value:  # brackets with nothing between
        if text[nics.start_mark.index : end].strip("[] \t\r\n"):
            raise ValueError(text)  # a comment, which would be gone
        yield nics.start_mark.index - (text[nics.start_mark.index - 1] == " "), end, ""
    column = nics.start_mark.column if nics.value else 2
    behind = re.compile(r"\r?\n|\Z").search(text, end)
    assert behind
    eol = behind[0] or ("\r\n" if "\r\n" in text else "\n")
    lines = "".join(f"{eol}{' ' * column}- {_item(nic)}" for nic in more)
    yield behind.start(), behind.start(), lines


def _is(home: Home, guest: str, text: str, wished: Guest) -> bool:
    """Whether a guest's file with this text is what was wished. What is wrong with the wish itself is told by its reader."""
    try:
        return home.guest_of(guest, text) == wished
    except BadInput as e:
        if e.problems[0].code == "parameters-not-yaml":  # by our edit: the file itself was read before
            return False
        raise


def _keys(node: Any) -> dict[str, Any]:
    return {key.value: value for key, value in node.value}


def _item(nic: NicMap) -> str:
    return f'{{ mac: "{nic.mac}", segment: {scalar(nic.segment)} }}'


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
