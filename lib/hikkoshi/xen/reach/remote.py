"""A Dom-0 over ssh. It needs sh and coreutils there, and xl or xm; and the OpenSSH client here."""

import errno
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from hikkoshi import tool
from hikkoshi.disk.remote import lacking
from hikkoshi.errors import Problem, ToolFailed, printable
from hikkoshi.params.site import Dom0
from hikkoshi.xen.reach import script
from hikkoshi.xen.reach.connection import Answer, connection
from hikkoshi.xen.reach.host import PATIENCE, Dom0Host, Folders, Located, Paths
from hikkoshi.xen.reach.local import by_name
from hikkoshi.xen.reach.script import Files, Item


class RemoteDom0(Dom0Host):
    """One look at a Dom-0 over ssh: of its files it is asked once; if this `remembers`, of what its programs print, too."""

    def __init__(self, dom0: Dom0, *, remembers: bool = False) -> None:
        self._connection = connection(dom0.login)
        self._files = Files()
        self._answers: dict[str, Answer] | None = {} if remembers else None

    def shown(self, path: Path) -> str:
        """As in `Dom0Host`."""
        return f"{self._connection.host}:{path}"

    def found(self, path: Path) -> Located:
        """As in `Dom0Host`."""
        item = self._item(path)
        return Located(item.kind, Path(item.real or path))  # type: ignore[arg-type]

    def read(self, path: Path, longest: int) -> bytes:
        """As in `Dom0Host`."""
        item = self._item(path)
        if item.kind != "file":
            raise IsADirectoryError(errno.EISDIR, "something else than a file", str(path))
        item = self._files.file(item)
        if item.content is None or not (item.whole or len(item.content) > longest):
            self._look(script.look([str(path)], largest=longest), longest)
            item = self._item(path)
        if item.content is None:
            raise self._unknown("no content of a file", path)
        return item.content[: longest + 1]

    def is_script(self, path: Path) -> bool:
        """As in `Dom0Host`."""
        known = self._files.file(self._item(path)).script
        return super().is_script(path) if known is None else known

    def names(self, folder: Path) -> list[str]:
        """As in `Dom0Host`."""
        asked = str(folder)
        known = self._files.items.get(asked)
        if asked not in self._files.listed and (known is None or known.kind == "folder"):
            self.expect(folders=[(folder, 0)])
        if self._item(folder).kind != "folder":
            raise NotADirectoryError(errno.ENOTDIR, "no folder", asked)
        if asked in self._files.untold:
            raise OSError(errno.E2BIG, "more files than are looked at, or names of several lines", asked)
        return sorted(self._files.listed[asked])

    def expect(self, *, files: Paths = (), scripts: Paths = (), folders: Folders = ()) -> None:
        """As in `Dom0Host`."""
        known = self._files
        wanted, texts = ([str(p) for p in some if _plain(p) and str(p) not in known.items] for some in (files, scripts))
        places = [(str(p), depth) for p, depth in folders if _plain(p) and str(p) not in known.listed]
        if wanted or texts or places:
            self._look(script.look(wanted, texts, places))
            if rest := known.unread():
                self._look(script.many(rest))

    def run(self, argv: Sequence[str], *, timeout: float, acts: bool = False) -> str:
        """As in `Dom0Host`."""
        answer = self._asked(shlex.join(argv), named=argv, timeout=timeout, acts=acts)
        out = printable(answer.out.decode(errors="replace"))
        if answer.status == 127:
            raise lacking(self._connection.host, f"{argv[0]}: {tool.tail(answer.err, 2)}", "sh and coreutils, and xl or xm")
        if answer.status:
            raise tool.failed(argv, answer.status, answer.err or out, where=self._connection.host)
        return out

    def toolstack(self) -> str:
        """As in `Dom0Host`."""
        if not self._connection.toolstack:
            said = self._whole(script.TOOLSTACK).out.decode(errors="replace").strip()
            if said not in ("xl", "xm"):
                raise self._unknown(printable(said[:80]), Path("xl"))
            self._connection.toolstack = said
        return self._connection.toolstack

    def marks(self, paths: Iterable[str]) -> dict[str, frozenset[str]]:
        """As in `Dom0Host`: by name, by file, by device number, or through a loop device, as the Dom-0 has them."""
        every = list(dict.fromkeys(paths))
        local = [p for p in every if p.startswith("/") and p.isprintable()]
        try:
            told = script.marked(self._whole(script.marks(local)).out.decode(errors="replace"), len(local)) if local else []
        except ValueError as e:
            raise self._unknown(str(e), Path("/dev")) from None
        numbers = dict(zip(local, told, strict=True))
        return {path: frozenset(by_name(path) | numbers.get(path, set())) for path in every}

    def _item(self, path: Path) -> Item:
        if not _plain(path):
            raise FileNotFoundError(errno.ENOENT, "no path that can be asked for", str(path))
        if str(path) not in self._files.items:
            self._look(script.look([str(path)]))
        item = self._files.items.get(str(path))
        if item is None:
            raise self._unknown("not the path that was asked for", path)
        if item.kind == "nothing":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        if item.kind == "denied":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return item

    def _look(self, text: str, largest: int = script.BATCH) -> None:
        answer = self._whole(text)
        try:
            self._files.add(answer.out, answer.mark, largest)
        except ValueError as e:
            raise self._unknown(str(e), Path("/")) from None

    def _whole(self, text: str) -> Answer:
        """The answer to a question that cannot fail."""
        answer = self._asked(text, named=["a look at its files and programs"], timeout=PATIENCE)
        if answer.status:
            raise tool.failed(["sh"], answer.status, answer.err, where=self._connection.host)
        return answer

    def _asked(self, text: str, *, named: Sequence[str], timeout: float, acts: bool = False) -> Answer:
        """The answer to a question: what only looks is asked once, if this remembers."""
        if self._answers is None or acts:
            return self._connection.ask(text, named=named, timeout=timeout, acts=acts)
        if text not in self._answers:
            self._answers[text] = self._connection.ask(text, named=named, timeout=timeout)
        return self._answers[text]

    def _unknown(self, found: str, path: Path) -> ToolFailed:
        return ToolFailed(
            Problem(
                code="dom0-files-unknown",
                what="the Dom-0's answer about its files is not understood",
                where=self.shown(path),
                found=found,
                expected="what sh and coreutils answer",
                remedy=f"see what `ssh {self._connection.host} sh` is there: something answers in its place",
            )
        )


def _plain(path: Path) -> bool:
    """Whether a path can be asked for: the answer has one path a line."""
    return "\n" not in str(path) and "\0" not in str(path) and path.is_absolute()
