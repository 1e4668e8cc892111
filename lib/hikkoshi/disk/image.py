"""Disk images in other formats as sources, through QEMU's own reader: qcow2 and VHD. Read-only, and never guessed.

A `qemu-nbd` of our own opens the image and hands its content out over a socket that nobody else can reach; the few words of
NBD that reading takes are spoken here (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md: fixed newstyle
negotiation, NBD_OPT_GO, NBD_CMD_READ with simple replies; all numbers big endian). The headers are looked at before any
program opens the image, after QEMU's docs/interop/qcow2.txt and Microsoft's Virtual Hard Disk Image Format Specification 1.0.
"""

import contextlib
import itertools
import json
import os
import socket
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal, Self

from hikkoshi import tool
from hikkoshi.disk.extents import BLOCK, Source, joined
from hikkoshi.errors import BadInput, Problem, StepFailed
from hikkoshi.secret import temporary

Format = Literal["qcow2", "vhd"]
_FOOTER = struct.Struct(">8s40xQHBBI448x")  # VHD: cookie, current size, cylinders, heads, sectors per track, type
_START_LIMIT = 30.0  # seconds that qemu-nbd may take to open an image; it opens them in milliseconds
_END_LIMIT = 5.0  # seconds between the end of its connections and its own: a moment, but on a loaded machine
_LONGEST = 32 << 20  # bytes: what every NBD server takes in one request
_NAMED = (
    "on the machine it comes from, make it whole: qemu-img convert -f qcow2 -O qcow2 OLD NEW; if nobody there knows of another "
    "file, somebody may have written its name into the image to get at a file of this machine: ask the guest's owner"
)
_OPENED = "on the machine that has the key, convert it with qemu-img and `--object secret` to an image without encryption"
_MENDED = "on a copy of it, run qemu-img check -f qcow2 -r all; look into the guest's file systems before it moves"
_FETCHED = "copy it anew from the machine it comes from, and compare checksums"


