"""Writing a site folder: all of it or nothing, and never over a file that is there."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hikkoshi import files
from hikkoshi.errors import BadInput, Problem, Refused
from hikkoshi.params.home import Home
from hikkoshi.secret import temporary

_PROGRAM = Path("lib/hikkoshi/__init__.py")


@dataclass
class Publication:
    """What was written, and what was there already and stays, by its path in the folder."""

    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def named(typed: str | Path) -> Path:
    """The path that a person means. One whose ~ is nobody's stays as it is, as the shell leaves it."""
    path = Path(typed)
    with contextlib.suppress(RuntimeError):
        path = path.expanduser()
    return path.absolute()


def check(folder: Path) -> None:
    """`Refused` for a place in a checkout of the project, `BadInput` for one that is no folder."""
    try:
        real, is_file = folder.resolve(), folder.exists() and not folder.is_dir()
    except (OSError, RuntimeError) as e:  # links in a circle, and a folder that is not to be looked into
        raise _not_written(folder, getattr(e, "strerror", "") or str(e)) from None
    if inside := next((p for p in (real, *real.parents) if (p / _PROGRAM).is_file()), None):
        raise Refused(
            Problem(
                code="folder-in-checkout",
                what="this folder is inside a checkout of the project",
                where=str(folder),
                found=str(inside),
                expected="a folder of your own: it holds keys, and what is known of your guests",
                remedy="name another one, such as ~/move",
            )
        )
    if is_file:
        raise _not_written(folder, "it is no folder")


@contextlib.contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """An empty folder that nobody else can enter, and that is gone afterwards: in it, or beside where it will be.

    One that is there may be all that its owner may write into, or a file system of its own.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary.folder("init", folder if folder.is_dir() else folder.parent) as private:
            (private / "site").mkdir(mode=0o700)
            yield private / "site"
    except OSError as e:
        raise _not_written(folder, f"{e.filename}: {e.strerror}" if e.filename else str(e)) from None


def fill(drafted: Path, texts: Mapping[Path, str], guests: Sequence[str]) -> None:
    """Write the texts into a draft, and read them as every command does: what cannot be read is never published."""
    for path, text in texts.items():
        (drafted / path).parent.mkdir(parents=True, exist_ok=True)
        (drafted / path).write_text(text, encoding="utf-8")
    home = Home(drafted)
    home.site()
    for guest in guests:
        home.guest(guest)


def publish(drafted: Path, folder: Path) -> Publication:
    """Give the draft its place. A new folder appears at once; in one that is there each file does, params/site.yml last."""
    paths = sorted((p.relative_to(drafted) for p in drafted.rglob("*") if p.is_file()), key=lambda p: (p.name == "site.yml", p))
    for path in paths:
        with (drafted / path).open("rb") as f:
            os.fsync(f.fileno())
    if not folder.exists():
        drafted.rename(folder)
        files.sync_folder(folder.parent)
        return Publication(paths)
    done, folders = Publication(), list[Path]()
    try:
        for path in paths:
            target = folder / path
            for parent in reversed([p for p in target.parents if p.is_relative_to(folder)]):
                if not parent.is_dir():
                    parent.mkdir(mode=0o700)
                    folders.append(parent)
            try:
                target.hardlink_to(drafted / path)
                done.made.append(path)
            except FileExistsError:
                done.kept.append(path)
    except BaseException:
        for path in done.made:
            (folder / path).unlink(missing_ok=True)
        for parent in reversed(folders):
            parent.rmdir()
        raise
    return done


def _not_written(folder: Path, found: str) -> BadInput:
    return BadInput(
        Problem(
            code="site-folder-not-written",
            what="the site folder cannot be written",
            where=str(folder),
            found=found,
            expected="a folder that is new, or that you may write into",
            remedy="name another one, or correct its rights. Nothing is left half-written",
        )
    )
