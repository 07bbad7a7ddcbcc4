"""Usable cores and a thread pool over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_all_cores(task: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Map a function over items on one thread per core.

    Useful for work that releases the GIL: linear algebra, large arrays, networks, simulation.

    Parameters
    ----------
    task : callable
    items : iterable

    Returns
    -------
    list
        The results, in order.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(task, items))
