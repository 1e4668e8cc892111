"""Who a site folder is: a UUID, made once and kept in outputs/identity. What we make in vSphere carries it.

Two folders may know the same vCenter and a guest of the same name; only by this does each tell its own machines from the
other's. So it is never made anew where machines were made under one before.
"""

import contextlib
import json
import os
import stat
import tempfile
import uuid
from pathlib import Path

from hikkoshi import files
from hikkoshi.errors import BadInput, Problem
from hikkoshi.params import folder
from hikkoshi.params.folder import GuestFolder

FILE = "identity"


def of(outputs: Path) -> str:
    """The identity of the site folder with these outputs, made at the first call; two at once get the same one.

    `BadInput` where the file is damaged, cannot be read or made, or is lost after machines were made.
    """
    path = outputs / FILE
    try:
        found = _read(path)
        if found is None:
            _refuse_where_lost(outputs)
            _make(path)
            found = _read(path)
    except OSError as e:
        remedy = "make it readable for whoever runs the steps, or outputs/ writable"
        raise BadInput(
            Problem(
                code="identity-unusable",
                what="the site folder's identity can neither be read nor made",
                where=str(path),
                found=str(e),
                remedy=remedy,
            )
        ) from None
    try:
        if found is not None and str(uuid.UUID(found)) == found:
            return found
    except ValueError:
        pass
    raise BadInput(
        Problem(
            code="identity-damaged",
            what="the site folder's identity is damaged",
            where=str(path),
            found=repr(found),
            expected="a UUID" + _named(outputs),
            remedy="take the file from a backup, or write that UUID into it; do not invent one: machines of this site would be "
            "strangers to it",
        )
    )


def _read(path: Path) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("no regular file")
        return os.read(fd, 100).decode(errors="replace").removesuffix("\n")
    finally:
        os.close(fd)


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, unfinished = tempfile.mkstemp(prefix=f"{FILE}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            f.write(f"{uuid.uuid4()}\n")
            f.flush()
            os.fsync(f.fileno())
        with contextlib.suppress(FileExistsError):  # somebody was faster: theirs counts
            os.link(unfinished, path)
        files.sync_folder(path.parent)
    finally:
        Path(unfinished).unlink()


def _refuse_where_lost(outputs: Path) -> None:
    if named := _named(outputs):
        raise BadInput(
            Problem(
                code="identity-lost",
                what="the site folder's identity is lost",
                where=str(outputs / FILE),
                found="no such file",
                expected=f"the UUID under which machines were made{named}",
                remedy="take the file from a backup, or write that UUID into it; if this folder is a copy, and the first one is "
                "in use, remove deployment.json of these guests from the copy instead",
            )
        )


def _named(outputs: Path) -> str:
    """What the guests' results say that the identity was; '' where nothing was made in vSphere."""
    told = {}
    for guest in folder.all_in(outputs):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if site := json.loads(files.read(guest.deployment)).get("site"):
                told[guest.name] = str(site)
    return ": " + ", ".join(f"{site} ({guest}/{GuestFolder.deployment})" for guest, site in told.items()) if told else ""