class ImageDisk(Source):
    """An image of another format; a context manager, open from the beginning. The thread that opens it must outlive
    it: the reader dies with that thread, see `tool.command`.

    As long as it is open, no QEMU can write to the image; and one that a running QEMU writes to is refused. qcow2: the
    current content, whatever snapshots the image holds besides. VHD: fixed or dynamic; its size is the footer's "current
    size", which is what Xen's blktap shows to a guest. Where the footer names Virtual PC or QEMU as maker, which go by the
    disk's geometry, it is the geometry's size if that is more. (QEMU alone goes by geometry for makers it does not know, and
    cuts off the disk's end.) `qemu-img create -f vpc` rounds the size it was asked for up to a whole cylinder, and with
    `force_size=on` to a sector only.

    `BadInput` for an image that is not of this format, is encrypted, damaged or cut off, needs a second file, or is in use.
    """

    def __init__(self, path: Path, format: Format) -> None:
        self.name = str(path)
        self._path = path
        self._before = self._state()
        self._threads = threading.local()
        options = f"{_driver(path, format)},file.driver=file,file.filename={self.name.replace(',', ',,')}"
        with contextlib.ExitStack() as stack:  # should anything fail, what was begun is ended
            folder = stack.enter_context(temporary.folder("image"))
            self._errors, self._socket = folder / "errors", folder / "nbd"
            self._process = self._started(options)
            stack.callback(tool.end, self._process)
            self._connections = stack.enter_context(contextlib.ExitStack())
            self.size = self._first().size
            if format == "qcow2":
                _refuse_damaged(path, options)
            self._extents = list(joined(self._mapped(options)))
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def extents(self) -> Iterator[tuple[int, int]]:
        """As in `Source`; what QEMU knows to be zeros or not allocated is left out."""
        return iter(self._extents)

    def read(self, offset: int, length: int) -> bytes:
        """As in `Source`; every thread has a connection of its own."""
        ends = [*range(offset, offset + length, _LONGEST), offset + length]
        return b"".join(self._read(at, end - at) for at, end in itertools.pairwise(ends))

    def unchanged(self) -> None:
        """As in `Source`; by the image file's identity, size and time stamp."""
        before, now = self._before, self._state()
        if changed := [f"{k} {now.get(k, 'gone')}, before {before[k]}" for k in before if now.get(k) != before[k]]:
            raise StepFailed(
                Problem(
                    code="disk-image-changed-meanwhile",
                    what="the disk image was changed while it was read",
                    where=self.name,
                    found="; ".join(changed),
                    expected="nobody who writes to it",
                    remedy="shut the guest down and leave its disk alone, or copy the image; then run the step again",
                )
            )

    def _state(self) -> dict[str, int]:
        try:
            s = self._path.stat()
        except OSError:  # removed, or renamed
            return {}
        return {"size": s.st_size, "time of last change in ns": s.st_mtime_ns, "device": s.st_dev, "inode": s.st_ino}

    def _started(self, options: str) -> subprocess.Popen[bytes]:
        serve = ["qemu-nbd", "--read-only", "--persistent", "--shared=0", f"--socket={self._socket}"]
        with self._errors.open("wb") as errors:
            return subprocess.Popen(
                tool.command([*serve, "--image-opts", options]),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=tool.environment(serve[0]),
                close_fds=False,
                start_new_session=True,
            )

    def _first(self) -> "_Connection":
        """The connection of the thread that opens the disk, as soon as qemu-nbd has opened the image."""
        limit = time.monotonic() + _START_LIMIT
        while True:
            with contextlib.suppress(OSError):  # not there yet, or there and not yet listening
                return self._connection()
            if self._process.poll() is not None:
                break
            if time.monotonic() > limit:
                raise StepFailed(self._problem(f"qemu-nbd does not answer within {_START_LIMIT:g} s: {self._words()}"))
            time.sleep(0.02)
        if '" lock' in self._words():
            raise BadInput(
                Problem(
                    code="disk-image-in-use",
                    what="the disk image is in use",
                    where=self.name,
                    found=self._words(),
                    expected="an image that no program writes to",
                    remedy="shut the guest down, and end what else has its disk open, or copy the image; then run the step again",
                )
            )
        raise BadInput(_unreadable(self._path, self._words()))

    def _connection(self) -> "_Connection":
        if not hasattr(self._threads, "connection"):
            made = _Connection(self._socket)
            self._connections.callback(made.close)
            self._threads.connection = made
        return self._threads.connection  # type: ignore[no-any-return]

    def _read(self, offset: int, length: int) -> bytes:
        place = f"between bytes {offset:,} and {offset + length:,}"
        try:
            answer = self._connection().read(offset, length)
        except OSError as e:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self._process.wait(_END_LIMIT)
                raise StepFailed(self._problem(f"the end of qemu-nbd {place}, status {status}: {self._words()}")) from None
            raise StepFailed(self._problem(f"{e.strerror or e} from qemu-nbd {place}")) from None
        if isinstance(answer, int):
            raise StepFailed(self._problem(f"{os.strerror(answer)} {place}"))
        return answer

    def _words(self) -> str:
        return tool.tail(self._errors.read_text(errors="replace"), 4)

    def _problem(self, found: str) -> Problem:
        return Problem(
            code="disk-image-unreadable",
            what="the disk image cannot be read",
            where=self.name,
            found=found,
            expected="all of the disk readable",
            remedy="see the kernel's log for a failing device or a lack of memory; if there is nothing, " + _FETCHED,
        )

    def _mapped(self, options: str) -> Iterator[tuple[int, int]]:
        """What holds data according to QEMU, widened to whole blocks; neighbours not yet joined."""
        said = tool.run(["qemu-img", "map", "--output=json", "--image-opts", options]).stdout
        decoder, at = json.JSONDecoder(), said.find("{")
        while at >= 0:  # one by one: there may be a million, and a list of them would take half a gigabyte
            entry, behind = decoder.raw_decode(said, at)
            at = said.find("{", behind)
            if not entry["data"] or entry["zero"]:
                continue
            if entry.get("offset", 0) + entry["length"] > self._before["size"]:
                raise BadInput(_damaged(self._path, f"its end at {self._before['size']:,}, and data behind that"))
            start, stop = entry["start"] // BLOCK * BLOCK, -(-(entry["start"] + entry["length"]) // BLOCK) * BLOCK
            yield start, min(stop, self.size)


class _Connection:
    """One NBD connection; `OSError` from all of it where the server is gone or speaks otherwise."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._cookies = itertools.count(1)
        try:
            self._socket.settimeout(_START_LIMIT)
            self._socket.connect(str(path))
            self.size = self._negotiate()
            self._socket.settimeout(None)  # a slow disk may take its time
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def read(self, offset: int, length: int) -> bytes | int:
        """Exactly `length` bytes, or the error number that the server has for this place."""
        cookie = next(self._cookies)
        self._socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, cookie, offset, length))  # NBD_CMD_READ
        magic, error, answered = struct.unpack(">IIQ", self._take(16))
        if (magic, answered) != (0x67446698, cookie):
            raise ConnectionError("something else than the answer")
        return int(error) or self._take(length)

    def _negotiate(self) -> int:
        """Enter the transmission phase for the only export; its size in bytes."""
        if self._take(18)[:16] != b"NBDMAGICIHAVEOPT":
            raise ConnectionError("something else than an NBD server's greeting")
        # NBD_FLAG_C_FIXED_NEWSTYLE; NBD_OPT_GO with six bytes: no name, no special wishes
        self._socket.sendall(struct.pack(">I8sIIIH", 1, b"IHAVEOPT", 7, 6, 0, 0))
        size = 0
        while True:
            _, _, kind, length = struct.unpack(">QIII", self._take(20))
            data = self._take(length)
            if kind == 1:  # NBD_REP_ACK
                return size
            if kind & 1 << 31:
                raise ConnectionError(f"{data.decode(errors='replace')} (NBD error {kind & 0xFFFF})")
            if kind == 3 and data[:2] == b"\0\0":  # NBD_REP_INFO with NBD_INFO_EXPORT
                size = int.from_bytes(data[2:10], "big")

    def _take(self, length: int) -> bytes:
        pieces, missing = [], length
        while missing:
            piece = self._socket.recv(missing, socket.MSG_WAITALL)
            if not piece:
                raise ConnectionError("the connection's end")
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _driver(path: Path, format: Format) -> str:
    """QEMU's options for an image whose header shows it to be safe to open; else `BadInput` with all that is wrong."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadInput(_unreadable(path, "no regular file"))
        with path.open("rb") as f:
            head = f.read(BLOCK)
            f.seek(max(0, f.seek(0, os.SEEK_END) - _FOOTER.size))
            end = f.read(_FOOTER.size)
    except OSError as e:
        raise BadInput(_unreadable(path, e.strerror or str(e))) from None
    if format == "qcow2" and head[:4] == b"QFI\xfb" and head[4:8] in (b"\0\0\0\2", b"\0\0\0\3"):
        return _qcow2(path, head.ljust(104, b"\0"))
    for footer in (head[: _FOOTER.size], end):  # in QEMU's order: a dynamic VHD has a copy in front
        if format == "vhd" and footer.startswith(b"conectix") and len(footer) == _FOOTER.size:
            return _vhd(path, footer)
    raise BadInput(
        Problem(
            code="disk-image-of-another-format",
            what="the disk image is not of the format that was given",
            where=str(path),
            found="no such header" if format == "qcow2" else "no such footer",
            expected="the header of qcow2, version 2 or 3" if format == "qcow2" else "the footer of a VHD at the file's end",
            remedy=f"see which format the disk has in the guest's Xen configuration; if it is right, {_FETCHED}",
        )
    )


