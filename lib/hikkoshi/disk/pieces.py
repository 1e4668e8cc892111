"""A disk that comes from elsewhere in pieces, and so may be cut off anywhere: its image here, and the list of what is in it.

Until all of it is here, the image is called NAME.img.part. The list, NAME.pieces, is lines of JSON: of which disk it is, and how
that stood; then the SHA-256 of each piece, once that is on this machine's disk; at its end, that all are. It is only ever added
to, so that a last line that is cut off costs no more than itself. Of an image whose list has no end, nothing is believed that
was not read and hashed again. A piece that is of an earlier reading, when the disk stood otherwise, is listed as old: it may be
the same there still, but somebody has to see that.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import ValidationError

from hikkoshi import files
from hikkoshi.artefact import Frozen
from hikkoshi.disk.extents import BLOCK, RawDisk, Source
from hikkoshi.disk.standing import Standing
from hikkoshi.errors import Busy, Problem, StepFailed
from hikkoshi.progress import Progress, silent

PIECE = 8 << 20  # bytes: as much of each is in memory, some times over
_SYNCED = 64 << 20  # bytes that are written before they are brought to the disk, and listed
_SYNCED_AFTER = 20.0  # seconds after which they are in any case: on a slow wire, a kill costs no more than that
_UNLISTED = 4096  # pieces that wait to be listed, where little or nothing was written for them
_MOST = 20  # as a power of 2, pieces of one disk: 2 TiB has a quarter of them
_ZEROS = bytes(BLOCK)


class Whole(Frozen):
    """The image as it was when all of it was here."""

    bytes: int
    mtime_ns: int


class _Line(Frozen):
    """One line of the list: what the disk is and how it stood, or a piece by its number, or that all are here."""

    place: str = ""
    piece_bytes: int = 0
    standing: Standing | None = None
    n: int = -1
    sha256: str = ""
    old: bool = False  # of how the disk stood before
    whole: Whole | None = None

    def __str__(self) -> str:
        return self.model_dump_json(exclude_defaults=True) + "\n"


class Listed(Frozen):
    """What the list says. `digests` has '' for a piece that is not here, and `old` those that were read before the disk stood as
    it does; `whole` is None where not all are."""

    place: str
    standing: Standing
    piece_bytes: int
    digests: tuple[str, ...]
    old: frozenset[int]
    whole: Whole | None

    @classmethod
    def of(cls, image: Path) -> Self | None:
        """That of an image; None where there is none, or none that can be read."""
        try:
            lines = files.read(list_of(image)).decode(errors="replace").splitlines()
            head = _Line.model_validate_json(lines[0])
            assert head.standing is not None
            assert 0 < head.standing.bytes <= head.piece_bytes << _MOST
        except (OSError, ValidationError, IndexError, AssertionError):
            return None
        digests, old, whole = [""] * -(-head.standing.bytes // head.piece_bytes), set[int](), None
        for text in lines[1:]:
            try:
                line = _Line.model_validate_json(text)
            except ValidationError:
                break  # cut off
            if 0 <= line.n < len(digests):
                digests[line.n] = line.sha256
                (old.add if line.old else old.discard)(line.n)
            whole = line.whole
        return cls(
            place=head.place,
            standing=head.standing,
            piece_bytes=head.piece_bytes,
            digests=tuple(digests),
            old=frozenset(old),
            whole=whole if all(digests) and not old else None,
        )

    def complete(self, image: Path) -> bool:
        """Whether all is here, and nobody has written to the image since."""
        try:
            return self.whole is not None and self.whole == _whole(image)
        except OSError:
            return False


class Arriving:
    """An image that is being completed. A context manager; nobody else completes an image of the same folder meanwhile.

    `digests` are those of the pieces that are here, `wanted` the numbers of those that still have to come, or to be seen to be
    the same there.
    """

    def __init__(
        self, image: Path, place: str, standing: Standing, piece_bytes: int = PIECE, progress: Progress = silent
    ) -> None:
        self.image, self.part = image, image.with_name(image.name + ".part")
        self._head = _Line(place=place, standing=standing, piece_bytes=piece_bytes)
        self.size, self._piece = standing.bytes, piece_bytes
        self._progress = progress
        self._pending: list[_Line] = []
        self._written = 0  # bytes, for what is pending
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_alone(self.image.parent))
            known = Listed.of(self.image)
            same = known and (known.place, known.standing.bytes, known.piece_bytes) == (self._head.place, self.size, self._piece)
            believed = bool(known and same and known.complete(self.image))
            if self.image.exists():
                self.image.replace(self.part)
            if not same:
                self.part.unlink(missing_ok=True)
            self._file: BinaryIO = stack.enter_context(
                open(files.descriptor(self.part, os.O_RDWR | os.O_CREAT), "r+b", buffering=0)  # noqa: PTH123 - a descriptor
            )
            if os.fstat(self._file.fileno()).st_size != self.size:  # else its time would change, and with it which image it is
                self._file.truncate(self.size)
            digests = known.digests if known and same else ("",) * -(-self.size // self._piece)
            self.digests = list(digests if believed else self._confirmed(digests))
            as_before = known is not None and known.standing == self._head.standing and not known.standing.device
            old = known.old if known and as_before else range(len(digests))
            self.wanted = {n for n, sha256 in enumerate(self.digests) if not sha256} | set(old)
            pieces = [_Line(n=n, sha256=x, old=n in self.wanted) for n, x in enumerate(self.digests) if x]
            files.write(list_of(self.image), "".join(map(str, (self._head, *pieces))))
            self._list: BinaryIO = stack.enter_context(files.updated(list_of(self.image)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack, contextlib.suppress(OSError):
            self._sync()

    def length(self, n: int) -> int:
        """Bytes of a piece: the last one may be shorter."""
        return min(self._piece, self.size - n * self._piece)

    def keep(self, n: int, content: bytes | memoryview | None, sha256: str) -> None:
        """Take a piece; None for one that is zeros. `OSError` where it cannot be written."""
        at, end = n * self._piece, n * self._piece + self.length(n)
        empty = not _holds(self._file, at, end)
        if content is None and not empty:
            content = bytes(end - at)
        if content is not None:
            for offset in range(0, len(content), BLOCK):
                block = content[offset : offset + BLOCK]
                if not empty or block != _ZEROS[: len(block)]:
                    self._write(block, at + offset)
        self.digests[n] = sha256
        self.same(n)

    def same(self, n: int) -> None:
        """Take it that a piece is here as it is there now."""
        self.wanted.discard(n)
        self._pending.append(_Line(n=n, sha256=self.digests[n]))
        late = time.monotonic() - self._synced >= _SYNCED_AFTER
        if late or self._written >= _SYNCED or len(self._pending) >= _UNLISTED:
            self._sync()

    def finish(self) -> None:
        """Give the image its name; all pieces have to be here."""
        assert not self.wanted
        self._sync()
        os.fsync(self._file.fileno())
        self.part.replace(self.image)
        files.sync_folder(self.image.parent)
        self._list.write(str(_Line(whole=_whole(self.image))).encode())
        os.fsync(self._list.fileno())

    def _write(self, block: bytes | memoryview, at: int) -> None:
        """All of it: where the disk becomes full, the kernel writes a part, and tells only whoever writes on."""
        written = 0
        while written < len(block):
            written += os.pwrite(self._file.fileno(), block[written:], at + written)
        self._written += written

    def _sync(self) -> None:
        """First the bytes, then the lines that say that they are here."""
        # of a failure the kernel tells once: asked again, it would say that all is well
        pending, self._pending = self._pending, []
        self._written, self._synced = 0, time.monotonic()
        if pending:
            os.fdatasync(self._file.fileno())
            self._list.write("".join(map(str, pending)).encode())
            self._list.flush()
            os.fsync(self._list.fileno())

    def _confirmed(self, digests: Sequence[str]) -> Iterator[str]:
        """Those that the image really has; '' for others."""
        for n, sha256 in enumerate(digests):
            if sha256:
                self._progress(n, len(digests), "looking at what is here already")
            yield sha256 if sha256 and sha256 == self._digest(n) else ""

    def _digest(self, n: int) -> str:
        at, end = n * self._piece, n * self._piece + self.length(n)
        if not _holds(self._file, at, end):
            return of_zeros(end - at)
        return hashlib.sha256(os.pread(self._file.fileno(), end - at, at)).hexdigest()


class ArrivedDisk(RawDisk):
    """An image that is all here: whoever reads it sees that it still holds what was hashed on the other machine. Since it came it
    was only here, on a disk that may fail, in a folder to which others may write.

    It is read once, in order, by its `extents`; its beginning may be looked at before. `StepFailed` where a piece of it is
    another one than the list says, and where there is no list.
    """

    def __init__(self, path: Path) -> None:
        known = Listed.of(path)
        if known is None or not known.complete(path):
            raise StepFailed(
                Problem(
                    code="arrived-image-unknown",
                    what="whether an image here is what came from the Dom-0 is not known",
                    where=str(path),
                    found=f"it was written to since, or {list_of(path).name} is not its list",
                    expected="an image that is as it came",
                    remedy="survey the guest again: what is not as it is on the Dom-0 comes again",
                )
            )
        super().__init__(path)
        self._known, self._seen, self._hash = known, 0, hashlib.sha256()

    def read(self, offset: int, length: int) -> bytes:
        """As in `Source`."""
        content = super().read(offset, length)
        if offset + length > self._seen:
            self._hole(offset)
            self._take(memoryview(content)[self._seen - offset :])
        return content

    def read_into(self, offset: int, blocks: Sequence[memoryview]) -> None:
        """As in `Source`, by `read`, which sees what comes."""
        Source.read_into(self, offset, blocks)

    def unchanged(self) -> None:
        """As in `Source`: all of it has been read."""
        super().unchanged()
        self._hole(self.size)

    def _hole(self, end: int) -> None:
        """There are zeros up to `end`."""
        while self._seen < end:
            inside = self._seen % self._known.piece_bytes
            length = min(self._left(), end - self._seen)
            if inside or length < self._left():
                self._take(memoryview(bytes(length)))
            else:
                self._seen += length
                self._compare(of_zeros(length))

    def _take(self, content: memoryview) -> None:
        while content:
            left = self._left()
            self._hash.update(content[:left])
            self._seen += len(content[:left])
            if len(content) >= left:
                self._compare(self._hash.hexdigest())
                self._hash = hashlib.sha256()
            content = content[left:]

    def _left(self) -> int:
        """Bytes to the end of this piece."""
        piece = self._known.piece_bytes
        return min(piece - self._seen % piece, self.size - self._seen)

    def _compare(self, sha256: str) -> None:
        """Hold the piece that ends here against the list."""
        n = (self._seen - 1) // self._known.piece_bytes
        if sha256 != (came := self._known.digests[n]):
            raise StepFailed(
                Problem(
                    code="arrived-image-damaged",
                    what="an image here is not what came from the Dom-0",
                    where=self.name,
                    found=f"SHA-256 {sha256[:16]}… of the piece at byte {n * self._known.piece_bytes:,}",
                    expected=f"{came[:16]}…, as it was hashed on the Dom-0",
                    remedy="see whether this machine's disk and memory are well. Then type `touch` and this path, and survey the "
                    "guest again: only what is damaged comes again",
                )
            )


def list_of(image: Path) -> Path:
    """Where the list of an image's pieces is."""
    return image.with_suffix(".pieces")


@cache
def of_zeros(length: int) -> str:
    """SHA-256 of so many zeros."""
    return hashlib.sha256(bytes(length)).hexdigest()


def _whole(image: Path) -> Whole:
    status = image.lstat()
    return Whole(bytes=status.st_size, mtime_ns=status.st_mtime_ns)


def _holds(file: BinaryIO, at: int, end: int) -> bool:
    """Whether a file holds data between two offsets, and is no hole there."""
    try:
        return os.lseek(file.fileno(), at, os.SEEK_DATA) < end
    except OSError as e:
        if e.errno == errno.ENXIO:  # nothing but a hole from here on
            return False
        raise


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """As long as this lasts, nobody else is; `Busy` where somebody is already."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                Problem(
                    code="disk-arriving-already",
                    what="somebody else reads this guest's disks at this moment",
                    where=str(folder),
                    found="the folder is locked",
                    expected="nobody",
                    remedy="wait until that ends",
                )
            ) from None
        yield
    finally:
        os.close(handle)
