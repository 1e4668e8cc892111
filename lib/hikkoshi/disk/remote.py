"""A disk on a Dom-0, read over the OpenSSH client; the other side needs sh, dd, gzip, sha256sum, stat and blockdev.

The disk comes once, by `dd | gzip`, and is inflated here. At the same time sha256sum hashes it there: what it read and what
arrived here have to be the same, and both readers share the Dom-0's page cache.
"""

import re
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from typing import IO, Self
from urllib.parse import unquote, urlsplit

from isal import igzip, igzip_lib

from hikkoshi import tool
from hikkoshi.disk.extents import Source, changed
from hikkoshi.disk.source import SECTOR
from hikkoshi.errors import BadInput, Problem, StepFailed, ToolFailed, printable
from hikkoshi.ssh import STRICT, Login

# What the disk is and how it stands, in what coreutils 5.97 and Linux 2.6.18 have. How many sectors were written is the
# seventh of a device's statistics (Linux, Documentation/block/stat.rst).
_LOOK = """
PATH=$PATH:/usr/sbin:/sbin; p=%s
for t in dd gzip sha256sum stat readlink blockdev; do
  command -v $t >/dev/null || { echo "lacks $t"; exit; }
done
test -e "$p" || { echo "no such file"; exit; }
test -r "$p" || { echo "not readable for `id -un`"; exit; }
if test -b "$p"; then
  d=`readlink -f "$p"`; d=${d##*/}
  set -- `cat "/sys/class/block/$d/stat" 2>/dev/null || cat "/sys/block/$d/stat" 2>/dev/null`
  echo "size=`blockdev --getsize64 "$p"`|device=`stat -L -c %%t:%%T "$p"`|sectors written=${7-unknown}"
elif test -f "$p"; then
  stat -L -c 'size=%%s|inode=%%i|changed=%%y|status changed=%%z' "$p"
else
  echo "neither a file nor a block device"
fi
exit
"""
_ANSWER = 1 << 16  # bytes of what it answers
_PATIENCE = 120  # seconds for that
# a failed first program of a pipe is forgotten by old shells: it has to be told
_READ = "{ dd if=%s bs=1048576 || echo dd ended with status $? >&2; } | gzip -1"
_HASH = "sha256sum < %s"


def address(url: str) -> tuple[Login, str]:
    """The machine and the absolute path of ssh://[user@]host[:port]/path; in the path, `%20` and the like are decoded."""
    try:
        split = urlsplit(url)
        login, path = Login.of(split.netloc), unquote(split.path)
        if split.scheme != "ssh" or split.query or split.fragment or not path.isprintable() or not path.rstrip("/"):
            raise ValueError("no path, or more than that")
    except ValueError as e:
        raise BadInput(
            Problem(
                code="disk-address-malformed",
                what="this is no address of a disk",
                where=url,
                found=printable(str(e)),
                expected="ssh://[user@]host[:port]/path, the path from the root on",
                remedy="name the host as ssh knows it; write %20 for a space, %3F for ? and %23 for # in the path",
            )
        ) from None
    return login, path


def lacking(host: str, found: str, expected: str) -> ToolFailed:
    """The error for a Dom-0 where a program is missing."""
    return ToolFailed(
        Problem(
            code="dom0-lacks-program",
            what="the Dom-0 lacks a program",
            where=host,
            found=found,
            expected=expected,
            remedy="install it there",
        )
    )