def _qcow2(path: Path, head: bytes) -> str:
    """As `_driver`. Whatever could make QEMU open a second file is in these fields, and nowhere else."""
    backing, length, encrypted = *struct.unpack(">QI", head[8:20]), any(head[32:36])
    features = int.from_bytes(head[72:80], "big") if head[7] == 3 else 0
    named = f"the backing file {head[backing : backing + length].decode(errors='replace')!r}"
    whole = "an image that holds all of the disk itself"
    second = partial(
        Problem,
        code="disk-image-of-two-files",
        what="the disk image names another file that would be read too",
        where=str(path),
        expected=whole,
        remedy=_NAMED,
    )
    flaws = (
        (backing, second(found=named)),
        (features & 4, second(found="an external data file")),
        (
            encrypted,
            Problem(
                code="disk-image-encrypted",
                what="the disk image is encrypted",
                where=str(path),
                found="an encryption method in its header",
                expected="an image without one",
                remedy=_OPENED,
            ),
        ),
        (
            features & 1,
            Problem(
                code="disk-image-not-closed",
                what="the disk image was not closed properly",
                where=str(path),
                found="QEMU's mark dirty",
                expected="an image that was closed",
                remedy=_MENDED,
            ),
        ),
        (
            features & 2,
            Problem(
                code="disk-image-damaged",
                what="the disk image is damaged",
                where=str(path),
                found="QEMU's mark corrupt",
                expected="an image without damage",
                remedy=_MENDED,
            ),
        ),
    )
    if problems := [problem for flawed, problem in flaws if flawed]:
        raise BadInput(*problems)
    return "driver=qcow2"


def _vhd(path: Path, footer: bytes) -> str:
    """As `_driver`. QEMU opens a differencing VHD too, without the one below it: what is not in it would become zeros."""
    _, size, cylinders, heads, sectors, kind = _FOOTER.unpack(footer)
    if kind not in (2, 3):
        raise BadInput(
            Problem(
                code="disk-image-differencing",
                what="the disk image does not hold all of the disk",
                where=str(path),
                found="a differencing VHD, the upper one of several files" if kind == 4 else f"a VHD of type {kind}",
                expected="a fixed or a dynamic VHD",
                remedy="on the machine it comes from, make it whole: vhd-util coalesce, or export the guest, or copy its disk",
            )
        )
    return "driver=vpc" + (",force_size_calc=current_size" if size > cylinders * heads * sectors * 512 else "")


def _refuse_damaged(path: Path, options: str) -> None:
    """`BadInput` where the tables of a qcow2 image contradict each other or point behind its end; VHD has no such check."""
    checked = tool.run(["qemu-img", "check", "--image-opts", options], ok=(0, 2, 3))  # 3: space is lost, nothing else
    if checked.returncode == 2:
        raise BadInput(_damaged(path, tool.tail(checked.stderr + checked.stdout, 8)))


def _damaged(path: Path, found: str) -> Problem:
    return Problem(
        code="disk-image-cut-off",
        what="the disk image is damaged or cut off",
        where=str(path),
        found=found,
        expected="a whole image",
        remedy=_FETCHED,
    )


def _unreadable(path: Path, found: str) -> Problem:
    return Problem(
        code="disk-image-unopened",
        what="the disk image cannot be opened",
        where=str(path),
        found=found,
        expected="an image file",
        remedy=f"see whether the path is right, and whether it is a file that you may read; if it is, {_FETCHED}",
    )
