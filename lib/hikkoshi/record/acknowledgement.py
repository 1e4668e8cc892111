"""A person's signed word on a record that was sealed before there was a key: I know of it, and why it is so.

Two files beside the record, never in it: RECORD.acknowledgement.txt and its signature, by a key that may sign evidence. It is
of one record, by the SHA-256 of its tagmanifest-sha256.txt: any later change of the record voids it. It makes no signature of
the record, and none of what was tampered with: only "nobody signed this when it was sealed" is told apart by it.
"""

import contextlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hikkoshi import files
from hikkoshi.approval import approver, limits, signature, statement
from hikkoshi.approval.signature import Trust
from hikkoshi.errors import BadInput, Problem, Refused
from hikkoshi.params.home import Home
from hikkoshi.record import bag, register
from hikkoshi.secret import temporary

SUFFIX = ".acknowledgement.txt"
FORMAT = "hikkoshi acknowledgement 1"
NAMES = ("format", "record", "sha256", "by", "at", "because")


@dataclass(frozen=True)
class Acknowledgement:
    """What was signed; every field is one line."""

    record: str  # GUEST/RECORD
    sha256: str  # of its tagmanifest-sha256.txt
    by: str  # principal
    at: datetime  # in UTC, whole seconds
    because: str

    def text(self) -> str:
        """The file."""
        values = (FORMAT, self.record, self.sha256, self.by, f"{self.at:{statement.TIME}}", self.because)
        return "".join(f"{name}: {value}\n" for name, value in zip(NAMES, values, strict=True))

    def __str__(self) -> str:
        return f"acknowledged by {self.by} on {self.at:%Y-%m-%d}: {self.because}"


def path_of(record: Path) -> Path:
    """Where the acknowledgement of a record is."""
    return record.with_name(record.name + SUFFIX)


def find(record: Path, identifier: str, trust: Trust) -> Acknowledgement | Problem | None:
    """The acknowledgement beside a record, or why what lies there is none that counts; None where nothing does."""
    path = path_of(record)
    try:
        content = files.read(path, limits.STATEMENT)
        said, digest = _parsed(content), files.sha256(record / bag.TAG_MANIFEST, own=True, limit=limits.MANIFEST)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        return _void(path, str(e))
    if (said.record, said.sha256) != (identifier, digest):
        return _void(path, f"of {said.record} with SHA-256 {said.sha256}, not {identifier} with {digest}")
    verdict = signature.verify(path, trust, "evidence", said.at, content)
    if not verdict or verdict.signer != said.by:
        return _void(path, verdict.flaw or f"says that it is by {said.by}, and {verdict.signer} signed it")
    return said


def give(home: Home, record: Path, identifier: str, key: Path, because: str, *, ask: bool = False) -> Acknowledgement:
    """Sign one and put it beside the record, known to be unsigned and otherwise good. `Refused` for a key that may not."""
    trust, path = approver.trust(home, home.site()), path_of(record)
    trust.check()
    now = datetime.now(UTC).replace(microsecond=0)
    fingerprint = signature.fingerprint(key) if key.is_file() else ""
    who, namespaces = approver.listed(trust.allowed, fingerprint) if fingerprint else ("", [])
    if "evidence" not in namespaces:
        found = f"{who}, for {', '.join(namespaces)} only" if who else "not listed" if fingerprint else "no key"
        remedy = "have it listed, or name another: --key FILE"
        expected = 'a key listed with namespaces="evidence"'
        raise Refused(
            Problem(
                code="key-may-not-acknowledge",
                what="this key may not acknowledge",
                where=str(key),
                found=found,
                expected=expected,
                remedy=remedy,
            )
        )
    said = Acknowledgement(identifier, files.sha256(record / bag.TAG_MANIFEST, own=True), who, now, because)
    content = said.text().encode()
    try:
        _parsed(content)
    except ValueError as e:
        remedy = "say it on one line, in words that can be printed"
        raise BadInput(
            Problem(
                code="acknowledgement-words",
                what="nothing can be acknowledged with these words",
                where=identifier,
                found=str(e),
                expected="a reason",
                remedy=remedy,
            )
        ) from None
    with temporary.folder("acknowledge") as private:
        draft = private / "draft"
        draft.write_bytes(content)
        signed = signature.sign(draft, key, "evidence", ask=ask)
        verdict = signature.verify(draft, trust, "evidence", now)
        if verdict.signer != who or not verdict:
            found = verdict.flaw or f"it signs as {verdict.signer}"
            raise Refused(
                Problem(
                    code="key-may-not-acknowledge",
                    what="this key may not acknowledge",
                    where=str(key),
                    found=found,
                    expected=who,
                    remedy="name another: --key FILE",
                )
            )
        armour = signed.read_bytes()
    ours = register.of(home)
    with ours.locked() if path.is_relative_to(ours.path.parent.resolve()) else contextlib.nullcontext():
        files.write(signature.path_of(path), armour)
        files.write(path, content)
    return said


def parts(folder: Path) -> list[Path]:
    """What an acknowledging that was killed left in a guest's folder of records; it is no word of anybody, and no evidence."""
    left = [p for p in folder.glob(f"*{SUFFIX}*.part") if files.regular(p)]
    words = [p for p in left if p.name.removesuffix(".part").removesuffix(".sig").endswith(SUFFIX)]
    return sorted(words)


def _parsed(content: bytes) -> Acknowledgement:
    pairs = [line.partition(": ")[::2] for line in content.decode().removesuffix("\n").split("\n")]
    value: dict[str, Any] = dict(pairs)
    if tuple(name for name, _ in pairs) != NAMES or value["format"] != FORMAT:
        raise ValueError(f"its lines are not {', '.join(NAMES)}, each once, the first {FORMAT}")
    if not re.fullmatch(r"[0-9a-f]{64}", value["sha256"]) or not all(v.isprintable() and v.strip() for v in value.values()):
        raise ValueError("a part of it is empty, or cannot be printed")
    at = datetime.strptime(value["at"], statement.TIME).replace(tzinfo=UTC)
    found = Acknowledgement(value["record"], value["sha256"], value["by"], at, value["because"])
    if found.text().encode() != content:
        raise ValueError("it is not as hikkoshi acknowledge writes it")
    return found


def _void(path: Path, found: str) -> Problem:
    remedy = "the record was changed since, or somebody else made this: find out; do not acknowledge it again before"
    return Problem(
        code="acknowledgement-void",
        what="an acknowledgement counts for nothing",
        where=str(path),
        found=found,
        expected="one of this very record",
        remedy=remedy,
    )
