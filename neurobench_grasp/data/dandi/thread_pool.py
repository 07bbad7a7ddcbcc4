"""A thread pool that is left without waiting for its threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
_GRACE = 2.0  # s for threads to clean up


def run_in_threads(
    work: Callable[[A], B], things: Sequence[A], n_threads: int, stop: Callable[[], None] = lambda: None
) -> list[B]:
    """Map a function over items on a few threads; the first error, or Ctrl-C, ends it.

    The standard library waits for the threads of its pools on leaving them and at exit, so a server that is
    silent, or sends a byte now and then, could block the program indefinitely.

    Parameters
    ----------
    work : callable
    things : sequence
    n_threads : int
    stop : callable
        Called to make running work abort as soon as possible.

    Returns
    -------
    list
        What ``work`` returned for each item.
    """
    results: list[Future[B]] = [Future() for _ in things]
    waiting = deque(zip(results, things, strict=True))

    def run() -> None:
        while waiting:
            try:
                result, thing = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                result.set_result(work(thing))
            except BaseException as error:
                result.set_exception(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(n_threads, len(things)))]
    try:
        for thread in threads:
            thread.start()
        done, _ = wait(results, return_when=FIRST_EXCEPTION)
        failed = next((r for r in results if r in done and r.exception() is not None), None)
        return [r.result() for r in ([failed] if failed else results)]
    except BaseException:
        waiting.clear()
        stop()
        deadline = time.monotonic() + _GRACE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        raise
