"""Work that some processes of this machine share."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

AHEAD = 2  # items for each process, done or waiting
MOST_ON_WINDOWS = 61  # processes that one can wait for there, says concurrent.futures


@contextmanager
def start_processes(number: int) -> Iterator[Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]]:
    """Start some processes; give a `map` that they do, in order, with only some items in memory at a time.

    They begin anew (spawn), as on Windows: this works alike on all systems, also where this process has threads, and
    only the function, the items and the results must be pickled. In the end what nobody has begun is left undone.
    """
    number = min(number, MOST_ON_WINDOWS) if sys.platform == "win32" else number
    pool = ProcessPoolExecutor(number, get_context("spawn"))

    def spread(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        waiting: deque[Future[Any]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * number:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    try:
        yield spread
    finally:
        pool.shutdown(cancel_futures=True)
