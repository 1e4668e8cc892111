"""The files of one Dom-0 as somebody who looks for something in them needs them: what cannot be read is kept, never an error."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hikkoshi.errors import BadInput
from hikkoshi.xen import root
from hikkoshi.xen.reach.host import Dom0Files, Folders, Paths


@dataclass(frozen=True)
class Tree:
    """The files of the Dom-0 called `name`; `unread` gathers what could not be looked at, or understood.

    One that does not answer at all is an error all the same.
    """

    name: str
    host: Dom0Files
    unread: list[str] = field(default_factory=list)

    def entries(self, folder: Path) -> list[Path]:
        """What is in a folder of the Dom-0, as the Dom-0 calls it; hidden files are started by nobody."""
        try:
            return [folder / name for name in self.host.names(folder)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, BadInput) as e:
            self._missed(folder, e)
            return []

    def text(self, path: Path, longest: int = root.LONGEST) -> str:
        """A file of the Dom-0; empty where it is none, or larger than such a file can be."""
        try:
            raw = self.host.read(path, longest)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return ""
        except (OSError, BadInput) as e:
            self._missed(path, e)
            return ""
        return raw.decode("utf-8", errors="replace") if len(raw) <= longest else ""

    def exists(self, path: Path) -> bool:
        """Whether there is a file or folder of this name."""
        return bool(self._kind(path))

    def real(self, path: Path) -> Path:
        """The path without links; the same where nothing is there."""
        try:
            return self.host.found(path).real
        except (OSError, BadInput):
            return path

    def is_script(self, path: Path) -> bool:
        """Whether a file is a program that is a text."""
        try:
            return self.host.is_script(path)
        except (OSError, BadInput):
            return False

    def below(self, folder: Path, keep: Callable[[Path], bool], depth: int = 1) -> Iterator[Path]:
        """The files of a folder and, `depth` deep, of the folders in it, whose names fit."""
        for path in self.entries(folder):
            if depth and self._kind(path) == "folder":
                yield from self.below(path, keep, depth - 1)
            elif keep(path):
                yield path

    def expect(self, *, files: Paths = (), scripts: Paths = (), folders: Folders = ()) -> None:
        """As in `Dom0Files`."""
        self.host.expect(files=files, scripts=scripts, folders=folders)

    def not_known(self, what: str) -> None:
        """Remember that something is not known."""
        self.unread.append(f"{self.name}: {what}")

    def _kind(self, path: Path) -> str:
        try:
            return self.host.found(path).kind
        except (OSError, BadInput):
            return ""

    def _missed(self, path: Path, e: OSError | BadInput) -> None:
        self.not_known(f"{path}: {e.strerror if isinstance(e, OSError) else e.problems[0].what}")
