"""No live secret in a folder: every name and all content is searched before the folder is sealed.

A value is found in each of its `masking.forms`, as UTF-16 or Latin-1, as a list of decimal bytes, and with every
character escaped. Where a form has enough letters and digits to be told from chance (`SPREAD`), it is also found with
anything else between them: over lines, cells of a table, string literals, lists of characters, chunks of a notebook's
stream.

Not found: values shorter than `reference.SHORTEST`; pieces of fewer letters and digits than `SPREAD`, or further apart than
`OVERLAP` bytes outside of JSON; a part of a value; a value turned round, in other case or with characters replaced;
pixels; whatever is compressed or encrypted. What cannot be read is a problem too: nobody knows what is in it.
"""

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hikkoshi.errors import Problem
from hikkoshi.secret import masking, reference
from hikkoshi.secret.reference import Secret

CHUNK = 2**20  # bytes searched at once
OVERLAP = 2**16  # bytes that are searched with the chunk before, too
SPREAD = 8  # letters and digits that are no coincidence, even with other characters between them
SPREAD_DIGITS = 16  # the same of digits alone: tables are full of these
SMALL = 2**26  # bytes; files up to this size are also searched as what they are: JSON, numbered lines

SHORT_LINE = 40  # bytes of a line that holds a number and one value of a byte
DIGITS = b"0123456789"
BETWEEN = bytes(b for b in range(256) if not (b < 128 and chr(b).isalnum()))
MARKUP = re.compile(rb"<th[^<>]*>\s*\d+\s*</th>|<[^<>]*>|\\[nrt]")  # a tag, the number of a table's row, a JSON line end
NUMBERED = re.compile(rb"(?m)^[ \t]*\d+[ \t:|,.]+")  # one value a line, as pandas and CSV have it


@dataclass(frozen=True)
class _Form:
    """The ways of writing a value that have the same letters and digits, `core`."""

    secret: Secret
    core: bytes
    texts: tuple[tuple[bytes, str], ...]  # how it is written, and the word for that

    @property
    def spread(self) -> bool:
        """Whether the core alone proves that the value is there."""
        return len(self.core) >= (SPREAD_DIGITS if self.core.isdigit() else SPREAD)


@dataclass(frozen=True)
class _Find:
    """A secret at a place."""

    secret: Secret
    place: int
    how: str


def scan(folder: Path, secrets: Iterable[Secret], *, but: str = "") -> list[Problem]:
    """One problem for each file or folder below `folder` and each live secret that stands in its name or content.

    What lies in the folder `but` there is not looked at. The problems never hold a value. Symbolic links are not followed: their
    names and targets are searched.
    """
    secrets = list(secrets)
    forms = [form for secret in secrets for form in _forms(secret)]
    mask, problems = masking.Mask(secrets), list[Problem]()
    for path in _everything(folder, problems, but):
        name = path.relative_to(folder)
        shown = _shown(path, folder, forms, mask)
        in_parent = {f.secret.name for f in _finds(os.fsencode(name.parent), forms)}
        for find in _finds(os.fsencode(name), forms):
            if find.secret.name not in in_parent:
                problems.append(_problem(find.secret, shown, f"in a name, {find.how}"))
        try:
            problems += [_problem(f.secret, f"{shown}:{f.place}", f.how) for f in _in_file(path, forms)]
        except OSError as e:
            problems.append(_unread(shown, e))
    return problems


def _everything(folder: Path, problems: list[Problem], but: str) -> Iterator[Path]:
    def unread(e: OSError) -> None:
        problems.append(_unread(str(e.filename), e))

    for place, folders, files in os.walk(folder, onerror=unread):
        folders[:] = sorted(name for name in folders if not but or Path(place, name) != folder / but)
        yield from (Path(place, name) for name in sorted([*folders, *files]))


def _shown(path: Path, folder: Path, forms: list[_Form], mask: masking.Mask) -> str:
    """The path without a secret: masked, or as much of it as holds none."""
    told = Path(mask.text(str(path.relative_to(folder))))
    while any(_finds(os.fsencode(told), forms)):
        told = told.parent
    return str(folder / told)


def _problem(secret: Secret, where: str, how: str) -> Problem:
    return Problem(
        code="secret-in-record",
        what=f"the secret {secret!r} stands in what was to be sealed",
        where=where,
        found=how,
        expected="no secret anywhere in a record",
        remedy="change the secret, it may have been seen; take it out of what wrote this, and remove what was written; run the "
        "step again",
    )


def _unread(where: str, e: OSError) -> Problem:
    return Problem(
        code="secret-search-failed",
        what="a file could not be searched for secrets",
        where=where,
        found=e.strerror or str(e),
        expected="a regular file that can be read",
        remedy="see what it is, make it readable or remove it, then run the step again",
    )


def _forms(secret: Secret) -> Iterator[_Form]:
    value = secret.reveal()
    if len(value) < reference.SHORTEST:
        return
    raw = value.encode(errors="surrogateescape")
    words = {raw: "as it is"}
    words |= {t.encode(): "as base64" for t in masking.base64_forms(value)}
    words |= {raw.hex().encode(): "in hexadecimal", raw.hex().upper().encode(): "in hexadecimal"}
    for text in masking.forms(value):
        words.setdefault(text.encode(errors="surrogateescape"), "escaped")
    for other in masking.encoded(value):
        words.setdefault(other, "in another encoding")
    double = value.encode("utf-16-be", "surrogatepass")
    units = [double[n : n + 2].hex() for n in range(0, len(double), 2)]
    words.setdefault("".join(rf"\u{u}" for u in units).encode(), "escaped")
    if len(raw) >= SPREAD:
        words.setdefault(", ".join(map(str, raw)).encode(), "as a list of bytes")
    cores: dict[bytes, list[tuple[bytes, str]]] = {}
    for form, word in words.items():
        cores.setdefault(form.translate(None, BETWEEN), []).append((form, word))
    yield from (_Form(secret, core, tuple(texts)) for core, texts in cores.items())


