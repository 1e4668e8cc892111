"""A secret, where it is (`env:NAME`, `file:PATH`, `keyring:SERVICE/USER`), and what is wrong with a place that cannot be used.

No error holds a value, or a part of it.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hikkoshi.errors import BadInput, Problem

SHORTEST = 4  # characters; a shorter value cannot be told from chance, so that no record could be kept free of it
LONGEST = 4096  # bytes; nobody types more


class Secret:
    """A secret value that never shows itself: printing, formatting and pickling give its name in ‹›."""

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self._value = value

    def reveal(self) -> str:
        """The value, for the one call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return f"‹{self.name}›"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> Any:
        raise TypeError(f"a secret is not to be pickled: {self!r}")


def value(reference: str, place: Callable[[Path], Path]) -> str:
    """The value that a reference points to; `place` makes a path as written in a parameter file absolute."""
    kind, _, rest = reference.partition(":")
    if kind == "env":
        found = _from_environment(rest)
    elif kind == "file":
        found = _from_file(place(Path(rest)))
    elif kind == "keyring":
        found = _from_keyring(rest)
    else:
        raise BadInput(
            Problem(
                code="secret-reference-malformed",
                what="no reference to a secret",
                expected="env:NAME, file:PATH or keyring:SERVICE/USER",
                remedy="correct it; if it was the secret itself, change the secret: it may have been seen",
            )
        )
    if not found:
        raise BadInput(
            Problem(
                code="secret-empty", what="a secret is empty", where=reference, remedy=f"put the secret where {reference} points"
            )
        )
    if "\n" in found or "\r" in found or "\0" in found:
        raise BadInput(
            Problem(
                code="secret-of-several-lines",
                what="a secret is more than one line",
                where=reference,
                found=f"{len(found.splitlines())} lines",
                expected="the secret alone, on one line",
                remedy="take everything else out of that place",
            )
        )
    if len(found) < SHORTEST:
        raise BadInput(
            Problem(
                code="secret-too-short",
                what="a secret is too short to be kept out of a record",
                where=reference,
                expected=f"at least {SHORTEST} characters, better 12",
                remedy="have a longer secret",
            )
        )
    return found


def within(document: Any) -> Iterator[str]:
    """Every reference in a tree of dicts, lists and strings, in its order."""
    if isinstance(document, dict | list):
        for part in document.values() if isinstance(document, dict) else document:
            yield from within(part)
    elif isinstance(document, str) and re.match(r"(env|file|keyring):.", document):
        yield document


def _from_environment(name: str) -> str:
    if name not in os.environ:
        raise BadInput(
            Problem(
                code="secret-not-in-environment",
                what="a secret is not in the environment",
                where=f"env:{name}",
                remedy=f"export {name} before the run",
            )
        )
    return os.environ[name]


def _from_file(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe that nobody writes to would hang
        try:
            refused = _distrusted(path, os.fstat(handle))
            content = b"" if refused else os.read(handle, LONGEST + 1)
        finally:
            os.close(handle)
    except OSError as e:
        raise BadInput(
            Problem(
                code="secret-file-unreadable",
                what="a secret's file cannot be read",
                where=str(path),
                found=e.strerror or str(e),
                remedy="correct the path in params/site.yml, or write the file (for the lab: hikkoshi lab up)",
            )
        ) from None
    if not refused and len(content) > LONGEST:
        refused = Problem(
            code="secret-file-too-large",
            what="a secret's file is too large to hold just a secret",
            where=str(path),
            found=f"more than {LONGEST} bytes",
            expected="the secret alone, on one line",
            remedy="correct the path in params/site.yml",
        )
    if not refused and not _decodes(content):
        refused = Problem(
            code="secret-file-not-text",
            what="a secret's file is not text",
            where=str(path),
            found="bytes that are not UTF-8",
            expected="UTF-8",
            remedy="write it again as UTF-8",
        )
    if refused:
        raise BadInput(refused)
    return content.decode().removesuffix("\n").removesuffix("\r")


def _distrusted(path: Path, found: os.stat_result) -> Problem | None:
    """Why the file that was opened is not to be trusted with a secret. A link may lead to it; what counts is the file."""
    mode = stat.S_IMODE(found.st_mode)
    folder = path.resolve().parent
    around = folder.stat()
    if not stat.S_ISREG(found.st_mode):
        return Problem(
            code="secret-file-not-a-file",
            what="a secret's file is not a file",
            where=str(path),
            found="a folder" if stat.S_ISDIR(found.st_mode) else "a device, pipe or socket",
            expected="a regular file",
            remedy="correct the path in params/site.yml",
        )
    if mode & 0o077:
        return Problem(
            code="secret-file-readable",
            what="a secret's file can be read by others",
            where=str(path),
            found=f"mode {mode:04o}",
            expected="mode 0600",
            remedy=f"chmod 600 {path}, and think about whether the secret is still one",
        )
    if found.st_uid not in (0, os.geteuid()):
        return Problem(
            code="secret-file-of-another",
            what="a secret's file belongs to another user",
            where=str(path),
            found=f"user {found.st_uid}",
            expected=f"user {os.geteuid()}, who runs this, or root",
            remedy=f"chown {os.geteuid()} {path}, and think about whether the secret is still one",
        )
    if around.st_mode & stat.S_IWOTH and not around.st_mode & stat.S_ISVTX:
        return Problem(
            code="secret-file-replaceable",
            what="anybody may put another file in the place of a secret's",
            where=str(folder),
            found=f"mode {stat.S_IMODE(around.st_mode):04o}",
            expected="a folder that others cannot write to",
            remedy=f"chmod o-w {folder}, and see whether the secret is the right one",
        )
    return None


def _decodes(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:  # not passed on: it holds the content
        return False
    return True


def _from_keyring(rest: str) -> str:
    where = f"keyring:{rest}"
    service, _, user = rest.partition("/")
    if not service or not user:
        raise BadInput(
            Problem(
                code="keyring-entry-malformed",
                what="a keyring's entry is not named in full",
                where=where,
                expected="keyring:SERVICE/USER",
                remedy="correct it in params/site.yml",
            )
        )
    try:
        import keyring  # noqa: PLC0415 - optional: few servers have one
    except ImportError:
        raise BadInput(
            Problem(
                code="keyring-missing", what="no keyring here", where=where, remedy="pip install keyring, or use env: or file:"
            )
        ) from None
    try:
        found = keyring.get_password(service, user)
    except Exception as e:
        raise BadInput(
            Problem(
                code="keyring-silent",
                what="the keyring does not answer",
                where=where,
                found=type(e).__name__,
                remedy="use env: or file: instead",
            )
        ) from None
    if found is None:
        raise BadInput(
            Problem(
                code="keyring-entry-missing",
                what="the keyring has no such entry",
                where=where,
                remedy=f"keyring set {service} {user}, or correct it",
            )
        )
    return str(found)
