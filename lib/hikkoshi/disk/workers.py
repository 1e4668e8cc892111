"""Threads that work ahead on the pieces of a disk, with results in the order of the pieces.

Reading, deflating and hashing all let go of Python's lock, so that threads use as many cores as there are.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MOST = 8  # threads: with more of them the one that puts results together cannot follow
AHEAD = 3  # pieces per thread that are in work or wait to be taken: bounds the memory

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def count(threads: int | None = None) -> int:
    """Threads to use: as asked for, else one for each core that we may run on."""
    return threads or min(MOST, len(os.sched_getaffinity(0)))


def in_order(work: Callable[[Piece], Result], pieces: Iterable[Piece], threads: int) -> Generator[Result, None, None]:
    """`map(work, pieces)` on that many threads. Closing the generator waits for what is in work, and drops the rest."""
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, "disk")
    try:
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