def _in_file(path: Path, forms: list[_Form]) -> list[_Find]:
    """The first place of each secret in a file."""
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        return []
    if stat.S_ISLNK(mode):
        return list(_finds(os.fsencode(path.readlink()), forms))
    if not stat.S_ISREG(mode):
        raise OSError("not a regular file")
    found: dict[str, _Find] = {}
    small = path.stat().st_size <= SMALL
    for start, piece in _pieces(path):
        left = [f for f in forms if f.secret.name not in found]
        for find in _finds(piece, left, numbered=small):
            found.setdefault(find.secret.name, _Find(find.secret, start + find.place, find.how))
    left = [f for f in forms if f.secret.name not in found]
    if left and small and path.suffix in (".ipynb", ".json", ".jsonl"):
        for where, text in _texts(path.read_bytes()):
            for find in _finds(text, left, numbered=True):
                found.setdefault(find.secret.name, _Find(find.secret, 0, f"in pieces, in {where}"))
    return list(found.values())


def _pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as f:
        start, kept = 0, b""
        while block := f.read(CHUNK):
            piece = kept + block
            yield start, piece
            kept = piece[-OVERLAP:]
            start += len(piece) - len(kept)


def _finds(raw: bytes, forms: Iterable[_Form], *, numbered: bool = False) -> Iterator[_Find]:
    """Each secret's place in `raw`, at most one for each."""
    forms = list(forms)
    told: set[str] = set()
    for form, at in _cores(raw, forms):
        exact = [(place, word) for text, word in form.texts if (place := raw.find(text)) >= 0]
        if form.secret.name not in told and (exact or form.spread):
            told.add(form.secret.name)
            yield _Find(form.secret, *(min(exact) if exact else (_place(raw, at), "in pieces")))
    if raw.count(0) * 512 > len(raw):
        return  # not a text
    for pattern in [*([MARKUP] if b"\\" in raw or b"<" in raw else []), *([NUMBERED] if numbered else [])]:
        left = [f for f in forms if f.spread and f.secret.name not in told]
        if pattern is NUMBERED:
            left = list(_numbered(raw, left))
        for form, at in _cores(pattern.sub(b"", raw), left) if left else ():
            if form.secret.name not in told:
                told.add(form.secret.name)
                blanked = pattern.sub(_blank, raw)
                yield _Find(form.secret, _place(blanked, at), "in pieces")


def _numbered(raw: bytes, forms: list[_Form]) -> Iterator[_Form]:
    """The forms that may be found when the lines' numbers are gone, known without the search for these, which is slow."""
    letters = raw.translate(None, BETWEEN + DIGITS)
    only_digits = [f for f in forms if f.core.isdigit()]
    yield from (f for f in forms if not f.core.isdigit() and f.core.translate(None, DIGITS) in letters)
    if only_digits:
        lines = b"\n".join(line for line in raw.split(b"\n") if len(line) <= SHORT_LINE)
        digits = NUMBERED.sub(b"", lines).translate(None, BETWEEN)
        yield from (f for f in only_digits if f.core in digits)


def _cores(raw: bytes, forms: list[_Form]) -> Iterator[tuple[_Form, int]]:
    """The forms whose letters and digits stand in `raw` one after the other, and before how many of its own."""
    core = raw.translate(None, BETWEEN)
    alike = Counter(f.core[:SPREAD] for f in forms)  # many forms begin alike: where that is not there, none of them is
    begun = {start for start, count in alike.items() if count == 1 or start in core}
    for form in forms:
        if form.core[:SPREAD] in begun and (at := core.find(form.core)) >= 0:
            yield form, at


def _blank(found: re.Match[bytes]) -> bytes:
    return b" " * len(found[0])


def _place(raw: bytes, nth: int) -> int:
    """Where the letter or digit number `nth`, from 0, stands."""
    low, high = 0, len(raw)
    while low < high:
        middle = (low + high) // 2
        if len(raw[: middle + 1].translate(None, BETWEEN)) > nth:
            high = middle
        else:
            low = middle + 1
    return low


def _texts(content: bytes) -> Iterator[tuple[str, bytes]]:
    """All texts of a JSON file that stand at like places, one after the other: a stream's chunks, a cell's lines."""
    try:
        nodes = [json.loads(content)]
    except (ValueError, RecursionError):
        nodes = list(_lines(content))
    together: dict[str, list[str]] = {}
    for node in nodes:
        _gather(node, "", together)
    for where, texts in together.items():
        yield where, "".join(texts).encode(errors="surrogatepass")


def _lines(content: bytes) -> Iterator[Any]:
    for line in content.splitlines():
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            continue


def _gather(node: Any, where: str, together: dict[str, list[str]]) -> None:
    if isinstance(node, str):
        together.setdefault(where, []).append(node)
    elif isinstance(node, list):
        for child in node:
            _gather(child, where, together)
    elif isinstance(node, dict):
        for key, child in node.items():
            _gather(child, f"{where}.{key}".lstrip("."), together)
            if node.get("output_type") == "stream" and key == "text":
                _gather(child, f"{where}.{key} of {node.get('name')}".lstrip("."), together)
