"""What is asked of a Dom-0, wherever it is: its files, and what its programs print. Nothing of it is ever executed here."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PRINTED = 32 << 20  # bytes of an answer: `xenstore-ls -f` of 500 guests has some 4 MB
PATIENCE = 60.0  # seconds that a question may take
Kind = Literal["file", "folder", "device", "other"]
Paths = Iterable[Path]
Folders = Iterable[tuple[Path, int]]  # each with how deep it is looked at


@dataclass(frozen=True)
class Located:
    """What is at a path of the Dom-0, with its links followed; `real` is where they lead, as the Dom-0 calls it."""

    kind: Kind
    real: Path


class Dom0Files(ABC):
    """A Dom-0's files as they are reached from here. `OSError`, with the usual numbers, for what is not there or may not be read;
    `ToolFailed` where the Dom-0 does not answer, or not in a way that can be understood."""

    @abstractmethod
    def shown(self, path: Path) -> str:
        """A path of it, as somebody here finds it."""

    @abstractmethod
    def found(self, path: Path) -> Located:
        """What is there; `FileNotFoundError` for nothing."""

    @abstractmethod
    def read(self, path: Path, longest: int) -> bytes:
        """What a file holds, or its first `longest` + 1 bytes. What is no file is not opened: `IsADirectoryError`."""

    def is_script(self, path: Path) -> bool:
        """Whether a file is a program that is a text."""
        return self.found(path).kind == "file" and self.read(path, 1) == b"#!"

    @abstractmethod
    def names(self, folder: Path) -> list[str]:
        """What is in a folder, sorted; without hidden files."""

    def expect(self, *, files: Paths = (), scripts: Paths = (), folders: Folders = ()) -> None:  # noqa: B027 - here it is near
        """Told before much is read, so that it need not come one by one: files, files of which those are read that are scripts,
        and folders. What is not there is no error, and nothing has to be told beforehand."""


class Dom0Host(Dom0Files):
    """A Dom-0 whose programs can be run, too."""

    @abstractmethod
    def run(self, argv: Sequence[str], *, timeout: float, acts: bool = False) -> str:
        """What a program there prints, without anything that a terminal would obey; `ToolFailed` for any status but 0.

        After `timeout` seconds, or when we die, it is ended there too. One that `acts` is left to finish when we die: what is
        half made would be worse.
        """

    @abstractmethod
    def toolstack(self) -> str:
        """xl, or xm where xl is not there yet (Xen 3 and 4.0, CentOS 5)."""

    @abstractmethod
    def marks(self, paths: Iterable[str]) -> dict[str, frozenset[str]]:
        """{path: marks} of disks: two that have a mark in common are the same disk."""
