"""Questions about the pieces of a disk over ssh, some at once: while one piece is on its way, another is read there."""

import re
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from hikkoshi.errors import Problem, StepFailed, ToolFailed
from hikkoshi.xen.wire import pieces
from hikkoshi.xen.wire.pieces import Damaged, Question, Told
from hikkoshi.xen.wire.place import DiskPlace

AT_ONCE = 3  # questions
TOGETHER = 64  # pieces of one question, where they are zeros or here already
SLOW = 300.0  # seconds for one question: a piece at 30 KB/s
PAUSES = (1.0, 5.0, 15.0)  # seconds before it is asked again
DENSE = 0.95  # of a piece's length: packing it was in vain
FIRST, SEEN = 8, 32  # pieces that come packed in any case, and after which the other form is tried once more
_AGAIN = frozenset({"ssh-unreachable", "dom0-answer-cut-off", "program-timed-out"})  # the network may come back
_COUNTS = re.compile(r"\d+\+\d+ records (in|out)|.* (copied|transferred).*|\d+ bytes .*")


class Packing:
    """Whether a piece comes packed: as long as it is smaller by that, and here sooner, which the network decides, and the
    processors there."""

    def __init__(self) -> None:
        self._seconds: dict[bool, float] = {}  # {packed: that the last pieces took, the newest counting most}
        self._count = 0
        self._dense = False  # whether the last one that was packed stayed as large as it was

    def next(self) -> bool:
        """Whether the next one is packed. Now and then it has the other form, to see."""
        self._count += 1
        if self._dense:
            return self._count % SEEN == 0
        if len(self._seconds) < 2:  # of the first ones, perhaps none had to come
            return self._count <= FIRST or True not in self._seconds
        return (self._seconds[True] <= self._seconds[False]) != (self._count % SEEN == 0)

    def took(self, packed: bool, seconds: float, share: float = 0.0) -> None:
        """One has come, as `share` of its length."""
        self._dense = share > DENSE if packed else self._dense
        self._seconds[packed] = (self._seconds.get(packed, seconds) + seconds) / 2


def answers(place: DiskPlace, size: int, piece: int, asked: Iterable[Question]) -> Generator[list[Told], None, None]:
    """What is told of all these pieces, in any order. Whoever stops listening ends the connection, and all that is on its way."""
    waiting, over = deque(asked), threading.Event()
    running: dict[Future[list[Told]], Question] = {}
    pool, packing = ThreadPoolExecutor(AT_ONCE, "wire"), Packing()

    def ask(question: Question) -> list[Told]:
        began = time.monotonic()
        found, came = _answered(place, size, piece, question, over)
        if [one.kind for one in found] == ["piece"]:  # and nothing else has taken time
            packing.took(question.packed, time.monotonic() - began, came / len(found[0].content or b" "))
        return found

    try:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                question = waiting.popleft()
                if len(question.pieces) > 1 and len(waiting) + len(running) + 1 < AT_ONCE:  # else nothing is read there meanwhile
                    half = len(question.pieces) // 2
                    waiting.appendleft(replace(question, pieces=question.pieces[half:]))
                    question = replace(question, pieces=question.pieces[:half])
                question = replace(question, packed=packing.next())
                running[pool.submit(ask, question)] = question
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                question, found = running.pop(future), future.result()
                if rest := question.after(len(found)):
                    waiting.appendleft(rest)
                yield found
    except BaseException:
        over.set()
        place.connection.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _answered(place: DiskPlace, size: int, piece: int, question: Question, over: threading.Event) -> tuple[list[Told], int]:
    """What is told of the first pieces, in how many bytes. A cut connection is tried again, and so is what arrives damaged."""
    text, found = pieces.script(place.path, question, size, piece), ""
    for pause in (*PAUSES, None):
        try:
            answer = place.connection.ask(text, named=["dd", place.path], timeout=SLOW, largest=piece + (piece >> 3) + (1 << 16))
            try:
                return pieces.told(answer.out, answer.mark, question, size, piece), len(answer.out)
            except Damaged as e:
                lines = [x for x in answer.err.splitlines() if not _COUNTS.fullmatch(x)]
                found = "; ".join([str(e), *lines[-2:]])
        except ToolFailed as e:
            if e.problems[0].code not in _AGAIN or pause is None or over.is_set():
                raise
        if pause is None or over.wait(pause):
            break
    raise StepFailed(
        Problem(
            code="piece-damaged",
            what="a piece of the disk does not come as it is on the Dom-0",
            where=place.url,
            found=f"{found}; tried {len(PAUSES) + 1} times",
            expected="the same bytes there and here",
            remedy="see whether the guest runs, and whether the Dom-0's disk and memory are well; then run this again: what "
            "has come is kept",
        )
    )