class RemoteDisk(Source):
    """A raw image file or block device on another machine; a context manager, looked at from the beginning.

    The disk comes once and in order: threads wait for their turn. Holes
    cannot be seen from here, so all of the disk is read there; zeros cost next to nothing on the way. When the network stalls,
    that is noticed after a minute. `BadInput` for what is no disk, `ToolFailed` where the machine cannot be reached.
    """

    def __init__(self, login: Login, path: str) -> None:
        self.name = f"{login.host}:{path}"
        self._login, self._path, self._host = login, shlex.quote(path), login.host
        self._before = self._state()
        self.size = int(self._before["size"])
        if self.size == 0 or self.size % SECTOR:
            raise BadInput(
                Problem(
                    code="disk-cut-off",
                    what="the disk is empty or cut off",
                    where=self.name,
                    found=f"{self.size:,} bytes",
                    expected="whole sectors of 512 bytes",
                    remedy="see whether the guest's Xen configuration names the right disk",
                )
            )
        self._plain = sha256()
        self._turn = threading.Condition()
        self._at = 0  # bytes that were asked for until now
        self._failed = False

    def __enter__(self) -> Self:
        # here and not at the first read: what a thread starts dies with that thread
        with ExitStack() as stack:
            self._disk = stack.enter_context(_Running(self._login, _READ % self._path))
            self._hash = stack.enter_context(_Running(self._login, _HASH % self._path))
            self._content: IO[bytes] = igzip.open(self._disk.output, "rb")  # type: ignore[no-untyped-call]
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def extents(self) -> Iterator[tuple[int, int]]:
        """As in `Source`: all of the disk."""
        yield 0, self.size

    def read(self, offset: int, length: int) -> bytes:
        """As in `Source`, but each byte once: waits until everything before `offset` has been read."""
        with self._turn:
            while self._at < offset and not self._failed:
                self._turn.wait()
            if self._failed or self._at > offset:
                raise StepFailed(self._broken(f"no byte {offset:,}: the transfer is at {self._at:,}"))
            self._failed = True  # until this one is through; all who wait have to hear of it
            try:
                piece = self._take(length)
                self._plain.update(piece)
                self._at, self._failed = offset + length, False
            finally:
                self._turn.notify_all()
            return piece

    def unchanged(self) -> None:
        """As in `Source`. Waits for the hash from the other side, which `StepFailed` shows where it is another one."""
        if self._at < self.size:
            raise StepFailed(self._broken(f"{self._at:,} bytes"))
        if self._take(1, least=0):
            raise StepFailed(changed(self.name, "more bytes than before", f"{self.size:,} bytes"))
        said = self._hash.output.read(4096).decode(errors="replace").split()
        now = self._state()
        if now != self._before:
            found = "; ".join(f"{k} {now.get(k)}, before {x}" for k, x in self._before.items() if now.get(k) != x)
            raise StepFailed(changed(self.name, found, "nobody who writes to it"))
        if said[:1] != [self._plain.hexdigest()]:
            there = f"{said[0][:16]}…" if said else f"unknown ({self._hash.words()})"
            found = f"SHA-256 there {there}, of what arrived {self._plain.hexdigest()[:16]}…"
            raise StepFailed(changed(self.name, found, "the same bytes there and here"))

    def _take(self, length: int, least: int | None = None) -> bytes:
        """So many bytes of the disk, or at least so many."""
        try:
            piece = self._content.read(length)
        except (OSError, EOFError, igzip_lib.IsalError) as e:  # type: ignore[misc]
            raise StepFailed(self._broken(f"{e} behind byte {self._at:,}; {self._disk.words()}")) from None
        if len(piece) < (length if least is None else least):
            raise StepFailed(self._broken(f"its end at {self._at + len(piece):,}; {self._disk.words()}"))
        return piece

    def _state(self) -> dict[str, str]:
        """{what: value} of the disk's size, identity and last change."""
        asked = tool.converse(
            [*self._login.argv(STRICT), "sh"], (_LOOK % self._path).encode(), timeout=_PATIENCE, largest=_ANSWER
        )
        words = asked.err.decode(errors="replace")
        said = printable(asked.out.decode(errors="replace").strip())
        if asked.ending == "endless":
            raise ToolFailed(self._not_understood(f"more than {_ANSWER:,} bytes"))
        if asked.ending == "slow":
            raise ToolFailed(self._login.unreached(f"{words}\nno answer in {_PATIENCE} s"))
        if asked.status:
            raise ToolFailed(self._login.unreached(words or said[-1000:]))
        if said.startswith("lacks "):
            raise lacking(self._host, said[6:], "sh, dd, gzip, sha256sum, stat, readlink, blockdev")
        if not said.startswith("size="):
            raise BadInput(
                Problem(
                    code="disk-unreadable",
                    what="the disk cannot be read",
                    where=self.name,
                    found=said[:1000],
                    expected="a raw disk image or a block device",
                    remedy="see whether the path is right, and whether this user may read it there",
                )
            )
        state = dict(pair.partition("=")[::2] for pair in said.split("|"))
        if not re.fullmatch(r"[0-9]{1,19}", state["size"]) or len(state) < 2 or "" in state.values():
            raise ToolFailed(self._not_understood(said[:1000]))
        return state

    def _not_understood(self, found: str) -> Problem:
        return Problem(
            code="dom0-answer-unknown",
            what="the Dom-0's answer about the disk is not understood",
            where=self.name,
            found=found,
            expected="size=BYTES|…, whole numbers and no words of others",
            remedy=f"see what `ssh {self._host} sh` prints beside what it is asked: something answers in its place",
        )

    def _broken(self, found: str) -> Problem:
        return Problem(
            code="ssh-transfer-broken",
            what="the disk did not come over ssh",
            where=self.name,
            found=found,
            expected=f"{self.size:,} bytes",
            remedy="see whether the Dom-0, its disk and the network are well, then run this again",
        )


class _Running:
    """A program on the other side; a context manager, at whose end it is ended."""

    def __init__(self, login: Login, script: str) -> None:
        # not a pipe: one that nobody empties would stop the program
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        self._process = subprocess.Popen(
            tool.command([*login.argv(STRICT), f"exec sh -c {shlex.quote(script)}"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=tool.environment("ssh"),
            close_fds=False,
            start_new_session=True,
        )
        assert self._process.stdout
        self.output = self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        tool.end(self._process)
        self._errors.close()

    def words(self) -> str:
        """What it had to say, and how it ended; waits for that."""
        self.output.close()
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        counts = r"\d+\+\d+ records (in|out)|.* (copied|transferred).*"
        return tool.tail("\n".join([*(x for x in lines if not re.fullmatch(counts, x)), f"ssh ended with {status}"]), 4)
