"""What somebody needs who helps with a guest, in one file and without secrets: no disk, no key, no picture of a console.

Known secrets are replaced by their names, and what looks like one is not kept: see `hikkoshi.secret`. Then all of it is
searched as a record is before it is sealed, and nothing is packed where a secret is found.
"""

import errno
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hikkoshi import files
from hikkoshi.cli import doctor
from hikkoshi.errors import BadInput, Problem, Refused, printable
from hikkoshi.params.folder import GuestFolder
from hikkoshi.params.home import Home
from hikkoshi.record.engine import environment
from hikkoshi.run.journal import Journal
from hikkoshi.secret import leaks, masking, redaction, temporary
from hikkoshi.secret.redaction import Redactor

LATEST = 5  # runs whose failed cells are told, and stories of errors that nobody foresaw
RESULTS = (GuestFolder.survey, GuestFolder.plan)
WORD = 8  # characters of an argument that may be a password, or an address that lets whoever has it in
REFERENCE = re.compile(rb"(?:env|file|keyring):\S+")  # says where a secret is, not what it is
ABOUT = """A bundle of Hikkoshi for whoever helps with the guest {guest}, made {now:%Y-%m-%d %H:%M} UTC.

It holds names, addresses and settings of the site and the guest, and no disk, key or picture. Passwords that are known, or
that look like one, are not in it. Searched for: {searched}. Not searched for, since it cannot be read here: {unread}.
"""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was written: its file, what is in it, and the secrets that nobody could search for."""

    file: Path
    members: tuple[str, ...]
    unread: tuple[str, ...]


def write(home: Home, guest: str, to: Path) -> Bundle:
    """Gather, search and pack; `Refused` for a secret that stands in it, `BadInput` for a file that cannot be made."""
    folder, secrets, unread = home.folder(guest), home.secrets(), home.unread_secrets()
    if not folder.is_dir() and not files.regular(home.guest_file(guest)):
        home.guest(guest)  # refuses a name that nobody knows
    with temporary.folder("bundle") as place:
        draft = place / f"hikkoshi-{guest}"
        for name, text in _texts(home, folder, masking.Mask(secrets)):
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_text(printable(text), encoding="utf-8", errors="backslashreplace")
        searched = ", ".join(sorted(s.name for s in secrets)) or "none"
        told = ABOUT.format(guest=guest, now=datetime.now(UTC), searched=searched, unread=", ".join(unread) or "none")
        (draft / "about.txt").write_text(told, encoding="utf-8")
        if leaked := leaks.scan(draft, secrets):
            remedy = "nothing was packed: take it out where it comes from, and change the secret, for it may have been seen"
            raise Refused(*(replace(p, where=p.where.removeprefix(f"{draft}/"), remedy=remedy) for p in leaked))
        members = sorted(str(p.relative_to(place)) for p in draft.rglob("*") if p.is_file())
        _pack(place, members, to)
    return Bundle(to, tuple(members), tuple(unread))


def _texts(home: Home, folder: GuestFolder, mask: masking.Mask) -> Iterator[tuple[str, str]]:
    """{name in the bundle: text without secrets}, of everything that is there."""

    def clean(text: str) -> str:
        return redaction.shown(mask.text(text), redaction.OUTPUT)

    def shown(document: Any, indent: int | None = 1) -> str:
        """A tree as JSON: its texts one by one, for their ends of lines are none in JSON."""
        return mask.text(json.dumps(_each(document, clean), indent=indent, ensure_ascii=False)) + "\n"

    hidden = _told(home)
    for path in filter(os.path.lexists, (home.site_file, home.guest_file(folder.name))):
        yield f"params/{path.name}", mask.text(_parameters(path, hidden))
    ours = {"doctor": [found.plain() for found in doctor.findings(home)], "versions": environment.versions()}  # our own words
    yield from ((f"{name}.json", json.dumps(mask.tree(told), indent=1, ensure_ascii=False)) for name, told in ours.items())
    entries = Journal(folder.journal).entries()
    yield GuestFolder.journal, "".join(shown(dict(entry), indent=None) for entry in entries)
    for name in filter(lambda name: os.path.lexists(folder / name), RESULTS):
        yield name, shown(_document(folder / name))
    for run in list(dict.fromkeys(e.run for e in entries if e.run))[-LATEST:]:
        if executed := folder.executed(run):
            yield f"runs/{run}.txt", clean(_failed(_document(executed)))
    for log in sorted((home.outputs / "logs").glob("*.log"))[-LATEST:]:
        yield f"logs/{log.name}", clean(_read(log))


def _told(home: Home) -> list[str]:
    """What the program that tells of a fleet is given: short words are kept, and none that may let somebody in."""
    notify = home.site().notify
    words = notify.command[1:] if notify else ()
    return sorted((word for word in words if len(word) >= WORD), key=len, reverse=True)


def _parameters(path: Path, hidden: Iterable[str]) -> str:
    """A parameter file; where it should point to a secret and holds one instead, that is not kept, nor is what is `hidden`."""
    redactor = Redactor()
    content = redactor.redact(str(path), _read(path).encode())
    for value, token in redactor.tokens.items():
        reference = REFERENCE.match(value)
        content = content.replace(token, reference[0] if reference else redaction.HIDDEN.encode())
    text = content.decode()
    for word in hidden:
        text = text.replace(word, redaction.HIDDEN)
    return text


def _failed(notebook: Any) -> str:
    """The cells of an executed notebook that ended in an error: what stood in them, and what they told."""
    lines = []
    for number, cell in enumerate(notebook.get("cells", ()) if isinstance(notebook, dict) else ()):
        outputs = cell.get("outputs", ())
        if any(o.get("output_type") == "error" for o in outputs):
            told = [o.get("text") or o.get("traceback") or o.get("data", {}).get("text/plain", "") for o in outputs]
            lines += [f"cell {number}:", _joined(cell.get("source", "")), *map(_joined, told)]
    return "\n".join([*(lines or ["no cell ended in an error"]), ""])


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(line if line.endswith("\n") else f"{line}\n" for line in text)


def _document(path: Path) -> Any:
    """What a file of JSON holds; its text where it is none."""
    text = _read(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _each(node: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(node, dict):
        return {key: _each(value, (lambda _: redaction.HIDDEN) if _is_secrets(key) else clean) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_each(value, clean) for value in node]
    return clean(node) if isinstance(node, str) else node


def _is_secrets(key: str) -> bool:
    """Whether a text of this name is a secret."""
    return redaction.shown(f"{key}=x", redaction.OUTPUT) != f"{key}=x"


def _read(path: Path) -> str:
    try:
        return files.read(path).decode(errors="backslashreplace")
    except OSError as e:
        return f"not read: {e.strerror}\n"


def _pack(place: Path, members: list[str], to: Path) -> None:
    """Write the archive: all of it or nothing, and over nothing that is there."""
    try:
        if os.path.lexists(to):
            raise FileExistsError(errno.EEXIST, "it is there already")
        with files.part(to) as unfinished, tarfile.open(unfinished, "w:gz") as archive:
            for name in members:
                archive.add(place / name, name)
    except OSError as e:
        raise BadInput(
            Problem(
                code="bundle-not-written",
                what="the bundle cannot be written",
                where=str(to),
                found=e.strerror or str(e),
                expected="a new file, in a folder that you may write into",
                remedy="name another one by -o. Nothing is left half-written",
            )
        ) from None
