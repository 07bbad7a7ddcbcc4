"""Usable cores and a thread pool over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


CORES = "NGB_CORES"
"""Environment variable with the number of cores that a process should use, where no affinity says it."""


def usable_cores() -> int:
    """Count the cores that this process may use."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    stated = os.environ.get(CORES, "")
    return min(here, int(stated)) if stated.isdecimal() and int(stated) else here


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
