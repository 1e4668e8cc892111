"""The files of one Dom-0 as somebody who looks for something in them needs them: what cannot be read is kept, never an error."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hikkoshi.errors import BadInput
from hikkoshi.params.home import Home
from hikkoshi.params.site import Dom0
from hikkoshi.xen import root


@dataclass(frozen=True)
class Tree:
    """The files of the Dom-0 called `name`; `unread` gathers what could not be looked at, or understood."""

    home: Home
    name: str
    host: Dom0
    unread: list[str] = field(default_factory=list)

    def entries(self, folder: Path) -> list[Path]:
        """What is in a folder of the Dom-0, as the Dom-0 calls it; hidden files are started by nobody."""
        try:
            names = sorted(p.name for p in self.here(folder).iterdir() if not p.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, BadInput) as e:
            self._missed(folder, e)
            return []
        return [folder / name for name in names]

    def text(self, path: Path, longest: int = root.LONGEST) -> str:
        """A file of the Dom-0; empty where it is none, or larger than such a file can be."""
        try:
            here = self.here(path)
            if not here.is_file() or here.stat().st_size > longest:
                return ""
            return here.read_bytes().decode("utf-8", errors="replace")
        except (OSError, BadInput) as e:
            self._missed(path, e)
            return ""

    def exists(self, path: Path) -> bool:
        """Whether there is a file or folder of this name."""
        try:
            return self.here(path).exists()
        except (OSError, BadInput):
            return False

    def is_script(self, path: Path) -> bool:
        """Whether a file is a program that is a text."""
        try:
            here = self.here(path)
            if not here.is_file():
                return False
            with here.open("rb") as f:
                return f.read(2) == b"#!"
        except (OSError, BadInput):
            return False

    def here(self, path: Path) -> Path:
        """Where the Dom-0's path is found from here."""
        return root.inside(self.home, self.host, path)

    def below(self, folder: Path, keep: Callable[[Path], bool], depth: int = 1) -> Iterator[Path]:
        """The files of a folder and, `depth` deep, of the folders in it, whose names fit."""
        for path in self.entries(folder):
            if depth and self._is_folder(path):
                yield from self.below(path, keep, depth - 1)
            elif keep(path):
                yield path

    def not_known(self, what: str) -> None:
        """Remember that something is not known."""
        self.unread.append(f"{self.name}: {what}")

    def _is_folder(self, path: Path) -> bool:
        try:
            return self.here(path).is_dir()
        except (OSError, BadInput):
            return False

    def _missed(self, path: Path, e: OSError | BadInput) -> None:
        self.not_known(f"{path}: {e.strerror if isinstance(e, OSError) else e.problems[0].what}")
